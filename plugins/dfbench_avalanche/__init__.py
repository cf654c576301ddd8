"""Avalanche's continual-learning strategies as a dfbench plugin."""

from __future__ import annotations

from dfbench import StrategyEntry, hookimpl


@hookimpl
def register_strategies() -> list[StrategyEntry]:
    """Bounds, rehearsal, gradient, regularisation and distillation methods, and those of the deepfake field itself."""
    bounds, replay, gradients, penalties, rehearsal, importance, distillation, heads = (
        f"dfbench_avalanche.{module}"
        for module in (
            "bounds",
            "replay",
            "gradients",
            "regularization",
            "rehearsal",
            "importance",
            "distillation",
            "heads",
        )
    )
    return [
        StrategyEntry("naive", f"{bounds}:Naive", "fine-tuning on each experience, nothing kept (lower bound)"),
        StrategyEntry(
            "replay",
            f"{replay}:Replay",
            "rehearsal of stored units, balanced by experience",
            "arXiv:1902.10486",
        ),
        StrategyEntry("cumulative", f"{bounds}:Cumulative", "trains on all experiences so far", ""),
        StrategyEntry("joint", f"{bounds}:Joint", "trains once on the whole stream (upper bound)", ""),
        StrategyEntry("none", f"{bounds}:Untrained", "trains nothing: the network as it is (baseline)", ""),
        StrategyEntry(
            "gem", f"{gradients}:GEM", "projects gradients against each past experience's", "arXiv:1706.08840"
        ),
        StrategyEntry("agem", f"{gradients}:AGEM", "projects gradients against a memory sample's", "arXiv:1812.00420"),
        StrategyEntry(
            "ewc", f"{penalties}:EWC", "quadratic penalty weighted by Fisher information", "arXiv:1612.00796"
        ),
        StrategyEntry(
            "si", f"{penalties}:SI", "quadratic penalty weighted along the training path", "arXiv:1703.04200"
        ),
        StrategyEntry("lwf", f"{distillation}:LwF", "distils the previous network's outputs", "arXiv:1606.09282"),
        StrategyEntry("cwr_star", f"{heads}:CWRStar", "consolidates the head, freezes the rest", "arXiv:1907.03799"),
        StrategyEntry(
            "der", f"{rehearsal}:DER", "replays units and the logits they had (DER, DER++)", "arXiv:2004.07211"
        ),
        StrategyEntry(
            "cls_er",
            "dfbench_avalanche.cls_er:CLSER",
            "replay with a fast and a slow average of the network; the slow one predicts (our implementation)",
            "arXiv:2201.12604",
        ),
        StrategyEntry("gdumb", f"{rehearsal}:GDumb", "trains anew on a class-balanced memory alone", "ECCV 2020"),
        StrategyEntry(
            "mas", f"{importance}:MAS", "quadratic penalty weighted by the logits' sensitivity", "arXiv:1711.09601"
        ),
        StrategyEntry(
            "rwalk", f"{importance}:RWalk", "quadratic penalty of Fisher average and path score", "arXiv:1801.10112"
        ),
        StrategyEntry("lfl", f"{distillation}:LFL", "keeps the previous network's features", "arXiv:1607.00122"),
        StrategyEntry(
            "mir",
            "dfbench_avalanche.mir:MIR",
            "replays the stored units whose loss a step would raise most (our implementation)",
            "arXiv:1908.04742",
        ),
        StrategyEntry(
            "slda",
            f"{heads}:SLDA",
            "frozen after the first experience, with a head in closed form (our implementation)",
            "arXiv:1909.01520",
        ),
        StrategyEntry(
            "dfil",
            "dfbench_avalanche.dfil:DFIL",
            "replays hard and central units, distils, contrasts real and fake (our implementation)",
            "arXiv:2309.09526",
        ),
        StrategyEntry(
            "cored",
            "dfbench_avalanche.cored:CoReD",
            "distils outputs and mean features by confidence (our implementation)",
            "arXiv:2107.02408",
        ),
        StrategyEntry(
            "hdp",
            "dfbench_avalanche.hdp:HDP",
            "real faces with a learned perturbation stand for old fakes (our implementation)",
            "arXiv:2308.06217",
        ),
        StrategyEntry(
            "sur_lid",
            "dfbench_avalanche.sur_lid:SURLID",
            "sparse uniform replay, domains kept apart, a classifier per experience (our implementation)",
            "arXiv:2411.11396",
        ),
    ]

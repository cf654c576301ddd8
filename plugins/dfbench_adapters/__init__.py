"""Strategies for pretrained networks, above all vision transformers: adapters, prompts and closed forms."""

from __future__ import annotations

from dfbench import AdapterEntry, StrategyEntry, hookimpl


@hookimpl
def register_strategies() -> list[StrategyEntry]:
    """RanPAC, S-Prompts, O-LoRA and SLCA."""
    here = "dfbench_adapters"
    return [
        StrategyEntry(
            "ranpac",
            f"{here}.ranpac:RanPAC",
            "a ridge classifier on random projections of frozen features, in closed form (our implementation)",
            "arXiv:2307.02251",
        ),
        StrategyEntry(
            "sprompts",
            f"{here}.sprompts:SPrompts",
            "a prompt and a head for each experience, chosen by the nearest centroid (our implementation)",
            "arXiv:2207.12819",
        ),
        StrategyEntry(
            "o_lora",
            f"{here}.o_lora:OLoRA",
            "low-rank matrices for each experience, orthogonal to the earlier ones (our implementation)",
            "arXiv:2310.14152",
        ),
        StrategyEntry(
            "slca",
            f"{here}.slca:SLCA",
            "a slow trunk, and a head aligned on Gaussians of all features so far (our implementation)",
            "arXiv:2303.05118",
        ),
    ]


@hookimpl
def register_adapters() -> list[AdapterEntry]:
    """What these strategies add to networks; importing it needs no Avalanche."""
    here = "dfbench_adapters"
    return [
        AdapterEntry("ridge", f"{here}.ridge:Ridge", "a random projection in front of a head in closed form"),
        AdapterEntry("prompts", f"{here}.prompts:Prompts", "one more domain's prompt, head and centroids"),
        AdapterEntry("lora", f"{here}.lora:LoRA", "one more pair of low-rank matrices beside linear layers"),
    ]

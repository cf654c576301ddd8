"""Every detector under every strategy: the strategy did something that can be counted, or the pair is refused.

Of detectors whose pairs take seconds each (``SAMPLED``), some strategies run by default, at least one of each way of
working, and the others with ``-m slow``. ``simple_cnn``, ``timm``, ``mesonet`` and ``dfdc3`` are there under all.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from dfbench.errors import IncompatibleError
from dfbench.plugins import Registry
from dfbench.runs.prepare import Request
from dfbench.runs.runner import run
from tests.training.harness import ALL, FIELD, PRETRAINED

SETTINGS = {
    "simple_cnn": ["image_size=32", "epochs=2", "batch_size=8", "width=4"],
    "xception": ["middle_blocks=0", "image_size=71", "epochs=1", "batch_size=8", "pretrained=false"],
    "dfdc3": [
        "batch_size=2",
        "steps=3",
        "warm_up=1",
        "height=64",
        "width=64",
        "lr=0.001",
        "clip_length=8",
        "body=tinynet_e",
        "pretrained=false",
        "frames=1",
        "fps=15",
    ],
    "sbi": [
        "body=tinynet_e",
        "pretrained=false",
        "image_size=64",
        "train_size=null",
        "batch_size=4",
        "epochs=2",
    ],
    "timm": ["network=test_resnet", "pretrained=false", "image_size=32", "epochs=2", "batch_size=8", "lr=0.001"],
    "mesonet": ["network=meso4", "image_size=32", "epochs=2", "batch_size=8"],
    "spsl": ["middle_blocks=0", "image_size=71", "epochs=1", "batch_size=8", "pretrained=false"],
    "f3net": ["streams=bands", "middle_blocks=0", "image_size=71", "epochs=1", "batch_size=8", "pretrained=false"],
    "srm": ["middle_blocks=0", "image_size=71", "epochs=1", "batch_size=8", "pretrained=false"],
    "effort": [
        "tower=test_vit",
        "pretrained=false",
        "image_size=32",
        "depth=1",
        "rank=4",
        "epochs=2",
        "batch_size=8",
        "lr=0.001",
    ],
    "tall": [
        *("network=test_resnet", "pretrained=false", "image_size=32", "mask=4"),
        *("epochs=2", "batch_size=4", "lr=0.001", "drop_path=0"),
    ],
    "odd": [],
    "opaque": ["batch_size=8"],
    "one_logit": ["epochs=2", "batch_size=8"],
}
SAMPLED = {
    "xception": {"naive", "joint", "replay", "gem", "ewc", "lwf", "der", "dfil", "cwr_star", "sur_lid", "slda"},
    "sbi": {"naive", "cumulative", "replay", "agem", "si", "mas", "lfl", "der", "cwr_star", "hdp"},
    "spsl": {"replay", "lwf", "cwr_star"},
    "f3net": {"der"},
    "srm": {"naive"},
    "effort": {"replay", "gem", "lwf", "ranpac"},
    "tall": {"naive", "replay", "agem", "der", "sur_lid"},
}
"""Detectors whose pairs are a sample, and the strategies that it has."""
SMALL = {"effort", "tall"}
"""Those of them whose networks are small here."""
PAIRS = [
    pytest.param(detector, strategy, marks=[pytest.mark.slow] if strategy not in SAMPLED.get(detector, ALL) else [])
    for detector in SETTINGS
    for strategy in ALL
]
DATA_LEVEL = {"naive", "replay", "cumulative", "joint", "gdumb"}
"""What an opaque loop can be trained with."""
CLIPS = {"dfdc3": 16, "tall": 4}
"""What is trained on clips, and the samples of a unit: a pair of clips of 8 frames, a clip of 4."""
PER_CLASS = {"lwf", "cwr_star", "der", "cls_er", "mas", "lfl", "slda", *PRETRAINED, *FIELD}
"""What needs a logit a class."""
PER_UNIT = {"slda", "cls_er", *PRETRAINED, *FIELD} - {"dfil"}
"""What needs a row of logits a unit."""


def refused(detector: str, strategy: str) -> str | None:
    """Why a pair is impossible."""
    if detector == "opaque" and strategy not in DATA_LEVEL:
        return "loop is opaque"
    if detector == "one_logit" and strategy in PER_CLASS:
        return "is needed|1"
    if strategy in PER_UNIT and detector == "dfdc3":
        return "declares that its loss mixes units"
    if strategy in PER_UNIT and detector == "sbi":
        return r"model\(x\) gives \(8, 2\) for 4 training units"
    if strategy in PER_UNIT | {"der", "dfil"} and detector == "odd":
        return "mixes or cuts the same units"
    return None


def request(detector: str, strategy: str, stream: Path, out: Path) -> Request:
    settings = list(SETTINGS[detector])
    # Few steps move few weights far: what is tested is that the penalty is there.
    if strategy in ("ewc", "si") or (strategy == "mas" and detector == "dfdc3"):
        settings.append(f"strategy.strength={'1e7' if detector in {'dfdc3', *SAMPLED} - SMALL else 1000}")
    if strategy == "ranpac":
        settings.append("strategy.dimensions=64")
    if strategy == "hdp":  # its search takes up to 500 passes a batch
        settings += ["strategy.passes=1", "strategy.tries=4"]
    if strategy == "sur_lid":  # by default there is no alignment in the first two epochs
        settings.append("strategy.align_epoch=-1")
    return Request(
        detector=detector, strategy=strategy, benchmark=str(stream), settings=settings, device="cpu", out=out
    )


@pytest.mark.parametrize(("detector", "strategy"), PAIRS)
def test_the_strategy_has_an_effect_or_is_refused(
    detector: str, strategy: str, tiny_stream: Path, clip_stream: Path, tmp_path: Path, with_odd: Registry
) -> None:
    asked = request(detector, strategy, clip_stream if detector in CLIPS else tiny_stream, tmp_path)
    if refused(detector, strategy):
        with pytest.raises(IncompatibleError, match=refused(detector, strategy)):
            run(asked, with_odd)
        assert not list(tmp_path.glob("*/record.json"))
        return
    record = run(asked, with_odd)
    effects, memory, steps = record.effects, record.memory.model_dump(), record.steps
    trained = (
        64 if detector in CLIPS else 12 if detector == "sbi" else 24
    )  # samples of one experience: of sbi the reals
    unit = CLIPS.get(detector, 1)  # of clips the memory holds 96 samples, 32 an experience
    stored = [96] * 3 if detector in CLIPS else [12] * 3
    patterns = [32, 64, 96] if detector in CLIPS else [4, 8, 12]
    heads = 3 if detector == "dfdc3" else 1
    assert record.metrics["average_auc"] is not None
    match strategy:
        case "naive":
            assert effects == {}
            assert memory["samples"] == [0, 0, 0]
        case "joint":
            assert effects == {}
            assert [row is not None for row in record.matrix["auc"][-1]] == [True] * 3
            assert record.matrix["auc"][0] == [None] * 3
            assert len(steps) == 1
        case "cumulative":
            assert effects["replayed_units"] > 0
            assert memory["samples"] == [trained, 2 * trained, 3 * trained]
        case "replay":
            assert effects["replayed_units"] > 0
            if detector in CLIPS:  # 64 samples in the first experience, 96 from the second on
                stored[0] = trained
            assert memory["samples"] == stored
            assert memory["bytes"] == [count * record_bytes(detector) for count in stored]
        case "gem":
            assert effects["reference_passes"] == steps[1] + 2 * steps[2]
            assert effects["projections"] > 0
            assert memory["samples"] == patterns
        case "agem":
            assert effects["reference_passes"] == steps[1] + steps[2]
            assert memory["samples"] == patterns
        case "der":
            assert effects["replayed_units"] > 0
            assert effects["penalty"] > 0
            assert all(0 < count <= stored[0] for count in memory["samples"])
            rows = 1 + 1 + 7 if detector == "dfdc3" else 1
            assert memory["state_bytes"] >= stored[0] // unit * (8 + rows * 2 * 4)  # ids and logits
        case "cls_er":
            assert effects["replayed_units"] > 0
            assert effects["penalty"] > 0
            if detector in CLIPS:
                stored[0] = trained
            assert memory["samples"] == stored
            assert memory["state_bytes"] > 0
        case "gdumb":
            assert effects["replayed_units"] > 0
            if detector in CLIPS:
                stored[0] = trained
            assert memory["samples"] == stored
        case "ewc" | "si" | "lwf" | "mas" | "rwalk" | "lfl":
            assert effects["penalty"] > 0
            assert memory["samples"] == [0, 0, 0]
            assert memory["state_bytes"] > 0
        case "mir":
            assert effects["replayed_units"] > 0
            assert effects["virtual_steps"] > 0
            if detector in CLIPS:
                stored[0] = trained
            assert memory["samples"] == stored
        case "slda":
            assert effects["fitted_units"] == 3 * trained // unit
            assert memory["samples"] == [0, 0, 0]
            assert memory["state_bytes"] > 0
        case "ranpac":
            assert effects["fitted_units"] == 3 * trained // unit
            assert steps == [0, 0, 0]
            assert record.compute is not None
            assert record.compute.backward == [0, 0, 0]
            assert memory["samples"] == [0, 0, 0]
            assert memory["state_bytes"] >= 8 * 64 * 64
        case "slca":
            assert effects["slowed_steps"] == sum(steps)
            assert effects["aligned_gaussians"] == 2 + 4 + 6
            assert memory["samples"] == [0, 0, 0]
            assert memory["state_bytes"] > 0
        case "dfil":
            assert effects["replayed_units"] > 0
            assert effects["penalty"] > 0
            if detector in CLIPS:
                stored[0] = trained
            assert memory["samples"] == stored
            assert memory["state_bytes"] > 0
        case "cored":
            assert effects["matched_stores"] > 0
            assert effects["penalty"] > 0
            assert memory["samples"] == [0, 0, 0]
            assert memory["state_bytes"] > 0
        case "hdp":
            assert effects["perturbed_units"] > 0
            assert effects["feature_distance"] > 0
            assert memory["samples"] == [0, 0, 0]
            assert memory["state_bytes"] >= 3 * 4 * record_bytes(detector)  # a perturbation an experience
        case "sur_lid":
            assert effects["replayed_units"] > 0
            assert effects["penalty"] > 0
            assert effects["alignments"] == steps[1] + steps[2]
            assert memory["samples"] == patterns
            assert memory["state_bytes"] > 0
        case "cwr_star":
            assert effects["consolidated_rows"] == 6 * heads  # two classes, three experiences
        case _:
            raise AssertionError(f"no effect is stated for {strategy}")


@pytest.mark.parametrize("policy", ["class", "reservoir", "herding", "hardest", "centre"])
@pytest.mark.parametrize("detector", ["simple_cnn", "odd", "opaque", "one_logit"])
def test_a_replay_policy_fills_the_memory_or_is_refused(
    policy: str, detector: str, tiny_stream: Path, tmp_path: Path, with_odd: Registry
) -> None:
    asked = request(detector, "replay", tiny_stream, tmp_path)
    asked = dataclasses.replace(asked, settings=[*asked.settings, f"strategy.policy={policy}"])
    by_output = policy in {"herding", "centre"}
    if (detector == "opaque" and policy not in {"class", "reservoir"}) or (detector == "odd" and by_output):
        with pytest.raises(IncompatibleError, match="opaque" if detector == "opaque" else "mixes or cuts"):
            run(asked, with_odd)
        return
    record = run(asked, with_odd)
    assert record.effects["replayed_units"] > 0
    held = record.memory.held
    assert [sum(map(sum, after)) for after in held] == record.memory.samples
    if policy != "reservoir" and detector != "odd":
        assert held == [[[6, 6], [0, 0], [0, 0]], [[3, 3], [3, 3], [0, 0]], [[2, 2], [2, 2], [2, 2]]]


def test_a_memory_in_bytes_is_the_same_in_samples(tiny_stream: Path, tmp_path: Path, with_odd: Registry) -> None:
    asked = request("simple_cnn", "replay", tiny_stream, tmp_path)
    in_samples = run(asked, with_odd)
    settings = [*asked.settings, f"strategy.memory_bytes={12 * 32 * 32 * 3 + 5}"]
    in_bytes = run(dataclasses.replace(asked, settings=settings), with_odd)
    assert in_bytes.memory == in_samples.memory
    assert in_bytes.matrix == in_samples.matrix
    assert in_samples.spec.strategy_config["memory_bytes"] is None
    assert in_bytes.identity != in_samples.identity


def record_bytes(detector: str) -> int:
    side = {"sbi": 64, "tall": 16, "effort": 32}.get(detector, 71 if detector in SAMPLED else 32)
    return side * side * 3


def test_every_registered_pair_is_covered(with_odd: Registry) -> None:
    """``none`` trains nothing: tests/runs/test_untrained.py. ``o_lora`` and ``sprompts`` need a vision transformer, and
    ``clip_vit`` is one: tests/training/test_adapters.py. ``univfd`` is one linear layer, and needs the
    weights of a CLIP: a probe of its kind is in test_frozen.py."""
    assert {*ALL, "none", "o_lora", "sprompts"} == set(with_odd.strategies)
    assert set(SETTINGS) | {"mortal", "univfd", "clip_vit"} == set(with_odd.detectors)

"""Strategies that change the network: what they add comes back in a resumed run, ``load``, the zoo and ``--init``."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from dfbench import Record
from dfbench.errors import DataError, IncompatibleError, PluginError, UsageError
from dfbench.evaluation.scores import Scores
from dfbench.plugins import load_plugins, registry
from dfbench.publish.zoo.checkpoint import load_located
from dfbench.publish.zoo.initial import find_initial
from dfbench.publish.zoo.resolve import resolve
from dfbench.publish.zoo.verification import verify
from dfbench.runs.events import Event, ExperienceStarted, Listener
from dfbench.runs.prepare import Request
from dfbench.runs.runner import run
from dfbench.training.adaptation import KEY, Adaptation, add_adaptations, metadata_of, read_adaptations
from tests.cli.harness import install, plugins_of, run_cli, the_error

VIT = ["network=test_vit", "pretrained=false", "image_size=32", "epochs=1", "batch_size=8", "lr=0.003"]
"""A vision transformer of six small blocks."""
MORE = {"ranpac": ["strategy.dimensions=50"], "slca": ["strategy.samples=16"]}
ADAPTING = ("ranpac", "sprompts", "o_lora")


def ask(strategy: str, stream: Path, out: Path, **more: Any) -> Request:
    settings = [*VIT, *MORE.get(strategy, [])]
    return dataclasses.replace(Request("timm", strategy, str(stream), settings=settings, device="cpu", out=out), **more)


@pytest.fixture(scope="module")
def finished(tiny_stream: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    """A run of each strategy."""
    out = tmp_path_factory.mktemp("finished")
    return {name: run(ask(name, tiny_stream, out), registry()) for name in (*ADAPTING, "slca")}


def folder_of(record: Record) -> Path:
    assert record.path is not None
    return record.path.parent


class Interrupting(Listener):
    """A listener that ends the program as Ctrl-C does, before the third experience."""

    def event(self, event: Event) -> None:
        if isinstance(event, ExperienceStarted) and event.number == 3:
            raise KeyboardInterrupt


@pytest.mark.parametrize("strategy", [*ADAPTING, "slca"])
def test_an_interrupted_run_ends_with_the_same_weights(
    strategy: str, finished: dict[str, Record], tiny_stream: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(ask(strategy, tiny_stream, tmp_path), registry(), Interrupting())
    (state,) = tmp_path.glob("*/checkpoints/02/state.json")
    held = json.loads(state.read_text())["tree"]["adaptations"]
    assert len(held) == {"ranpac": 1, "slca": 0}.get(strategy, 2)
    resumed, undisturbed = run(ask(strategy, tiny_stream, tmp_path), registry()), finished[strategy]
    assert resumed.resumed == 1
    assert resumed.weights_sha256 == undisturbed.weights_sha256
    assert resumed.scores_sha256 == undisturbed.scores_sha256
    assert resumed.effects == undisturbed.effects
    assert resumed.memory == undisturbed.memory


def test_a_checkpoint_predicts_what_the_run_scored_without_avalanche(
    finished: dict[str, Record], tiny_stream: Path
) -> None:
    folders = [folder_of(finished[strategy]) for strategy in ADAPTING]
    groups = [group for f in folders if (group := Scores.read(f / "scores.parquet").get(2, 2)) is not None]
    pictures = [str(tiny_stream.parent / name) for name in groups[0].samples]
    code = (
        "import sys, json, numpy as np, dfbench\nfrom PIL import Image\n"
        "pictures = [np.asarray(Image.open(p)) for p in sys.argv[4:]]\n"
        "found = [dfbench.load(f, device='cpu').predict(pictures).tolist() for f in sys.argv[1:4]]\n"
        "assert 'avalanche' not in sys.modules\nprint(json.dumps(found))"
    )
    command = [sys.executable, "-c", code, *folders, *pictures]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for found, group in zip(json.loads(done.stdout), groups, strict=True):
        assert np.abs(np.array(found) - group.scores).max() < 1e-4


@pytest.mark.parametrize("strategy", ADAPTING)
def test_the_zoo_builds_and_verifies_it(strategy: str, finished: dict[str, Record], tiny_stream: Path) -> None:
    located = resolve(str(folder_of(finished[strategy])), registry())
    checks = verify(located, registry(), benchmark=str(tiny_stream), device="cpu")
    assert [(c.name, c.status) for c in checks] == [(n, "ok") for n in ("files", "network", "record", "scores")], checks


def test_a_run_starts_from_it_and_keeps_what_was_added(
    finished: dict[str, Record], tiny_stream: Path, tmp_path: Path
) -> None:
    start = find_initial(str(folder_of(finished["sprompts"])), registry())
    as_it_is = run(ask("none", tiny_stream, tmp_path, settings=VIT[:3], init=start), registry())
    last = [Scores.read(folder_of(r) / "scores.parquet").get(2, 1) for r in (as_it_is, finished["sprompts"])]
    assert last[0] is not None
    assert last[1] is not None
    assert np.abs(last[0].scores - last[1].scores).max() < 1e-5
    on = run(ask("naive", tiny_stream, tmp_path, init=start), registry())
    assert on.detector.adaptations == finished["sprompts"].detector.adaptations
    assert read_adaptations(folder_of(on) / "model.safetensors", "it") != []
    assert on.memory.state_bytes == 0  # naive added nothing
    more = run(ask("sprompts", tiny_stream, tmp_path, init=start), registry())
    assert len(more.detector.adaptations) == 6


def test_the_record_and_the_header_say_what_was_added(finished: dict[str, Record]) -> None:
    record = finished["o_lora"]
    stated = [{"adapter": "lora", "options": {"layers": ["attn.qkv"], "rank": 8, "scale": 1.0}}] * 3
    assert record.detector.adaptations == stated
    path = folder_of(record) / "model.safetensors"
    assert [each.model_dump() for each in read_adaptations(path, "it")] == stated
    added = {name: t for name, t in load_file(path).items() if ".down." in name or ".up." in name}
    assert len(added) == 3 * 2 * 6  # experiences, matrices, blocks
    assert record.memory.state_bytes == sum(t.numel() * 4 for t in added.values())
    plain = finished["slca"]
    assert "adaptations" not in plain.document()["detector"]
    assert read_adaptations(folder_of(plain) / "model.safetensors", "it") == []


@pytest.mark.parametrize(
    ("detector", "settings", "strategy", "reason"),
    [
        (
            "simple_cnn",
            [],
            "o_lora",
            "adds to the linear layers in the blocks of a vision transformer, and this network",
        ),
        ("simple_cnn", [], "sprompts", "puts prompts between the tokens of a vision transformer"),
        ("timm", ["network=test_resnet", "pretrained=false", "image_size=32"], "o_lora", "has no block of one"),
    ],
)
def test_a_network_without_a_place_is_refused(
    detector: str, settings: list[str], strategy: str, reason: str, tiny_stream: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    options = [part for each in settings for part in ("--set", each)]
    done = run_cli(
        capsys,
        "eval",
        "-d",
        detector,
        "-s",
        strategy,
        "-b",
        tiny_stream,
        "--out",
        tmp_path,
        "--device",
        "cpu",
        *options,
    )
    assert reason in the_error(done, 5)
    assert not list(tmp_path.glob("*/record.json"))


def test_what_cannot_be_together_is_refused(finished: dict[str, Record], tiny_stream: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--tune: strategy o_lora changes the network"):
        run(ask("o_lora", tiny_stream, tmp_path, tune="bf16"), registry())
    text = tiny_stream.read_text()
    (fresh := tiny_stream.parent / "fresh.yaml").write_text(f"{text}\nfresh_model: true\n")
    with pytest.raises(IncompatibleError, match="begins each with a new network"):
        run(ask("o_lora", fresh, tmp_path), registry())
    start = find_initial(str(folder_of(finished["ranpac"])), registry())
    with pytest.raises(IncompatibleError, match="no plain linear layer"):
        run(ask("ranpac", tiny_stream, tmp_path, init=start), registry())


@pytest.mark.parametrize(
    ("header", "error", "reason"),
    [
        ("{", DataError, "its header is damaged"),
        ("3", DataError, "what was added to the network"),
        ('[{"adapter": "../x"}]', DataError, "adapter"),
        ('[{"adapter": "unheard_of"}]', UsageError, "needs the adapter 'unheard_of', which no installed plugin"),
        ('[{"adapter": "lora", "options": {"rank": 1000000000}}]', DataError, "rank"),
        ('[{"adapter": "lora", "options": {"layers": ["attn.x"]}}]', IncompatibleError, "no linear layer 'attn.x'"),
    ],
)
def test_a_header_of_a_stranger_is_checked(
    header: str, error: type[Exception], reason: str, finished: dict[str, Record], tmp_path: Path
) -> None:
    located = resolve(str(folder_of(finished["slca"])), registry())
    path = tmp_path / located.entry.weights.path
    save_file(load_file(located.weights), path, metadata={KEY: header})
    with pytest.raises(error, match=reason):
        load_located(dataclasses.replace(located, folder=tmp_path, checked=True), registry())


def test_weights_that_lack_what_was_added_do_not_fit(finished: dict[str, Record], tmp_path: Path) -> None:
    located = resolve(str(folder_of(finished["o_lora"])), registry())
    path = tmp_path / located.entry.weights.path
    state = load_file(located.weights)
    one = next(name for name in state if ".down.2" in name)
    save_file(
        {k: v for k, v in state.items() if k != one}, path,
        metadata=metadata_of(read_adaptations(located.weights, "it")),
    )  # fmt: skip
    with pytest.raises(DataError, match=rf"{one} is missing"):
        load_located(dataclasses.replace(located, folder=tmp_path, checked=True), registry())


PLUGIN = '''
import torch
from torch import nn
from dfbench import Adapter, AdapterEntry, Adaptation, DetectorEntry, Detector, StrategyEntry, Strategy, hookimpl

class Shift(Adapter):
    def add(self, model, options, generator):
        model.shift = nn.Parameter(torch.randn(1, generator=generator))

class Shifted(Strategy):
    adapts = ("shift",)
    def adapt(self, model, context):
        return [Adaptation(adapter="shift" if NAME else "other")] if context.experience == 0 else []

class Kept(Detector):
    """An optimizer that is made once, as some training scripts have it."""
    def build(self):
        self.kept = None
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    def train(self, loop):
        loop.optimize(torch.optim.SGD(loop.model[2].parameters(), lr=0.1))
        for batch in loop.batches():
            loop.step(self.loss(loop.model, batch))

NAME = True

@hookimpl
def register_detectors():
    return [DetectorEntry("kept", "dfbench_shift:Kept")]

@hookimpl
def register_adapters():
    return [AdapterEntry("shift", "dfbench_shift:Shift")]

@hookimpl
def register_strategies():
    return [StrategyEntry("shifted", "dfbench_shift:Shifted")]
'''


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (PLUGIN, "train its optimizers do not hold what the strategy has put into the network"),
        (PLUGIN.replace("NAME = True", "NAME = False"), "adds 'other', which its attribute adapts does not name"),
    ],
)
def test_a_plugin_of_a_stranger(
    text: str, reason: str, tiny_stream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "dfbench_shift", raising=False)
    with plugins_of(install(tmp_path / "p", "dfbench_shift", {"dfbench_shift.py": text}), monkeypatch):
        known = load_plugins()
        with pytest.raises(PluginError, match=reason):
            run(Request("kept", "shifted", str(tiny_stream), device="cpu", out=tmp_path), known)
    monkeypatch.delitem(sys.modules, "dfbench_shift", raising=False)


def test_adapters_draw_from_their_generator_alone() -> None:
    from timm import create_model

    wanted = [Adaptation(adapter=name, options=options) for name, options in (
        ("lora", {}), ("prompts", {}), ("ridge", {"head": "head", "dimensions": 7}))]  # fmt: skip
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(0)
        model = create_model("test_vit", img_size=32, num_classes=2)
        before = torch.get_rng_state()
        add_adaptations(model, wanted, registry().adapters, torch.Generator().manual_seed(seed))
        assert torch.equal(before, torch.get_rng_state())
        made.append({name: t.clone() for name, t in model.state_dict().items()})
    for name in ("blocks.0.attn.qkv.down.0", "prompt_bank.domains.0.prompt", "head.projection"):
        assert torch.equal(made[0][name], made[1][name])
        assert not torch.equal(made[0][name], made[2][name])

"""Weights to start from are part of a run's identity; the code is not, and a change of it does not go unnoticed."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dfbench.errors import PluginError
from dfbench.hookspecs import DetectorEntry
from dfbench.plugins import EntryTable, Plugin, Registration, Registry, load_plugins, registry
from dfbench.records.record import Record
from dfbench.runs.code import changes, code_of
from dfbench.runs.events import Event, Listener, Notice
from dfbench.runs.prepare import Request, prepare
from dfbench.runs.runner import run
from dfbench.runs.storage import RunFolder
from dfbench.training.detector import Detector
from tests.conftest import ODD, Done, dfbench

PLUGIN = "odd (dfbench-odd)"


class Found(Detector):
    """Starts from weights where they were found."""

    weights: object = None

    def build(self) -> torch.nn.Module:
        self.facts["pretrained"] = self.weights is not None
        network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, self.task.num_classes))
        if self.weights is not None:
            torch.nn.init.constant_(network[1].weight, float(str(self.weights)))
        return network

    def train(self, loop) -> None:  # type: ignore[no-untyped-def]
        self.facts["experiences"] = loop.experience + 1
        super().train(loop)


class Unspeakable(Found):
    """Its facts cannot be written down."""

    weights = 0.0

    def build(self) -> torch.nn.Module:
        self.facts["network"] = network = super().build()
        return network


class Notices(Listener):
    """What a run says."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def event(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.texts.append(event.text)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Registry:
    plugin = Plugin("here", __name__, "tests", "1", "loaded")
    entries = [DetectorEntry(kind.__name__.lower(), f"{__name__}:{kind.__name__}") for kind in (Found, Unspeakable)]
    return replace(load_plugins(), detectors=EntryTable("detector", [Registration(e, plugin) for e in entries]))


def test_random_and_pretrained_weights_are_two_rows(
    tiny_stream: Path, tmp_path: Path, known: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request("found", "naive", str(tiny_stream), settings=["epochs=1"], device="cpu", out=tmp_path)
    random = run(request, known)
    monkeypatch.setattr(Found, "weights", 0.1)
    found = Notices()
    pretrained = run(request, known, found)
    assert not any("finished already" in text for text in found.texts)
    assert [r.spec.initial_weights for r in (random, pretrained)] == [{"pretrained": False}, {"pretrained": True}]
    assert random.spec.row_id != pretrained.spec.row_id
    # What training adds is on the record, and no part of the spec.
    assert pretrained.detector.facts == {"pretrained": True, "experiences": 3}
    assert run(request, known).scores_sha256 == pretrained.scores_sha256


def test_facts_that_cannot_be_written_down_are_refused_before_training(tiny_stream: Path, known: Registry) -> None:
    with pytest.raises(PluginError, match="'unspeakable': its facts must be JSON"):
        prepare(Request("unspeakable", "naive", str(tiny_stream), device="cpu"), known)


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A copy of the test plugin that a test may edit."""
    shutil.copytree(ODD, tmp_path / "plugin", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "plugin"


def edit(plugin: Path) -> None:
    file = plugin / "dfbench_odd" / "detectors.py"
    file.write_text(file.read_text().replace("lr=0.05", "lr=0.5"))


def evaluate(plugin: Path, stream: Path, out: Path, *more: str, **env: str) -> Done:
    options = ("-d", "mortal", "-s", "naive", "-b", stream, "--out", out, "--device", "cpu", "--json", *more)
    return dfbench("eval", *options, python_path=(plugin,), PYTHONDONTWRITEBYTECODE="1", **env)


def test_a_finished_run_of_an_edited_plugin_starts_from_the_beginning(
    tiny_stream: Path, tmp_path: Path, plugin: Path
) -> None:
    out = tmp_path / "runs"
    first = evaluate(plugin, tiny_stream, out)
    assert first.code == 0, first.err
    before = Record.read(Path(first.json["record"]))
    assert set(before.environment.code) == {PLUGIN, "avalanche (dfbench-deepfake)"}
    edit(plugin)
    second = evaluate(plugin, tiny_stream, out)
    assert "finished already" not in second.err
    (aside,) = (out / ".set_aside").iterdir()
    (notice,) = (line for line in second.err.splitlines() if "has changed" in line)
    digest = before.environment.code[PLUGIN].rpartition(":")[2]
    assert aside.name == f"{before.run}-{digest[:8]}"
    assert all(part in notice for part in (PLUGIN, f"1.0 sha256:{digest[:8]}", str(aside)))
    assert "avalanche" not in notice
    after = Record.read(Path(second.json["record"]))
    assert (after.run, after.identity) == (before.run, before.identity)
    assert after.scores_sha256 != before.scores_sha256
    assert Record.read(aside).document() == before.document()


def test_an_interrupted_run_of_an_edited_plugin_starts_from_the_beginning(
    tiny_stream: Path, tmp_path: Path, plugin: Path
) -> None:
    killed = evaluate(plugin, tiny_stream, tmp_path / "a", MORTAL_AT="2", MORTAL_SIGNAL="SIGKILL")
    assert killed.code == -9
    edit(plugin)
    mended = evaluate(plugin, tiny_stream, tmp_path / "a")
    assert "has changed" in mended.err
    assert "going on" not in mended.err
    (aside,) = (tmp_path / "a" / ".set_aside").iterdir()
    assert list(aside.glob("checkpoints/*/state.json"))
    assert Record.read(Path(mended.json["record"])).resumed == 0


def test_each_code_keeps_a_place_of_its_own(tiny_stream: Path, tmp_path: Path, known: Registry) -> None:
    spec = prepare(Request("found", "naive", str(tiny_stream), device="cpu"), known).spec
    said = []
    for digest in ("a", "b", "a", "b"):
        folder = RunFolder(tmp_path, spec, {"some": f"1 sha256:{digest * 64}"})
        with folder.opened(fresh=False) as moved:
            said.append(moved)
    assert said[0] == ""
    names = [f"{spec.run_id}-{end}" for end in ("aaaaaaaa", "bbbbbbbb", "aaaaaaaa-2")]
    assert sorted(path.name for path in (tmp_path / ".set_aside").iterdir()) == sorted(names)
    assert [text.rpartition("/")[2] for text in said[1:]] == names
    with folder.opened(fresh=True) as moved:  # asked for: nothing is kept
        assert moved == ""


def test_a_digest_covers_the_packages_of_the_bases(known: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    base = registry().detectors.load("simple_cnn")
    kind = type("Derived", (base,), {"__module__": __name__})
    plain = code_of("found", "naive", known)
    monkeypatch.setattr(sys.modules[__name__], "Found", kind)
    derived = code_of("found", "naive", known)
    assert [name for name in plain if plain[name] != derived[name]] == ["here (tests)"]


def test_a_new_version_of_the_same_sources_is_no_change() -> None:
    assert changes({"a": "1 sha256:f"}, {"a": "2 sha256:f"}) == []
    assert changes({"a": "1 sha256:f"}, {"renamed": "1 sha256:f"}) == []
    assert changes({}, {"a": "1 sha256:f"}) == []  # a run from before it was stored
    assert [
        c.plugin for c in changes({"a": "1 sha256:f", "b": "1 sha256:e"}, {"a": "1 sha256:0", "b": "1 sha256:e"})
    ] == ["a"]

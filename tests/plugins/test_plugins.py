"""Plugins as their authors and users meet them: found, blocked, broken, in conflict, and each hook at work."""

from __future__ import annotations

import inspect
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pluggy
import pytest
import yaml
from PIL import Image
from torch import nn

from dfbench import Adaptation, hookspecs
from dfbench.errors import PluginError, UsageError
from dfbench.plugins import Registry, load_plugins
from dfbench.training.adaptation import add_adaptations
from tests.cli.harness import detectors, install, plugins_of, run_cli, the_error
from tests.conftest import Done, dfbench
from tests.publish.zoo.test_entry import ENTRY

IMPL = "from dfbench import DetectorEntry, hookimpl\n\n\n@hookimpl\ndef "
GOOD = "return [DetectorEntry('half', 'nowhere:Nothing')]\n"

BROKEN = {
    "import_error": (
        "import no_such_module_anywhere\n",
        "ModuleNotFoundError: No module named 'no_such_module_anywhere'",
    ),
    "syntax_error": ("def register(:\n", "SyntaxError: invalid syntax"),
    "raises": (
        f"{IMPL}register_detectors():\n    raise RuntimeError('no licence')\n",
        "RuntimeError: no licence",
    ),
    "exits": ("raise SystemExit(3)\n", "SystemExit: 3"),
    "exits_late": (f"{IMPL}register_detectors():\n    raise SystemExit(3)\n", "SystemExit: 3"),
    "none": (
        f"{IMPL}register_detectors():\n    pass\n",
        "TypeError: register_detectors returned a NoneType, not a list of DetectorEntry",
    ),
    "text": (
        f"{IMPL}register_detectors():\n    return 'mine'\n",
        "TypeError: register_detectors returned a str, not a list of DetectorEntry",
    ),
    "texts": (
        f"{IMPL}register_detectors():\n    return ['mine']\n",
        "TypeError: register_detectors returned a str, not DetectorEntry",
    ),
    "wrong_kind": (
        f"{IMPL}register_metrics():\n    {GOOD}",
        "TypeError: register_metrics returned a DetectorEntry, not MetricEntry",
    ),
    "nameless": (
        f"{IMPL}register_detectors():\n    return [DetectorEntry(None, 'b:c')]\n",
        "TypeError: register_detectors returned an entry without a name and a target",
    ),
    "twice": (detectors("one", "one"), "ValueError: register_detectors returned 'one' twice"),
    "misspelt": (
        f"{IMPL}register_detector():\n    {GOOD}",
        "PluginValidationError: unknown hook 'register_detector'",
    ),
    "arguments": (
        f"{IMPL}register_detectors(config):\n    {GOOD}",
        "PluginValidationError: Plugin 'arguments'",
    ),
    "half": (
        f"{IMPL}register_detectors():\n    {GOOD}\n\n@hookimpl\ndef register_metrics():\n    raise OSError('gone')\n",
        "OSError: gone",
    ),
}
"""Name → (text of the module, how the reason begins)."""


@pytest.fixture(scope="module")
def all_broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every kind of broken plugin, and one that names a class."""
    folder = tmp_path_factory.mktemp("broken")
    for name, (text, _) in BROKEN.items():
        install(folder, name, {f"broken_{name}.py": text}, target=f"broken_{name}")
    install(folder, "names_a_class", {"broken_class.py": "class Plugin:\n    pass\n"}, target="broken_class:Plugin")
    return folder


def test_broken_plugins_are_reported_and_stop_nothing(all_broken: Path) -> None:
    done = dfbench("plugins", "list", "--json", python_path=(all_broken,))
    assert done.code == 0
    found = {plugin["name"]: plugin for plugin in done.json}
    for name, (_, reason) in BROKEN.items():
        assert found[name]["status"] == "broken", name
        assert found[name]["reason"].startswith(reason), found[name]
        assert found[name]["distribution"] == f"{name}-dist"
        assert found[name]["version"] == "1.0"
    assert found["names_a_class"]["status"] == "broken"
    assert found["names_a_class"]["reason"] == "entry point 'broken_class:Plugin' names a type, not a module"
    assert {found[name]["status"] for name in ("builtin", "avalanche", "simple_cnn", "xception")} == {"loaded"}
    assert done.err == ""


def test_other_commands_work_beside_broken_plugins(
    all_broken: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with plugins_of(all_broken, monkeypatch):
        assert run_cli(capsys, "--help").code == 0
        table = run_cli(capsys, "plugins", "list")
        assert (table.code, table.err) == (0, "")
        assert "no licence" in table.out
        names = [row["name"] for row in run_cli(capsys, "list", "detectors", "--json").json]
        assert "simple_cnn" in names
        assert "half" not in names, "a plugin that breaks in one hook registers nothing"


def test_an_unknown_name_tells_of_plugins_that_were_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path, "faulty", {"faulty_for_hint.py": "import no_such_module_anywhere\n"}, target="faulty_for_hint")
    with plugins_of(tmp_path, monkeypatch):
        error = the_error(run_cli(capsys, "eval", "-d", "mine", "-s", "naive"), UsageError.exit_code)
    assert "unknown detector 'mine'" in error
    assert "(plugin 'faulty' is broken: see dfbench plugins list)" in error


def test_a_target_that_cannot_be_imported_names_the_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "hollow", {"hollow.py": detectors("hollow", target="no_such_module_anywhere:Thing")})
    with plugins_of(tmp_path, monkeypatch):
        registry = load_plugins()
    with pytest.raises(PluginError, match=r"'hollow' \(plugin 'hollow' of hollow-dist.*no_such_module_anywhere"):
        registry.detectors.load("hollow")


def test_a_target_of_the_wrong_form_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "dotted", {"dotted.py": detectors("dotted", target="package.module.Thing")})
    with plugins_of(tmp_path, monkeypatch):
        registry = load_plugins()
    with pytest.raises(PluginError, match=r"not of the form 'package\.module:Name'"):
        registry.detectors.load("dotted")


# --- Choosing plugins ------------------------------------------------------------------------------


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[tuple[str, Path]]:
    """Two plugins, ``first`` and ``second``; importing ``second`` leaves a file behind."""
    mark = tmp_path / "imported"
    module = f"second_of_{request.node.name}"
    text = f"import pathlib\npathlib.Path({str(mark)!r}).touch()\n" + detectors("b")
    first = f"first_of_{request.node.name}"
    install(tmp_path, "first", {f"{first}.py": detectors("a")}, target=first)
    install(tmp_path, "second", {f"{module}.py": text}, target=module)
    monkeypatch.delenv("DFBENCH_LOAD_PLUGINS", raising=False)
    monkeypatch.delenv("DFBENCH_DISABLE_PLUGINS", raising=False)
    with plugins_of(tmp_path, monkeypatch):
        yield module, mark


def status(registry: Registry) -> dict[str, tuple[str, str]]:
    return {plugin.name: (plugin.status, plugin.reason) for plugin in registry.plugins}


def test_without_a_choice_every_plugin_is_loaded(two: tuple[str, Path]) -> None:
    registry = load_plugins()
    assert set(registry.detectors) >= {"a", "b", "simple_cnn"}
    assert two[0] in sys.modules
    assert two[1].exists()


def test_a_disabled_plugin_is_not_imported(two: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFBENCH_DISABLE_PLUGINS", " second , no_such_plugin")
    registry = load_plugins()
    assert "a" in registry.detectors
    assert "b" not in registry.detectors
    assert status(registry)["second"] == ("disabled", "named in DFBENCH_DISABLE_PLUGINS")
    assert two[0] not in sys.modules
    assert not two[1].exists()


def test_only_the_plugins_asked_for_are_imported(two: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFBENCH_LOAD_PLUGINS", "first,avalanche")
    registry = load_plugins()
    assert set(registry.detectors) == {"a"}
    assert "naive" in registry.strategies
    assert status(registry)["second"] == ("disabled", "not named in DFBENCH_LOAD_PLUGINS")
    assert two[0] not in sys.modules
    assert not two[1].exists()


def test_an_empty_choice_loads_none_but_the_program_itself(
    two: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DFBENCH_LOAD_PLUGINS", "")
    registry = load_plugins()
    assert [plugin.name for plugin in registry.plugins if plugin.status == "loaded"] == ["builtin"]
    assert "folder" in registry.sources
    error = the_error(run_cli(capsys, "eval", "-d", "a", "-s", "naive"), UsageError.exit_code)
    assert "unknown detector 'a': Known: none" in error
    assert "plugin 'first' is disabled" in error


# --- Names registered twice ------------------------------------------------------------------------


@pytest.fixture
def rivals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two plugins that agree on nothing but one detector, one command and one benchmark name."""
    for name in ("left", "right"):
        text = detectors("shared", f"only_{name}").replace(
            "DetectorEntry, hook", "BenchmarkEntry, CommandEntry, DetectorEntry, hook"
        )
        text += "\n\n@hookimpl\ndef register_commands():\n    return [CommandEntry('both', 'os:getcwd', 'clash')]\n"
        text += "\n\n@hookimpl\ndef register_benchmarks():\n    return [BenchmarkEntry('both', 'none.yaml', 'clash')]\n"
        install(tmp_path, name, {f"rival_{name}.py": text}, target=f"rival_{name}")
    with plugins_of(tmp_path, monkeypatch):
        yield


BOTH = "is registered twice, by plugin 'left' (left-dist) and plugin 'right' (right-dist)"


@pytest.mark.usefixtures("rivals")
def test_using_a_name_registered_twice_is_an_error_naming_both(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["eval", "-d", "shared", "-s", "naive"], ["show", "shared"]):
        error = the_error(run_cli(capsys, *command), PluginError.exit_code)
        assert error == f"detector 'shared' {BOTH}: disable one with DFBENCH_DISABLE_PLUGINS=right"
    assert BOTH in the_error(run_cli(capsys, "both"), PluginError.exit_code)
    assert BOTH in the_error(run_cli(capsys, "eval", "-d", "simple_cnn", "-s", "naive", "-b", "both"), 4)


@pytest.mark.usefixtures("rivals")
def test_other_names_work_beside_a_name_registered_twice(capsys: pytest.CaptureFixture[str]) -> None:
    assert "only_left" in load_plugins().detectors
    assert run_cli(capsys, "show", "replay").code == 0
    helped = run_cli(capsys, "--help")
    assert helped.code == 0
    assert BOTH.replace(" ", "") in "".join(helped.out.split())  # the help is wrapped at blanks and hyphens


@pytest.mark.usefixtures("rivals")
def test_a_listing_shows_both_and_says_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    listed = run_cli(capsys, "list", "detectors", "--json")
    assert listed.code == 0
    rows = [row for row in listed.json if row["name"] == "shared"]
    assert [row["distribution"] for row in rows] == ["left-dist", "right-dist"]
    assert all(BOTH in row["error"] for row in rows)
    assert all(row["error"] is None for row in listed.json if row["name"] != "shared")
    assert listed.err == f"warning: detector 'shared' {BOTH}: disable one with DFBENCH_DISABLE_PLUGINS=right\n"
    assert run_cli(capsys, "list", "detectors").out.count("shared") == 2


@pytest.mark.usefixtures("rivals")
def test_disabling_one_as_the_error_says_solves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFBENCH_DISABLE_PLUGINS", "right")
    assert load_plugins().detectors.plugin("shared").name == "left"


@pytest.mark.usefixtures("rivals")
def test_a_benchmark_name_registered_twice_does_not_disturb_a_stream_of_ones_own(
    tiny_stream: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error is one that comes later."""
    names = ("-d", "simple_cnn", "-s", "naive", "-b", tiny_stream)
    done = run_cli(capsys, "eval", *names, "--set", "epoch=1", "--out", tmp_path / "runs")
    assert "unknown --set option" in the_error(done, UsageError.exit_code)


def test_a_plugin_may_not_take_a_command_of_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "from dfbench import CommandEntry, hookimpl\n\n\n@hookimpl\ndef register_commands():\n"
    install(tmp_path, "usurper", {"usurper.py": text + "    return [CommandEntry('score', 'os:getcwd', 'mine')]\n"})
    with plugins_of(tmp_path, monkeypatch):
        error = the_error(run_cli(capsys, "score", "--matrix", "-"), PluginError.exit_code)
        assert run_cli(capsys, "list", "metrics").code == 0
    assert "command 'score' is registered twice, by plugin 'builtin' (dfbench-deepfake) and plugin 'usurper'" in error
    assert error.endswith("DFBENCH_DISABLE_PLUGINS=usurper")


def test_a_metric_that_cannot_be_imported_is_told_before_training(
    tiny_stream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "from dfbench import MetricEntry, hookimpl\n\n\n@hookimpl\ndef register_metrics():\n"
    files = {"hollow_metric.py": text + "    return [MetricEntry('hollow', 'no_such_module_anywhere:metric')]\n"}
    install(tmp_path / "site", "hollow_metric", files)
    with plugins_of(tmp_path / "site", monkeypatch):
        settings = ("--set", "epochs=1", "--set", "width=4", "--device", "cpu", "--out", tmp_path / "runs")
        done = run_cli(capsys, "eval", "-d", "simple_cnn", "-s", "naive", "-b", tiny_stream, *settings)
    assert "metric 'hollow' (plugin 'hollow_metric' of " in the_error(done, PluginError.exit_code)
    assert not (tmp_path / "runs").exists()


def test_two_plugins_of_one_name_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2):
        module = f"namesake_{number}"
        install(tmp_path, module, {f"{module}.py": detectors(f"n{number}")}, entry="namesake")
    with plugins_of(tmp_path, monkeypatch):
        registry = load_plugins()
    first, second = (plugin for plugin in registry.plugins if plugin.name == "namesake")
    assert (first.status, second.status) == ("loaded", "broken")
    assert second.reason == "another plugin is called 'namesake' too; rename its entry point"


# --- Each hook at work -----------------------------------------------------------------------------

SAMPLE = {
    "dfbench_sample/__init__.py": """
from pathlib import Path

from dfbench import (
    AdapterEntry, BenchmarkEntry, CommandEntry, DataSetEntry, DetectorEntry, FaceDetectorEntry, LoggerEntry,
    MetricEntry, ReproductionEntry, SourceEntry, StrategyEntry, ZooEntry, hookimpl,
)


@hookimpl
def register_adapters():
    return [AdapterEntry("tilt", "dfbench_sample.tilt:Tilt", "a further weight")]


@hookimpl
def register_detectors():
    return [DetectorEntry("brightness", "dfbench_sample.parts:Brightness", "mean colour", presets=("default", "slow"))]


@hookimpl
def register_strategies():
    return [StrategyEntry("anchor", "dfbench_sample.parts:Anchor", "pulls the weights back", "a test")]


@hookimpl
def register_benchmarks():
    return [BenchmarkEntry("noise2", str(Path(__file__).parent / "noise2.yaml"), "two experiences of noise")]


@hookimpl
def register_sources():
    return [SourceEntry("noise", "dfbench_sample.parts:Noise", "makes its own pictures")]


@hookimpl
def register_data_sets():
    return [DataSetEntry("stills", "dfbench_sample.stills:Stills", "one folder of pictures for each class")]


@hookimpl
def register_face_detectors():
    return [FaceDetectorEntry("left", "dfbench_sample.stills:Left", "the left half")]


@hookimpl
def register_metrics():
    return [MetricEntry("brier", "dfbench_sample.parts:brier", "mean squared error of P(fake)")]


@hookimpl
def register_commands():
    return [CommandEntry("greet", "dfbench_sample.command:greet", "Greet somebody.")]


@hookimpl
def register_loggers():
    return [LoggerEntry("finish", "dfbench_sample.finish:Finish", "says when a run is finished")]


@hookimpl
def register_reproductions():
    return [ReproductionEntry("bright", str(Path(__file__).parent / "bright.yaml"), "one row")]


@hookimpl
def register_zoo():
    return [ZooEntry("elsewhere", str(Path(__file__).parent / "elsewhere.yaml"))]
""",
    "dfbench_sample/elsewhere.yaml": yaml.safe_dump({**ENTRY, "name": "elsewhere"}),
    "dfbench_sample/bright.yaml": """
name: bright
title: One row
paper: nobody
detector: brightness
tables:
  - key: only
    title: noise
    columns: [weak, strong]
    rows: [{name: mine, benchmark: noise2, strategy: anchor, reported: [50, 60]}]
""",
    "dfbench_sample/stills.py": """
import numpy as np

from dfbench import About, DataSet, Item, Scan


class Stills(DataSet):
    name = "stills"
    about = About("Pictures of a test", "nowhere", "any", "2", "none", "{real,fake}/*.png", "by the option split")

    def read(self, root, *, split: str = "train"):
        return Scan([
            Item(root / name, name, label, split, ("real", "made")[label], None, None, None, kind="frames")
            for label, name in enumerate(("real", "fake"))
        ])


class Left:
    sizes = (64,)
    version = "1"

    def __init__(self, model, device):
        self.share = float(model.read_text())

    def detect(self, frames):
        count, height, width, _ = frames.shape
        return [np.array([[0, 0, width * self.share, height, 1.0]])] * count
""",
    "dfbench_sample/finish.py": """
import sys

from dfbench import Logger


class Finish(Logger):
    def run_finished(self, event):
        print("finished:", event.record.run, file=sys.stderr)
""",
    "dfbench_sample/command.py": '''
import click


@click.command("greet")
@click.argument("who")
def greet(who):
    """Greet WHO."""
    click.echo(f"hello {who}")
''',
    "dfbench_sample/tilt.py": """
import torch
from torch import nn

from dfbench import Adapter


class Tilt(Adapter):
    def add(self, model, options, generator):
        model.tilt = nn.Parameter(torch.randn(3, generator=generator))
""",
    "dfbench_sample/parts.py": '''
import numpy as np
import torch
from avalanche.core import SupervisedPlugin
from pydantic import Field
from torch import nn

from dfbench import Detector, EpochConfig, Need, Samples, Strategy, StrategyConfig


class Config(EpochConfig):
    batch_size: int = 8
    epochs: int = 1


class Brightness(Detector):
    Config = Config
    presets = {"default": {}, "slow": {"epochs": 3}}

    def build(self):
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, self.task.num_classes))


class AnchorConfig(StrategyConfig):
    strength: float = Field(1.0, ge=0, description="weight of the penalty")


class Anchor(Strategy):
    """L2 distance to the weights that the last experience left."""

    Config = AnchorConfig
    needs = frozenset({Need.GRADIENTS})

    def plugins(self, context):
        self._plugin = AnchorPlugin(self.config.strength)
        return [self._plugin]

    def state_dict(self):
        return {"anchor": self._plugin.anchor}

    def load_state_dict(self, state, rebuild):
        self._plugin.anchor = state["anchor"]


class AnchorPlugin(SupervisedPlugin):
    def __init__(self, strength):
        super().__init__()
        self.strength, self.anchor = strength, []

    def before_backward(self, strategy, **kwargs):
        for p, a in zip(strategy.model.parameters(), self.anchor):
            strategy.loss = strategy.loss + self.strength * (p - a).pow(2).sum()

    def after_training_exp(self, strategy, **kwargs):
        self.anchor = [p.detach().clone() for p in strategy.model.parameters()]


class Noise:
    """Pictures made from a seed; fakes are brighter."""

    needs_root = False

    def __init__(self, root, *, shift: int = 40):
        self.shift = shift

    def samples(self):
        rows = [
            {"sample": f"{split}-{label}-{n}", "label": label, "split": split, "video": f"{split}-{label}-{n}"}
            for split, count in (("train", 16), ("test", 6))
            for label in (0, 1)
            for n in range(count)
        ]
        return Samples.from_rows(rows)

    def read(self, sample):
        rng = np.random.default_rng(sum(map(ord, sample)))
        fake = sample.split("-")[1] == "1"
        return rng.integers(0, 200, (16, 16, 3), dtype=np.uint8) + np.uint8(self.shift * fake)


def brier(labels, scores):
    return float(np.mean((scores - labels) ** 2))
''',
    "dfbench_sample/noise2.yaml": """
name: noise2
defaults: {source: noise}
experiences:
  - {name: weak, shift: 10}
  - {name: strong, shift: 50}
""",
}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plugin that uses every hook, installed."""
    return install(tmp_path_factory.mktemp("sample"), "dfbench_sample", SAMPLE)


@pytest.fixture(scope="module")
def evaluated(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Its detector under its strategy on its benchmark."""
    out = tmp_path_factory.mktemp("runs")
    options = ("--preset", "slow", "--set", "strategy.strength=0.5", "--device", "cpu", "--out", out, "--json")
    options += ("--log", "finish")
    done = dfbench("eval", "-d", "brightness", "-s", "anchor", "-b", "noise2", *options, python_path=(sample,))
    assert done.code == 0, done.err
    return done


@pytest.fixture(scope="module")
def crops(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Its data set, prepared with its face detector."""
    root = tmp_path_factory.mktemp("stills")
    (root / "half.txt").write_text("0.5")
    for name, number in itertools.product(("real", "fake"), range(3)):
        (root / name).mkdir(exist_ok=True)
        Image.fromarray(np.full((40, 80, 3), 80 * number, np.uint8)).save(root / name / f"{number}.png")
    options = ("--root", root, "--out", root / "set", "--option", "split=val", "--margin", 1, "--workers", 0, "--json")
    done = dfbench("data", "prepare", "stills", "--faces", f"left={root}/half.txt", *options, python_path=(sample,))
    assert done.code == 0, done.err
    return done


def listed(sample: Path, kind: str, name: str) -> dict[str, object]:
    done = dfbench("list", kind, "--json", python_path=(sample,))
    (row,) = (row for row in done.json if row["name"] == name)
    assert (row["plugin"], row["distribution"]) == ("dfbench_sample", "dfbench_sample-dist")
    return row


def test_register_detectors(sample: Path, evaluated: Done) -> None:
    assert listed(sample, "detectors", "brightness")["presets"] == ["default", "slow"]
    assert evaluated.json["spec"]["detector"] == "brightness"
    assert evaluated.json["spec"]["detector_config"]["epochs"] == 3
    assert evaluated.json["steps"] == [12, 12]


def test_register_strategies(sample: Path, evaluated: Done) -> None:
    assert listed(sample, "strategies", "anchor")["paper"] == "a test"
    assert evaluated.json["spec"]["strategy_config"] == {"strength": 0.5}
    assert evaluated.json["effects"]["penalty"] > 0


def test_register_adapters(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.Linear(2, 2)
    with plugins_of(sample, monkeypatch):
        known = load_plugins()
        add_adaptations(network, [Adaptation(adapter="tilt")], known.adapters)
        with pytest.raises(UsageError, match="needs the adapter 'tild', which no installed plugin provides"):
            add_adaptations(network, [Adaptation(adapter="tild")], known.adapters)
    assert network.state_dict()["tilt"].shape == (3,)


def test_register_benchmarks(sample: Path, evaluated: Done) -> None:
    listed(sample, "benchmarks", "noise2")
    assert evaluated.json["spec"]["benchmark"] == "noise2"
    assert [len(row) for row in evaluated.json["matrix"]["auc"]] == [2, 2]


def test_register_sources(sample: Path, evaluated: Done) -> None:
    listed(sample, "sources", "noise")
    record = json.loads(Path(evaluated.json["record"]).read_text())
    assert record["data"]["experiences"][0]["train"] == {"real": 16, "fake": 16}


def test_register_data_sets(sample: Path, crops: Done) -> None:
    assert (crops.json["videos"], crops.json["crops"], crops.json["methods"]) == (2, 6, {"made": 1, "real": 1})


def test_register_face_detectors(sample: Path, crops: Done) -> None:
    from dfbench.data.prepare.shards import open_shard

    table = open_shard(Path(crops.json["folder"]) / "val" / "data-00000-of-00001.arrow").to_pydict()
    assert {(table["x"][i], table["y"][i], table["side"][i]) for i in range(6)} == {(0, 0, 40)}


def test_register_metrics(sample: Path, evaluated: Done) -> None:
    listed(sample, "metrics", "brier")
    from dfbench.evaluation.scores import Scores

    scores = Scores.read(Path(evaluated.json["record"]).with_name("scores.parquet"))
    group = scores.get(1, 0)
    assert group is not None
    assert evaluated.json["matrix"]["brier"][1][0] == pytest.approx(((group.scores - group.labels) ** 2).mean())


def test_register_commands(sample: Path) -> None:
    done = dfbench("greet", "world", python_path=(sample,))
    assert (done.code, done.out) == (0, "hello world\n")
    assert "Greet somebody." in dfbench("--help", python_path=(sample,)).out
    assert dfbench("greet").code == UsageError.exit_code


def test_register_loggers(sample: Path, evaluated: Done) -> None:
    listed(sample, "loggers", "finish")
    assert f"finished: {evaluated.json['run']}" in evaluated.err


def test_register_reproductions(sample: Path, tmp_path: Path) -> None:
    listed(sample, "reproductions", "bright")
    assert "name: bright" in dfbench("show", "bright", python_path=(sample,)).out
    options = ("--seeds", 1, "--device", "cpu", "--out", tmp_path, "--json")
    done = dfbench("reproduce", "bright", *options, python_path=(sample,))
    assert done.code == 0, done.err
    (row,) = done.json["tables"][0]["rows"]
    assert (row["name"], row["reported"], len(row["mean"])) == ("mine", [50, 60], 2)


def test_register_zoo(sample: Path) -> None:
    done = dfbench("zoo", "list", "--json", python_path=(sample,))
    (row,) = (row for row in done.json if row["name"] == "elsewhere")
    assert (row["here"], row["hub"]["repo"]) == (False, ENTRY["hub"]["repo"])


def test_every_hook_has_a_test_named_after_it() -> None:
    manager = pluggy.PluginManager("dfbench")
    hooks = [name for name in vars(hookspecs) if manager.parse_hookspec_opts(hookspecs, name) is not None]
    assert len(hooks) == 12
    for hook in hooks:
        assert inspect.isfunction(globals().get(f"test_{hook}")), hook


# --- The first-party plugins -----------------------------------------------------------------------


def test_presets_of_an_entry_are_those_of_its_class() -> None:
    registry = load_plugins()
    for name in ("simple_cnn", "xception", "dfdc3", "sbi"):
        assert registry.detectors[name].presets == tuple(registry.detectors.load(name).presets)

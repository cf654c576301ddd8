"""The loggers that come with dfbench, read back from what they wrote."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfbench.plugins import load_plugins
from dfbench.records.record import Record
from dfbench.runs import events
from dfbench.runs.events import Listener
from dfbench.runs.prepare import Request
from dfbench.runs.runner import run
from dfbench.testing import write_stream
from tests.cli.harness import install, plugins_of, run_cli
from tests.conftest import ODD, dfbench

ROOT = Path(__file__).parent.parent.parent


class Strict(Listener):
    """A logger that fails fails the test."""

    def event(self, event: events.Event) -> None:
        assert not isinstance(event, events.Notice) or not event.text.startswith("logger "), event


@pytest.fixture
def mortal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The registry has the detector that kills its own process."""
    with plugins_of(ODD, monkeypatch):
        yield


def train(stream: Path, out: Path, *log: str, strategy: str = "replay") -> Record:
    request = Request("mortal", strategy, str(stream), device="cpu", out=out, log=log)
    return run(request, load_plugins(), Strict())


def interrupted(stream: Path, out: Path, monkeypatch: pytest.MonkeyPatch, *log: str) -> None:
    """The run dies in its second experience."""
    monkeypatch.setenv("MORTAL_SIGNAL", "SIGINT")
    monkeypatch.setenv("MORTAL_AT", "1")
    with pytest.raises(KeyboardInterrupt):
        train(stream, out, *log)
    monkeypatch.delenv("MORTAL_AT")


def needs(package: str) -> pytest.MarkDecorator:
    absent = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(absent, reason=f"{package} is not installed (pip install {package})")


def test_the_loggers_are_listed_and_shown(capfd: pytest.CaptureFixture[str]) -> None:
    listed = run_cli(capfd, "list", "loggers", "--json").json
    assert {row["name"] for row in listed} >= {"jsonl", "tensorboard", "wandb", "mlflow", "trackio"}
    (shown,) = run_cli(capfd, "show", "jsonl", "--json").json
    assert shown["kind"] == "logger"
    assert shown["options"]["every"]["default"] == 50
    assert "--log jsonl:" in run_cli(capfd, "show", "jsonl").out
    written = (ROOT / "docs" / "logging.md").read_text(encoding="utf-8")
    assert all(f"| `{row['name']}` |" in written for row in listed if row["plugin"] == "loggers")


def test_every_event_and_its_fields_are_in_the_docs() -> None:
    written = (ROOT / "docs" / "logging.md").read_text(encoding="utf-8")
    found = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, events.Event)]
    kinds = [kind for kind in found if kind not in (events.Event, events.ProgressEvent)]
    assert len(kinds) > 12
    for kind in kinds:
        (row,) = re.findall(rf"^\| `{kind.kind}` \|(.*)$", written, re.MULTILINE)
        own = kind.__annotations__.keys() - {"kind"}
        assert {name for name in own if f"`{name}`" not in row} == set(), kind


# --- jsonl -------------------------------------------------------------------------------------------


def test_jsonl_survives_kill_9_and_is_continued(tmp_path: Path) -> None:
    stream = write_stream(tmp_path, experiences=3)
    options = ("-d", "mortal", "-s", "replay", "-b", stream, "--out", tmp_path / "runs", "--device", "cpu")
    command = ("eval", *options, "--log", "jsonl:every=1", "--json")
    killed = dfbench(*command, python_path=(ODD,), MORTAL_AT="1", MORTAL_SIGNAL="SIGKILL")
    assert killed.code == -9
    (path,) = (tmp_path / "runs").glob("*/events.jsonl")
    before = path.read_text()
    kinds = [json.loads(line)["event"] for line in before.splitlines()]
    assert kinds[-3:] == ["experience_started", "training_step", "training_step"]  # it died at step 2
    path.write_text(before + '{"time": "2026-01-01T00:0')  # as if it had died while writing
    done = dfbench(*command, python_path=(ODD,))
    assert done.code == 0, done.err
    text = path.read_text()
    assert text.startswith(before)
    lines = [json.loads(line) for line in text.splitlines()]
    assert all("time" in line for line in lines)
    assert [line["number"] for line in lines if line["event"] == "evaluated"] == [0, 1, 2, 3]
    resumed = lines[len(kinds)]
    assert (resumed["event"], resumed["finished"]) == ("run_resumed", 1)
    assert (lines[-1]["event"], lines[-1]["metrics"]) == ("run_finished", done.json["metrics"])
    steps = [line["done"] for line in lines[len(kinds) :] if line["event"] == "training_step"]
    assert steps == [*range(1, done.json["steps"][1] + 1), *range(1, done.json["steps"][2] + 1)]


def test_jsonl_starts_anew_with_fresh(tiny_stream: Path, tmp_path: Path, mortal: None) -> None:
    path = train(tiny_stream, tmp_path, "jsonl:file=e.jsonl").path.with_name("e.jsonl")
    first = path.read_text().count("\n")
    request = Request("mortal", "replay", str(tiny_stream), device="cpu", out=tmp_path, log=["jsonl:file=e.jsonl"],
                      fresh=True)  # fmt: skip
    run(request, load_plugins(), Strict())
    assert path.read_text().count("\n") == first
    assert json.loads(path.read_text().splitlines()[0])["event"] == "run_started"


# --- TensorBoard -------------------------------------------------------------------------------------


@needs("tensorboard")
def test_tensorboard_reads_back_what_the_run_measured(
    tiny_stream: Path, tmp_path: Path, mortal: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    interrupted(tiny_stream, tmp_path, monkeypatch, "tensorboard:every=1")
    record = train(tiny_stream, tmp_path, "tensorboard:every=1")
    events = EventAccumulator(str(record.path.parent / "tensorboard"), {"scalars": 0})
    events.Reload()
    losses = events.Scalars("train/loss")
    assert [e.step for e in losses] == list(range(1, sum(record.steps) + 1))  # each once, the interrupted ones too
    for column, name in enumerate(("s0", "s1", "s2")):
        rows = {e.step: e.value for e in events.Scalars(f"test/auc/{name}") if e.step}
        assert rows == pytest.approx({i + 1: record.matrix["auc"][i][column] for i in range(3)})
    assert events.Scalars("final/forgetting")[0].value == pytest.approx(record.metrics["forgetting"])
    assert [e.value for e in events.Scalars("train/seconds")] == pytest.approx(record.seconds.train)
    text = events.Tensors("spec/text_summary")[0].tensor_proto.string_val[0].decode()
    assert '"detector": "mortal"' in text


def test_a_missing_package_is_one_clear_line(tiny_stream: Path, tmp_path: Path) -> None:
    """In a process of its own that has no tensorboard: a module that is None cannot be imported."""
    script = (
        "import sys\nfor name in ('tensorboard', 'wandb', 'mlflow', 'trackio'):\n    sys.modules[name] = None\n"
        "from dfbench.plugins import registry\nfrom dfbench.runs.loggers import make_loggers\n"
        "from dfbench.errors import PluginError\n"
        "for name in ('tensorboard', 'wandb', 'mlflow', 'trackio'):\n"
        "    try:\n        make_loggers([name], registry())\n"
        "    except PluginError as error:\n        print(error)\n"
    )
    import subprocess

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    for line, name in zip(lines, ("tensorboard", "wandb", "mlflow", "trackio"), strict=True):
        assert line.startswith(f"--log {name}: this logger needs the package {name}")
        assert line.endswith(f"pip install {name}")


# --- Servers, as far as they run without one -------------------------------------------------------------


def leveldb_records(data: bytes, offset: int) -> Iterator[bytes]:
    """The records of wandb's offline file: LevelDB's log format, blocks of 32 KiB counted from its 7-byte header."""
    position, held = 0, b""
    while position + 7 <= len(data):
        left = 32768 - (position + offset) % 32768
        if left < 7:
            position += left
            continue
        length, kind = int.from_bytes(data[position + 4 : position + 6], "little"), data[position + 6]
        held += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield held
            held = b""


@needs("wandb")
def test_wandb_offline_keeps_the_run(
    tiny_stream: Path, tmp_path: Path, mortal: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb
    from wandb.proto import wandb_internal_pb2

    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "wandb-home"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    record = train(tiny_stream, tmp_path, "wandb:mode=offline,every=1")
    wandb.teardown()  # finish() does not wait until wandb's own process has written what it holds in memory
    (path,) = record.path.parent.glob("wandb/offline-run-*/*.wandb")
    assert record.run in path.name
    history: dict[str, list[Any]] = {}
    config = ""
    for data in leveldb_records(path.read_bytes()[7:], offset=7):
        message = wandb_internal_pb2.Record()
        message.ParseFromString(data)
        for item in message.history.item:
            history.setdefault("/".join(item.nested_key) or item.key, []).append(json.loads(item.value_json))
        config += "".join(update.value_json for update in message.run.config.update)
    assert len(history["train/loss"]) == sum(record.steps)
    assert history["test/auc/s1"][1:] == pytest.approx([row[1] for row in record.matrix["auc"]])
    assert "mortal" in config


@needs("mlflow")
def test_mlflow_goes_on_in_its_run(
    tiny_stream: Path, tmp_path: Path, mortal: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    interrupted(tiny_stream, tmp_path / "runs", monkeypatch, f"mlflow:uri={uri},every=1")
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    (before,) = client.search_runs([experiment.experiment_id])
    assert before.info.status == "FAILED"
    record = train(tiny_stream, tmp_path / "runs", f"mlflow:uri={uri},every=1")
    (found,) = client.search_runs([experiment.experiment_id])
    assert (found.info.run_id, found.info.status, found.info.run_name) == (
        before.info.run_id, "FINISHED", record.run,
    )  # fmt: skip
    assert found.data.params["detector"] == "mortal"
    assert found.data.params["detector_config.epochs"] == "2"
    assert found.data.metrics["final/forgetting"] == pytest.approx(record.metrics["forgetting"])
    rows = client.get_metric_history(found.info.run_id, "test/auc/s0")
    assert {m.step: m.value for m in rows if m.step} == pytest.approx(
        {i + 1: record.matrix["auc"][i][0] for i in range(3)}
    )


@needs("trackio")
def test_trackio_keeps_the_run_on_this_machine(
    tiny_stream: Path, tmp_path: Path, mortal: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    record = train(tiny_stream, tmp_path / "runs", "trackio:every=1,project=mine")
    import sqlite3

    (path,) = (tmp_path / "trackio").glob("mine*.db")
    with sqlite3.connect(path) as connection:
        rows = [json.loads(m) for (m,) in connection.execute("select metrics from metrics order by id")]
    assert sum("train/loss" in row for row in rows) == sum(record.steps)
    assert [row["test/auc/s0"] for row in rows if row.get("trainings")] == pytest.approx(
        [row[0] for row in record.matrix["auc"]]
    )


# --- Avalanche's own -----------------------------------------------------------------------------------


def test_avalanches_metrics_and_loggers_watch_our_loop(
    tiny_stream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plugin of docs/logging.md, under a strategy with a penalty and one that replays."""
    text = (ROOT / "docs" / "logging.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```python\n(# dfbench_metrics\.py\n.*?)^```$", text, re.MULTILINE | re.DOTALL)
    folder = install(tmp_path / "plugin", "dfbench_metrics", {"dfbench_metrics.py": shown})
    with plugins_of(folder, monkeypatch):
        for strategy in ("replay", "ewc"):
            settings = ["image_size=32", "epochs=2", "batch_size=8", "width=4"]

            def ask(out: str, *log: str, strategy: str = strategy, settings: list[str] = settings) -> Record:
                request = Request(
                    "simple_cnn", strategy, str(tiny_stream), settings=settings, device="cpu", out=tmp_path / out,
                    log=log,
                )  # fmt: skip
                return run(request, load_plugins(), Strict())

            plain, watched = ask("plain"), ask("watched", "metrics", "jsonl")
            assert plain.weights_sha256 == watched.weights_sha256
            assert plain.scores_sha256 == watched.scores_sha256

            made = watched.path.parent
            with (made / "csv" / "training_results.csv").open() as file:
                rows = list(csv.DictReader(file))
            assert [(row["training_exp"], row["epoch"]) for row in rows] == [
                (str(e), str(n)) for e in range(3) for n in range(2)
            ]
            losses = [float(row["training_loss"]) for row in rows]
            assert all(0 < loss < 5 for loss in losses)
            assert all(0 <= float(row["training_accuracy"]) <= 1 for row in rows)
            if strategy == "replay":  # the same loss as ours, where batches are of one size and there is no penalty
                events = [json.loads(line) for line in (made / "events.jsonl").read_text().splitlines()]
                ours = next(e["loss"] for e in events if e["event"] == "training_step")
                assert sum(losses[:2]) / 2 == pytest.approx(ours, abs=1e-3)
            report = (made / "metrics.txt").read_text()
            assert report.count("Loss_Epoch/train_phase") == 6
            times = [float(t) for t in re.findall(r"Time_Epoch\S* = ([\d.]+)", report)]
            assert len(times) == 6
            assert all(t > 0 for t in times)
            assert sum(times) < sum(watched.seconds.train)

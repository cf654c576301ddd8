"""The front door: ``dfbench.run``, ``dfbench.compare`` and ``dfbench.load``, as README shows them."""

from __future__ import annotations

import contextlib
import io
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dfbench
from dfbench import DataError, DfbenchError, FinishedRun, Record, UsageError

README = Path(__file__).parent.parent / "README.md"
SMALL: dict[str, Any] = {"image_size": 32, "epochs": 1, "batch_size": 8, "width": 4}


def executed(code: str, names: dict[str, Any]) -> str:
    """What the code prints."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, str(README), "exec"), names)
    return printed.getvalue()


# --- README ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def readme(tiny_stream: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, dict[str, Any], Path]:
    """What README's Python prints before it loads the detector, the rest of it, the names so far, and where it runs.

    All of it is executed as printed; the stream is another, and small.
    """
    (block,) = re.findall(
        r"^```python\n(import dfbench\n.*?)^```$", README.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    assert block.count('benchmark="forge5"') == 2
    block = block.replace('"forge5"', repr(str(tiny_stream)))
    before, load, after = block.partition("detector = dfbench.load")
    names: dict[str, Any] = {"picture": np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)}
    folder = tmp_path_factory.mktemp("readme")
    with contextlib.chdir(folder):
        printed = executed(before, names)
    return printed, load + after, names, folder


def test_readme_runs_and_compares(readme: tuple[str, str, dict[str, Any], Path]) -> None:
    printed, _, names, folder = readme
    assert (folder / names["replay"].path).is_file()
    title, header, replay, naive, *_ = printed.splitlines()
    assert (title, header.split()[:3]) == ("tiny", ["detector", "strategy", "seed"])
    assert replay.split()[2] == "replay"
    assert f"{names['naive'].metrics['forgetting']:.3f}".replace("-", "−") in naive.split()
    assert dfbench.compare([names["replay"], names["naive"]]).sentence in printed


def test_readme_loads_what_it_trained_and_predicts(readme: tuple[str, str, dict[str, Any], Path]) -> None:
    _, rest, names, folder = readme
    with contextlib.chdir(folder):
        assert 0 <= float(executed(rest, names)) <= 1


# --- run ---------------------------------------------------------------------------------------------


def small(stream: Path, out: Path, **more: Any) -> Record:
    options: dict[str, Any] = {"settings": SMALL, "device": "cpu", "out": out, **more}
    return dfbench.run("simple_cnn", options.pop("strategy", "replay"), stream, **options)


def test_data_lie_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFBENCH_DATA", str(tmp_path))
    with pytest.raises(DfbenchError, match=re.escape(str(tmp_path / "cifar10"))):
        dfbench.run("simple_cnn", "naive", "cifar10-ni10", device="cpu", out=tmp_path / "runs")


def test_it_is_the_run_of_the_command(tiny_stream: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.cli.harness import run_cli

    record = small(tiny_stream, tmp_path, settings={**SMALL, "strategy.memory": 6}, eval_every=2, eval_samples=4)
    settings = [part for key, value in SMALL.items() for part in ("--set", f"{key}={value}")]
    command = ("eval", "-d", "simple_cnn", "-s", "replay", "-b", tiny_stream, *settings, "--set", "strategy.memory=6",
               "--eval-every", "2", "--eval-samples", "4", "--device", "cpu", "--out", tmp_path)  # fmt: skip
    done = run_cli(capsys, *command, "--json")
    assert "this run is finished already" in done.err
    assert (done.json["run"], done.json["record"]) == (record.run, str(record.path))
    assert done.json["matrix"] == record.matrix
    found = FinishedRun.open(tmp_path / record.run)
    assert found.record == record
    assert len(found.scores) == 4 * 3 * 12 + 6 * 6  # those of validation reals


def test_settings_are_keys_and_values_or_texts(tiny_stream: Path, tmp_path: Path) -> None:
    texts = [f"{key}={value}" for key, value in SMALL.items()]
    assert small(tiny_stream, tmp_path).run == small(tiny_stream, tmp_path, settings=texts).run


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"settings": {"epoch": 1}}, "unknown .*'epoch': did you mean 'epochs'"),
        ({"settings": {"strategy.memry": 1}}, "unknown .*'strategy.memry': did you mean 'strategy.memory'"),
        ({"settings": {"epochs": "many"}}, "epochs='many'.* valid integer"),
        ({"settings": {"epochs": True}}, "not a yes-or-no option"),
        ({"settings": {"memory": 5}}, "an option of the strategy"),
        ({"strategy": "reply"}, "did you mean 'replay'"),
        ({"eval_samples": 4}, "eval-samples goes with --eval-every"),
        ({"tune": "bf61"}, "bf61"),
        ({"device": "gpu"}, "--device gpu: not available"),
    ],
    ids=str,
)
def test_a_wrong_option_is_one_clear_error(
    options: dict[str, Any], message: str, tiny_stream: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        small(tiny_stream, tmp_path / "runs", **options)
    assert not (tmp_path / "runs").exists()


def test_progress_is_on_stderr_and_notices_in_the_log_without_it(
    tiny_stream: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    small(tiny_stream, tmp_path, progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "training 3/3 s2" in shown.err
    with caplog.at_level(logging.INFO, "dfbench"):
        small(tiny_stream, tmp_path)
    assert "this run is finished already" in caplog.text
    assert capsys.readouterr().err == ""


# --- compare -----------------------------------------------------------------------------------------


def test_records_folders_and_files_are_compared_alike(tiny_stream: Path, tmp_path: Path) -> None:
    records = [small(tiny_stream, tmp_path, strategy=strategy) for strategy in ("replay", "naive", "joint")]
    paths = [record.path for record in records]
    assert all(paths)
    found = dfbench.compare(records)
    assert str(dfbench.compare([str(path) for path in paths])) == str(found)
    assert dfbench.compare([path.parent for path in paths if path]).document() == found.document()
    assert [row[1] for row in found.rows] == ["replay", "naive", "joint"]
    assert all(len(row) == len(found.columns) for row in found.rows)
    (mark,) = [note for note in found.notes if note.startswith("*")]
    assert mark in str(found)
    widths = {len(line) for line in str(found).splitlines()[1:5]}
    assert len(widths) == 1


def test_what_cannot_be_compared(tiny_stream: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least one run"):
        dfbench.compare([])
    with pytest.raises(DataError, match="there is no record"):
        dfbench.compare([tmp_path])
    test, val = (small(tiny_stream, tmp_path, split=split) for split in ("test", "val"))
    with pytest.raises(DataError, match="not comparable"):
        dfbench.compare([test, val])

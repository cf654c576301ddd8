"""A run that started from a checkpoint is made again where the checkpoint is found, and says what is missing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dfbench.errors import UsageError
from dfbench.plugins import Registry
from dfbench.publish.verification.rerun import rerun
from dfbench.publish.zoo.initial import find_initial
from dfbench.records.finished import FinishedRun
from dfbench.records.record import Record
from dfbench.runs.prepare import Request
from dfbench.runs.runner import run


def started(strategy: str, weights: Path, stream: Path, out: Path, known: Registry) -> Record:
    settings = ["width=8"] + ["epochs=1"] * (strategy != "none")
    init = find_initial(str(weights), known)
    return run(Request("simple_cnn", strategy, str(stream), settings=settings, device="cpu", out=out, init=init), known)


@pytest.mark.parametrize("strategy", ["none", "naive"])
def test_a_run_from_a_checkpoint_is_made_again(
    strategy: str, finished: Path, tiny_stream: Path, known: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a bare copy of the weights: what the record states of them stays."""
    monkeypatch.chdir(tmp_path)
    there = tmp_path / "there"
    record = started(strategy, finished, tiny_stream, there, known)
    assert record.path is not None
    if strategy == "none":  # it holds these very weights itself
        (there / record.run / "model.safetensors").unlink()
    said = r"the weights .* \(sha256 \w{12}…\) are not here: give the path of "
    with pytest.raises(UsageError, match=said):
        rerun(FinishedRun.open(record.path), known, None, tmp_path / "again", benchmark=str(tiny_stream))
    shutil.copy(finished / "model.safetensors", tmp_path / "copy.safetensors")
    found = rerun(FinishedRun.open(record.path), known, None, tmp_path / "again", benchmark=str(tiny_stream))
    assert found.agreement == "identical"
    again = Record.read(found.path)
    assert again.spec == record.spec
    assert again.identity == record.identity

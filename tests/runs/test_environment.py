"""A record says which processor it was made on, as far as that decides speed and last digits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dfbench.publish.verification.rerun import changes
from dfbench.records.parts import Environment
from dfbench.records.record import Record
from dfbench.runs import environment as module
from dfbench.runs.environment import FLAGS, environment

EPYC = """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 1
model name\t: AMD EPYC
stepping\t: 1
flags\t\t: fpu sse avx2 fma

processor\t: 1
flags\t\t: fpu avx512f
"""


@pytest.fixture
def cpuinfo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Sets what /proc/cpuinfo says."""

    def say(text: str) -> Environment:
        file = tmp_path / "cpuinfo"
        file.write_text(text)
        monkeypatch.setattr(module, "Path", lambda _: file)
        module._cpuinfo.cache_clear()
        return Environment(**environment(torch.device("cpu"), {}))

    yield say
    monkeypatch.undo()
    module._cpuinfo.cache_clear()


def test_processors_of_one_name_are_distinguished(cpuinfo) -> None:
    old, new = cpuinfo(EPYC), cpuinfo(EPYC.replace("model\t\t: 1", "model\t\t: 17").replace("fma", "fma avx512_bf16"))
    assert (old.processor, old.processor_model) == ("AMD EPYC", "AuthenticAMD family 25 model 1 stepping 1")
    assert (old.processor_flags, new.processor_flags) == (["avx2", "fma"], ["avx2", "fma", "avx512_bf16"])
    assert changes(old, new) == (
        "processor AuthenticAMD family 25 model 1 stepping 1 → AuthenticAMD family 25 model 17 stepping 1",
        "with avx512_bf16",
    )
    assert changes(new, old)[1] == "without avx512_bf16"
    assert cpuinfo("").processor_flags == []


def test_this_machine_is_described() -> None:
    here = Environment(**environment(torch.device("cpu"), {}))
    assert set(here.processor_flags) <= set(FLAGS)
    if "flags" in (Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""):
        assert here.processor_model
        assert here.processor_flags


def test_older_records_say_nothing_of_it_and_are_read() -> None:
    board = (Path(__file__).parents[2] / "leaderboard" / "results").glob("*.json")
    old = next(e for path in board if not (e := Record.read(path).environment).processor_model)
    assert not any("processor" in text for text in changes(old, Environment(**environment(torch.device("cpu"), {}))))

"""A third party's source that breaks its contract is named with its plugin, and nothing is trained."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from dfbench.errors import PluginError
from dfbench.plugin_faults import Fault
from tests.cli.harness import install, plugins_of, run_cli, the_error

SOURCE = """
import numpy as np
from dfbench import Samples, SourceEntry, hookimpl


@hookimpl
def register_sources():
    return [SourceEntry("theirs", "{name}:Theirs")]


def rows(**more):
    return [
        {{"sample": f"{{split}}{{n}}", "label": n % 2, "split": split, **more}}
        for split in ("train", "test") for n in range(4)
    ]


class Theirs:
    needs_root = False
    classes = ("real", "fake")

    def __init__(self, root):
        pass

    def samples(self):
        return Samples.from_rows(rows())

    def read(self, sample):
        return np.zeros((8, 8, 3), np.uint8) + len(sample)

{change}
"""
CASES = {
    "no table": ("def samples(self): return rows()", "samples returned a list: a dfbench.Samples is needed"),
    "label": ("def samples(self): return Samples.from_rows(rows(label=2))",
              "samples returned label 2 for 'train0' (8 of 8 rows): labels count from 0, and there are 2 classes"),
    "split": ("def samples(self): return Samples.from_rows(rows(split='dev'))",
              "samples makes no table: unknown split 'dev'"),
    "column": ("def samples(self): return Samples.from_rows(rows(person='x'))",
               "samples makes no table: sample 0: unknown column 'person'"),
    "missing": ("def samples(self): return Samples.from_rows([{'sample': 'a', 'label': 0}])",
                "samples makes no table: sample 0: column 'split' is missing"),
    "twice": ("def samples(self): return Samples.from_rows(rows(sample='a'))",
              "samples makes no table: two rows have the same sample name 'a'"),
    "classes": ("classes = ('real',)", "classes is ('real',): the names of at least two classes are needed"),
    "notes": ("notes = 'many'", "notes is 'many': a list of texts is needed"),
    "shape": ("def read(self, sample): return np.zeros((8, 8), np.uint8)",
              "read returned uint8 (8, 8) for 'train0', not uint8 (H, W, 3)"),
    "nothing in it": ("def read(self, sample): return np.zeros((0, 8, 3), np.uint8)",
                      "read returned uint8 (0, 8, 3) for 'train0', not uint8 (H, W, 3)"),
    "type": ("def read(self, sample): return np.zeros((8, 8, 3))", "read returned float64 (8, 8, 3) for 'train0'"),
    "stamp": ("def stamp(self, sample): return 3.5", "stamp returned a float for 'train0': a text is needed"),
    "inspection": ("def inspect(self, sample): return None",
                   "inspect returned None for 'train0': Inspection(sha256, height, width) is needed"),
    "raises": ("def read(self, sample): return {}[sample]", "read raised KeyError: 'train0'"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_source_that_breaks_its_contract_is_named(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    change, said = CASES[case]
    name = f"theirs_{case.replace(' ', '_')}"
    text = SOURCE.format(name=name, change=f"    {change}")
    install(tmp_path / "site", name, {f"{name}.py": text}, entry="p")
    stream = tmp_path / "s.yaml"
    stream.write_text("name: s\nmetric: auc\nmemory: 2\nexperiences:\n- {name: one, source: theirs}\n")
    with plugins_of(tmp_path / "site", monkeypatch):
        out = tmp_path / "runs"
        done = run_cli(capfd, "eval", "-d", "simple_cnn", "-s", "naive", "-b", stream, "--out", out, "--device", "cpu")
    error = the_error(done, PluginError.exit_code)
    assert error.startswith(f"source 'theirs' (plugin 'p' of {name}-dist 1.0): {said}")
    assert not out.exists()


def test_a_fault_that_leaves_a_worker_process_is_the_same() -> None:
    fault = Fault(Path("x"), "read", "returned nothing")
    again = pickle.loads(pickle.dumps(fault))
    assert (type(again), str(again), again.said, again.classes) == (Fault, str(fault), fault.said, fault.classes)

"""A GRID.yaml: lists, ranges, and one clear line for each mistake."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dfbench.errors import UsageError
from dfbench.runs.sweep.grid import Grid, GridFaults, read_grid, values_of

SMALL: dict[str, Any] = {"detectors": "simple_cnn", "strategies": "naive"}


def written(folder: Path, **content: Any) -> Path:
    path = folder / "my grid.yaml"
    path.write_text(yaml.safe_dump({**SMALL, **content}))
    return path


def faults(folder: Path, **content: Any) -> list[str]:
    path = written(folder, **content)
    with pytest.raises(GridFaults) as raised:
        read_grid(path)
    assert all(fault.startswith(f"{path}: ") and "\n" not in fault for fault in raised.value.faults)
    return [fault.removeprefix(f"{path}: ") for fault in raised.value.faults]


def test_a_name_is_short_for_a_list_of_one_and_a_grid_is_called_like_its_file(tmp_path: Path) -> None:
    grid = read_grid(written(tmp_path, benchmarks="forge5", seeds=3))
    assert (grid.name, grid.detectors[0].name, grid.benchmarks, grid.seeds) == (
        "my-grid", "simple_cnn", ["forge5"], [0, 1, 2]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("value", "numbers"),
    [
        ({"from": 1, "to": 4}, [1, 2, 3, 4]),
        ({"from": 0.1, "to": 0.5, "step": 0.2}, [0.1, 0.3, 0.5]),
        ({"from": 0, "to": 1, "count": 5}, [0.0, 0.25, 0.5, 0.75, 1.0]),
        ({"from": "1e-4", "to": "1e-2", "count": 3, "scale": "log"}, [0.0001, 0.001, 0.01]),
        ({"from": 3, "to": 1, "step": -1}, [3, 2, 1]),
        (["1e-3", 2, True, None, "text"], [0.001, 2, True, None, "text"]),
        ("1e-3", [0.001]),
        ([[1, 2], [3]], [[1, 2], [3]]),
    ],
)
def test_values(value: Any, numbers: list[Any]) -> None:
    assert values_of(value) == numbers
    assert [type(found) for found in values_of(value)] == [type(number) for number in numbers]


@given(st.integers(-50, 50), st.integers(0, 60), st.integers(1, 7))
def test_a_range_of_whole_numbers_is_pythons_with_its_end(start: int, length: int, step: int) -> None:
    stop = start + length
    assert values_of({"from": start, "to": stop, "step": step}) == list(range(start, stop + 1, step))


@given(st.floats(1e-6, 1e3), st.floats(1.1, 1e4), st.integers(2, 20))
def test_a_logarithmic_range_has_its_ends_and_equal_ratios(start: float, factor: float, count: int) -> None:
    found = values_of({"from": start, "to": start * factor, "count": count, "scale": "log"})
    assert len(found) == count
    assert found[0] == pytest.approx(start)
    assert found[-1] == pytest.approx(start * factor)
    ratios = [b / a for a, b in itertools.pairwise(found)]
    assert ratios == pytest.approx([ratios[0]] * len(ratios))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"from": 1}, "to: missing"),
        (
            {"from": 1, "to": 2, "stop": 3},
            "unknown key 'stop': did you mean 'step' or 'to'? Known: count",
        ),
        ({"from": 1, "to": 2, "step": 1, "count": 2}, "give step or count, not both"),
        ({"from": 0, "to": 2, "count": 3, "scale": "log"}, "scale: log goes with count, and with ends above 0"),
        ({"from": 2, "to": 1}, "the step leads away from the end"),
        ({"from": 0, "to": 1, "step": 0}, "step"),
        ({"from": 0, "to": 1e9}, "more than 10000 numbers"),
        ([], "an empty list"),
    ],
)
def test_wrong_values(value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        values_of(value)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"strategy": "naive"}, "unknown key 'strategy': did you mean 'strategies'?"),
        ({"detectors": []}, "detectors: List should have at least 1 item"),
        (
            {"detectors": [{"name": "simple_cnn", "presets": "lite"}]},
            "detectors.0: unknown key 'presets': did you",
        ),
        ({"seeds": 0}, "at least one is needed"),
        ({"seeds": [-1]}, "seeds.0: Input should be greater than or equal to 0"),
        ({"split": "train"}, "split: Input should be 'test' or 'val'"),
        ({"eval_samples": 3}, "eval_samples goes with eval_every"),
        ({"tune": "measure"}, "tune: measure has another result on each machine"),
        ({"tune": "bf61"}, "unknown --tune setting 'bf61': did you mean 'bf16'?"),
        ({"options_from": "x.json", "set": {"epochs": 1}}, "the file decides all options; leave out set"),
        ({"include": {"detectors": "simple_cnn"}}, "include.0.strategies: missing"),
    ],
)
def test_a_mistake_is_one_line(content: dict[str, Any], said: str, tmp_path: Path) -> None:
    (found,) = faults(tmp_path, **content)
    assert said in found


def test_each_of_several_mistakes_has_its_line(tmp_path: Path) -> None:
    assert len(faults(tmp_path, split="train", seeds=["a"], eval_every=0)) == 3


@pytest.mark.parametrize("text", ["- a list", "a: {", "detectors: &a [*a]", ""])
def test_what_is_no_grid_is_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as raised:
        read_grid(path)
    assert str(raised.value).startswith(str(path))


def test_what_is_included_has_the_benchmarks_and_seeds_of_the_grid() -> None:
    more = {"detectors": "xception", "strategies": "gem", "seeds": [7]}
    grid = Grid.model_validate({"name": "g", **SMALL, "benchmarks": "forge5", "seeds": 2, "include": more})
    assert [(part.detectors[0].name, part.benchmarks, part.seeds) for part in grid.parts] == [
        ("simple_cnn", ["forge5"], [0, 1]), ("xception", ["forge5"], [7]),
    ]  # fmt: skip

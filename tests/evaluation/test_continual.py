"""Metrics of the R matrix: published figures, hand-computed cases, and what must hold for any matrix."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dfbench.errors import UsageError
from dfbench.evaluation import continual
from tests.cli.harness import run_cli

# DevFD (NeurIPS 2025), table 1: FF++ -> DFDC-P -> DFD -> CDF2, frame accuracy %; the printed average and AF.
DEVFD = {
    "LwF": ("95.52 | 87.83 81.57 | 76.16 41.78 96.36 | 67.34 67.43 84.05 87.90", 76.68, 18.21),
    "ER": ("95.52 | 92.25 88.53 | 84.69 80.59 94.00 | 71.65 69.40 92.98 83.26", 79.32, 14.67),
    "SI": ("95.51 | 90.88 88.38 | 45.46 27.02 96.67 | 36.67 42.04 44.83 78.88", 50.60, 52.34),
    "CoReD": ("95.50 | 92.94 87.61 | 86.84 81.07 95.22 | 74.08 76.59 93.41 80.78", 81.22, 11.42),
    "DFIL": ("95.67 | 93.15 88.87 | 90.30 85.42 94.67 | 86.28 79.53 92.36 83.81", 85.49, 7.01),
    "DMP": ("95.96 | 92.71 89.72 | 92.64 86.09 94.84 | 91.61 84.86 91.81 91.67", 89.99, 4.08),
    "DevFD": ("98.41 | 97.06 89.90 | 92.44 89.07 97.91 | 90.71 90.31 93.12 85.15", 89.82, 4.03),
}


@pytest.mark.parametrize("method", DEVFD)
def test_devfd_table_gives_the_printed_average_and_af(method: str) -> None:
    triangle, printed_average, printed_af = DEVFD[method]
    R = continual.parse_matrix([[float(x) for x in row.split()] for row in triangle.split("|")])
    assert continual.average(R) == pytest.approx(printed_average, abs=0.01)
    assert continual.af(R) == pytest.approx(printed_af, abs=0.01)


@pytest.mark.parametrize("method", DEVFD)
def test_the_score_command_gives_them_too(method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    triangle, printed_average, printed_af = DEVFD[method]
    file = tmp_path / "matrix.json"
    file.write_text(json.dumps([[float(x) for x in row.split()] for row in triangle.split("|")]))
    done = run_cli(capsys, "score", "--matrix", file, "--json")
    assert done.code == 0
    assert done.json["average"] == pytest.approx(printed_average, abs=0.01)
    assert done.json["af"] == pytest.approx(printed_af, abs=0.01)


FULL = np.array([[0.8, 0.4, 0.5], [0.9, 0.7, 0.6], [0.7, 0.6, 0.9]])
BASELINE = [0.5, 0.5, 0.4]


def test_every_metric_of_a_matrix_computed_by_hand() -> None:
    assert continual.summarize(FULL, BASELINE) == {
        "average": pytest.approx((0.7 + 0.6 + 0.9) / 3),
        "average_incremental": pytest.approx((0.8 + (0.9 + 0.7) / 2 + (0.7 + 0.6 + 0.9) / 3) / 3),
        "learning_accuracy": pytest.approx((0.8 + 0.7 + 0.9) / 3),
        "next": pytest.approx((0.4 + 0.6) / 2),
        "whole": pytest.approx((0.8 + 0.4 + 0.5 + 0.9 + 0.7 + 0.6 + 0.7 + 0.6 + 0.9) / 9),
        "bwt": pytest.approx(((0.7 - 0.8) + (0.6 - 0.7)) / 2),
        "fwt": pytest.approx(((0.4 - 0.5) + (0.6 - 0.4)) / 2),
        "forgetting": pytest.approx(((0.9 - 0.7) + (0.7 - 0.6)) / 2),
        "af": pytest.approx(((0.8 - 0.7) + (0.7 - 0.6)) / 2),
        "final": [0.7, 0.6, 0.9],
    }


def test_forgetting_is_from_the_best_model_not_from_the_first() -> None:
    R = continual.parse_matrix([[0.6], [0.9, 0.5], [0.7, 0.5, 0.8]])  # .6 -> .9 -> .7 forgets .2 of experience 0
    assert continual.forgetting(R) == pytest.approx((0.2 + 0.0) / 2)
    assert continual.af(R) == pytest.approx((-0.1 + 0.0) / 2)


def test_forgetting_does_not_count_what_was_known_before_learning() -> None:
    """As in Mammoth, PyCIL and PILOT; to the letter, the paper's equation would give (0 + .3) / 2 for the full one."""
    full = [[0.8, 0.9, None], [0.8, 0.7, None], [0.8, 0.6, 0.9]]
    lower = [row[: i + 1] for i, row in enumerate(full)]
    for rows in (full, lower):
        assert continual.forgetting(continual.parse_matrix(rows)) == pytest.approx((0 + 0.1) / 2)


def test_forgetting_does_not_count_the_last_model_among_the_earlier_ones() -> None:
    assert continual.forgetting([[0.5, 0.0], [0.9, 0.9]]) == pytest.approx(-0.4)


def test_one_experience_has_an_average_and_no_transfer() -> None:
    assert continual.summarize([[0.8]], [0.5]) == {
        "average": 0.8, "average_incremental": 0.8, "learning_accuracy": 0.8, "next": None, "whole": 0.8,
        "bwt": None, "fwt": None, "forgetting": None, "af": None, "final": [0.8],
    }  # fmt: skip


def test_a_joint_run_has_its_last_row_and_nothing_that_needs_another() -> None:
    R = continual.parse_matrix([[None] * 3, [None] * 3, [0.9, 0.8, 0.7]])
    summary = continual.summarize(R, BASELINE)
    assert summary.pop("average") == pytest.approx(0.8)
    assert summary.pop("final") == [0.9, 0.8, 0.7]
    assert set(summary.values()) == {None}


def test_forward_transfer_needs_the_upper_triangle_and_a_baseline() -> None:
    assert math.isnan(continual.fwt(FULL))
    assert math.isnan(continual.fwt(continual.parse_matrix([[0.5], [0.6, 0.7]]), [0.5, 0.5]))
    assert continual.fwt(FULL, [math.nan, 0.5, 0.4]) == pytest.approx(0.05)  # b_0 is not in the formula
    with pytest.raises(UsageError, match="one number for each of the 3 experiences"):
        continual.fwt(FULL, [0.5])


@pytest.mark.parametrize(
    ("hole", "undefined"),
    [
        ((2, 0), {"average", "average_incremental", "whole", "bwt", "af", "forgetting"}),
        ((1, 1), {"average_incremental", "learning_accuracy", "whole", "bwt", "af", "forgetting"}),
        ((1, 0), {"average_incremental", "whole", "forgetting"}),
        ((0, 1), {"fwt", "next", "whole"}),
        ((0, 2), {"whole"}),
    ],
)
def test_a_hole_undefines_exactly_the_metrics_that_use_it(hole: tuple[int, int], undefined: set[str]) -> None:
    R = FULL.copy()
    R[hole] = math.nan
    summary = continual.summarize(R, BASELINE)
    assert {name for name, value in summary.items() if value is None} == undefined


def test_intransigence_is_what_a_joint_model_reaches_beyond_the_diagonal() -> None:
    assert continual.intransigence(FULL, [0.9, 0.9, 0.8]) == pytest.approx([0.1, 0.2, -0.1])
    with pytest.raises(UsageError, match="bound needs one number"):
        continual.intransigence(FULL, [0.9])


def test_parse_reads_triangles_full_matrices_and_holes() -> None:
    lower = continual.parse_matrix([[1], [2, 3]])
    np.testing.assert_array_equal(lower, [[1, math.nan], [2, 3]])
    np.testing.assert_array_equal(continual.parse_matrix([[1, None], [2, 3]]), lower)
    np.testing.assert_array_equal(continual.parse_matrix(json.loads("[[1, NaN], [2, 3]]")), lower)
    assert continual.as_rows(lower) == [[1.0, None], [2.0, 3.0]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "non-empty list of rows"),
        ({"rows": [[1]]}, "non-empty list of rows"),
        ("abc", "non-empty list of rows"),
        ([1, 2], "row 0 .* is 1, not a list"),
        ([[1], None], "row 1 .* is None, not a list"),
        ([[]], "have 0 numbers"),
        ([[1, 2], [3]], "have 2, 1 numbers"),
        ([[1, 2, 3], [4, 5, 6]], "have 3, 3 numbers"),
        ([[1]] * 40, "1, …"),
        ([[1], [2, "3"]], "row 1, column 1 .* is '3', not a number"),
        ([[True]], "is True, not a number"),
        ([[1], [2, [3]]], "not a number"),
        ([[math.inf]], "infinite"),
        ([[-math.inf]], "infinite"),
        ([[10**400]], "too large"),
        ([[None]], "no number in it"),
    ],
)
def test_parse_refuses_what_is_no_matrix_in_one_line(rows: list, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        continual.parse_matrix(rows)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(0, 0), (2, 3), (4,)])
def test_the_metrics_refuse_an_array_that_is_not_square(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="square"):
        continual.average(np.zeros(shape))


SAMPLED = [
    [0.9, 0.5, None, None, None],
    [0.8, 0.8, 0.4, None, None],
    [0.6, 0.9, 0.7, 0.5, None],
    [0.7, None, 0.3, 0.8, 0.6],
    [0.5, 0.6, 0.6, 0.7, 0.9],
]


def test_what_a_sampled_matrix_says_computed_by_hand() -> None:
    R = continual.parse_matrix(SAMPLED)
    assert continual.forgetting_at_least(R) == pytest.approx((0.4 + 0.3 + 0.1 + 0.1) / 4)
    # rows: .9; (.8 + .8) / 2; (.6 + .7 + .9) / 3; (.7 + .8 + 2 · .3) / 4; (.5 + .9 + .6 + .6 + .7) / 5
    expected = (0.9 + 0.8 + 2.2 / 3 + 2.1 / 4 + 3.3 / 5) / 5
    assert continual.average_incremental_estimate(R) == pytest.approx(expected)
    found = continual.summarize(R)
    assert {name for name, value in found.items() if value is None} == {
        "forgetting", "average_incremental", "whole", "fwt",
    }  # fmt: skip
    assert found["next"] == pytest.approx((0.5 + 0.4 + 0.5 + 0.6) / 4)
    assert found["af"] == pytest.approx(-found["bwt"]) == pytest.approx((0.4 + 0.2 + 0.1 + 0.1) / 4)


@pytest.mark.parametrize("hole", [(3, 3), (4, 1)])
def test_a_sampled_matrix_needs_its_diagonal_and_its_last_row(hole: tuple[int, int]) -> None:
    R = continual.parse_matrix(SAMPLED)
    R[hole] = np.nan
    assert math.isnan(continual.forgetting_at_least(R))


def test_the_estimate_needs_the_first_column_and_one_in_between() -> None:
    for hole in ((3, 0), (3, 2)):
        R = continual.parse_matrix(SAMPLED)
        R[hole] = np.nan
        assert math.isnan(continual.average_incremental_estimate(R))


def square(min_size: int = 1) -> st.SearchStrategy[np.ndarray]:
    """Full matrices of percentages."""
    return st.integers(min_size, 6).flatmap(lambda t: hnp.arrays(float, (t, t), elements=st.floats(0, 100)))


@given(square(min_size=2))
def test_af_is_minus_bwt_and_forgetting_is_never_less(R: np.ndarray) -> None:
    assert continual.af(R) == -continual.bwt(R)
    assert continual.forgetting(R) >= continual.af(R) - 1e-9


@given(square(min_size=2))
def test_the_upper_triangle_changes_what_asks_for_the_future_alone(R: np.ndarray) -> None:
    lower = np.where(np.tri(len(R), dtype=bool), R, math.nan)
    future = {"next": None, "whole": None}
    assert continual.summarize(R) | future == continual.summarize(lower)


@given(square(min_size=2), st.floats(0, 100))
def test_a_constant_shift_moves_the_averages_and_no_difference(R: np.ndarray, shift: float) -> None:
    before, after = continual.summarize(R, R[0]), continual.summarize(R + shift, R[0] + shift)
    for name in ("average", "average_incremental", "learning_accuracy", "next", "whole"):
        assert after[name] == pytest.approx(before[name] + shift, abs=1e-9)
    for name in ("bwt", "fwt", "forgetting", "af"):
        assert after[name] == pytest.approx(before[name], abs=1e-9)


@given(square())
def test_percent_and_fraction_give_the_same_metrics_in_their_unit(R: np.ndarray) -> None:
    percent, fraction = continual.summarize(R, R[0]), continual.summarize(R / 100, R[0] / 100)
    for name in set(percent) - {"final"}:
        if percent[name] is None:
            assert fraction[name] is None
        else:
            assert fraction[name] == pytest.approx(percent[name] / 100, abs=1e-9)


@given(square())
def test_rows_written_as_json_read_back_as_the_same_matrix(R: np.ndarray) -> None:
    R[np.triu_indices_from(R, k=1)] = math.nan
    np.testing.assert_array_equal(continual.parse_matrix(json.loads(json.dumps(continual.as_rows(R)))), R)


def test_scoring_a_matrix_imports_numpy_and_nothing_heavier() -> None:
    code = "import dfbench.evaluation.continual, sys; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "numpy" in modules
    assert not {"torch", "avalanche", "timm", "sklearn", "pyarrow", "scipy", "pandas"} & set(modules)

"""Average and AF of published tables, from their full triangles, with the metrics of every record.

DevFD (NeurIPS 2025), table 1: left accuracy, right AUC; a row per training, a column per experience so far.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from dfbench.benchmarks import packaged
from dfbench.evaluation.continual import af, average, parse_matrix
from dfbench.publish.board.reported import read_reported
from tests.evaluation.test_continual import DEVFD

REPORTED = Path(__file__).parents[2] / "leaderboard" / "reported"
LEFT = {method: triangle for method, (triangle, _, _) in DEVFD.items()}
RIGHT = {
    "iCaRL": "96.53 | 67.36 99.89 | 73.79 66.24 97.54 | 52.98 55.38 64.74 100.0",
    "DER": "97.00 | 59.03 99.73 | 68.15 19.68 97.94 | 56.79 59.83 65.36 100.0",
    "LwF": "96.65 | 93.55 79.88 | 89.07 79.29 86.05 | 84.54 64.29 84.17 92.63",
    "DFIL": "96.46 | 55.74 99.75 | 60.71 66.49 99.03 | 50.83 95.56 70.81 99.96",
    "HDP": "96.71 | 67.41 95.45 | 63.00 71.35 95.09 | 59.89 70.06 89.34 93.73",
    "SUR-LID": "96.85 | 82.91 92.42 | 90.50 96.26 97.94 | 87.90 96.79 93.56 99.07",
    "DevFD": "97.63 | 94.69 93.07 | 90.97 92.76 97.05 | 90.86 94.35 95.23 99.16",
}
ROUNDING = 0.0101
"""Figures are printed with two digits, and their averages are made of printed ones here."""


@pytest.mark.parametrize(
    ("file", "triangles"), [("devfd-2025-table1", LEFT), ("devfd-2025-table1-right", RIGHT)], ids=["left", "right"]
)
def test_the_printed_average_and_af_follow_from_the_printed_triangle(file: str, triangles: dict[str, str]) -> None:
    table = read_reported(REPORTED / f"{file}.yaml")
    assert [row.strategy for row in table.rows] == list(triangles)
    for row in table.rows:
        matrix = parse_matrix([[float(v) for v in line.split()] for line in triangles[row.strategy].split("|")])
        *last, printed_average, printed_af = map(float, row.values)
        assert matrix[-1].tolist() == last, row.strategy
        assert average(matrix) == pytest.approx(printed_average, abs=ROUNDING), row.strategy
        assert af(matrix) == pytest.approx(printed_af, abs=ROUNDING), row.strategy


def test_every_table_belongs_to_a_packaged_benchmark_or_a_reproduction_and_has_its_experiences() -> None:
    """A protocol's tables stand in the tab of the benchmark of the same name."""
    tables = [read_reported(path) for path in sorted(REPORTED.glob("*.yaml"))]
    known = {table.protocol for table in tables} & set(packaged())
    assert known == {"dfil", "sur-lid-p1", "sur-lid-p2", "video-6", "cddb-hard", "deepfakebench"}
    assert {table.protocol for table in tables} - known == {"cifar10-report-1", "cifar10-report-2"}


@pytest.mark.parametrize("file", ["msfd-video-6", "msfd-dfil"])
def test_msfd_s_printed_averages_follow_from_the_printed_figures(file: str) -> None:
    table = read_reported(REPORTED / f"{file}.yaml")
    for row in table.rows:
        *last, printed_average = map(float, row.values[:-1])
        assert sum(last) / len(last) == pytest.approx(printed_average, abs=ROUNDING), row.strategy

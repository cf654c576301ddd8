"""Every average, forgetting and margin of the published tables, from the figures that are printed next to it.

What follows is computed here by hand, apart from the checks with which the tables are read.
"""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from dfbench.benchmarks import packaged
from dfbench.benchmarks.schema import read_stream_file
from dfbench.publish.board.recomputation import number
from dfbench.publish.board.reported import Reported, ReportedRow, read_reported
from tests.evaluation.test_continual import DEVFD

REPORTED = Path(__file__).parents[2] / "leaderboard" / "reported"
TABLES = {path.stem: read_reported(path) for path in sorted(REPORTED.glob("*.yaml"))}
UNIT = {"%": 0.01, "": 0.001}
FOLLOW = {"average", "AA", "AF", "forgetting", "BWT", "margin"}
"""Headings of columns that are made of others."""
ALONE = {
    ("cp-prompt-2024", "AA"): "no figure of a single experience",
    ("cp-prompt-2024", "AF"): "no figure of a single experience",
    ("ctta4aid-aigcdetectionbenchmark", "forgetting"): "no figure of a single domain",
    ("ctta4aid-aigi-holmes", "forgetting"): "no figure of a single domain",
    ("ctta4aid-genimage", "forgetting"): "no figure of a single domain",
    ("ctta4aid-opensdid", "forgetting"): "no figure of a single domain",
    ("msfd-aigvdbench", "forgetting"): "the last training alone",
    ("msfd-backbones", "average"): "no figure of a single experience",
    ("msfd-backbones", "forgetting"): "no figure of a single experience",
    ("msfd-dfil", "AF"): "the last training alone",
    ("msfd-fakes-only", "forgetting"): "no figure of a single experience",
    ("msfd-video-6", "forgetting"): "the last training alone",
    ("s-prompts-2022-table1", "AA"): "no figure of a single experience",
    ("s-prompts-2022-table1", "AF"): "no figure of a single experience",
}
"""What cannot be recomputed: what the paper prints of it."""
OFF = {("sur-lid-2025-p1", "naive", "average"): "printed .726, recomputed .7275"}
"""What does not follow, all of it."""


def by_hand(table: Reported, row: ReportedRow) -> dict[str, tuple[float, float]]:
    """Column, or column and training → printed, recomputed."""
    figures = dict(zip(table.columns, map(number, row.values), strict=True))
    first = min(map(table.columns.index, table.computed))
    last = [figures[name] for name in table.columns[:first]]
    R = [[number(figure) for figure in line.split()] for line in row.matrix or ()]
    found = {}
    for name, formula in table.computed.items():
        if formula == "difference":
            found[name] = figures[name], last[0] - last[1]
        if formula == "average":
            found[name] = figures[name], statistics.fmean(last)
            for i, printed in enumerate(row.along.get(name, ()), 1):
                found[f"{name} after {i + 1}"] = number(printed), statistics.fmean(R[i])
        if formula == "af" and R:
            steps = row.along.get(name, [row.values[table.columns.index(name)]])
            for printed, i in zip(reversed(steps), range(len(R) - 1, 0, -1), strict=False):
                lost = [R[j][j] - R[i][j] for j in range(i)]
                found[name if i == len(R) - 1 else f"{name} after {i + 1}"] = number(printed), statistics.fmean(lost)
    return found


def test_there_are_as_many_rows_as_were_promised() -> None:
    assert sum(len(table.rows) for table in TABLES.values()) >= 190


def test_what_is_not_recomputed_cannot_be() -> None:
    left = {
        (stem, column) for stem, t in TABLES.items() for column in FOLLOW & set(t.columns) if column not in t.checked
    }
    assert left == set(ALONE)


@pytest.mark.parametrize("stem", [stem for stem, table in TABLES.items() if table.computed])
def test_the_printed_averages_and_forgettings_follow_from_the_printed_figures(stem: str) -> None:
    table = TABLES[stem]
    unit = UNIT["%" if "%" in table.metric else ""]
    off = {}
    for row in table.rows:
        found = by_hand(table, row)
        assert set(table.computed) <= set(found)
        assert {each.where for each in table.recomputed(row)} - set(found) == set()
        for name, (printed, recomputed) in found.items():
            if printed != pytest.approx(recomputed, abs=unit * 1.01):
                off[stem, row.method, name] = row.differs[name]
    assert off == {where: words for where, words in OFF.items() if where[0] == stem}


def test_flags_are_on_what_differs_and_on_nothing_else() -> None:
    flagged = {
        (s, row.method, name): words for s, t in TABLES.items() for row in t.rows for name, words in row.differs.items()
    }
    assert flagged == OFF


def test_a_figure_that_is_printed_twice_is_the_same() -> None:
    video = {row.method: row.values[-2:] for row in TABLES["msfd-video-6"].rows}
    again = {row.method: row.values for row in TABLES["msfd-backbones"].rows if row.detector == "R3D-18"}
    assert again == {"iCaRL": video["iCaRL-FC"], "MSFD": video["MSFD"]}
    best = {"weights": "fine-tuned", "input": "resized"}
    cells = {row.detector: row.values[0] for row in TABLES["ai-genbench-next"].rows if row.settings == best}
    for row in TABLES["ai-genbench-official"].rows:  # of the README; the cells are second hand
        assert row.values[1] == f"{number(cells[row.detector]):.1f}"


def test_a_table_of_a_packaged_benchmark_has_its_experiences() -> None:
    """A protocol's tables stand in the tab of the benchmark of the same name."""
    known = {table.protocol for table in TABLES.values()} & set(packaged())
    assert known == {"dfil", "sur-lid-p1", "sur-lid-p2", "video-6", "cddb-hard", "deepfakebench"}
    for table in TABLES.values():
        if table.protocol in known and "average" in table.computed:
            _, experiences = read_stream_file(packaged()[table.protocol])
            assert table.columns.index("average") == len(experiences), table.title
    others = {table.protocol for table in TABLES.values()} - known
    assert others == {
        "ai-genbench", "aigvdbench-4", "cifar10-report-1", "cifar10-report-2", "clip-adaptation",
        "ctta4aid-aigcdetectionbenchmark", "ctta4aid-aigi-holmes", "ctta4aid-genimage", "ctta4aid-opensdid",
        "deepsafe-bench-images", "deepsafe-bench-videos", "forensichub-fidl", "msfd-fakes-only", "msfd-robustness",
        "msfd-unseen", "ntire-2026", "vidaudit",
    }  # fmt: skip


def test_devfd_s_triangles_are_those_that_the_metrics_are_tested_with() -> None:
    written = {row.method: " | ".join(row.matrix or ()) for row in TABLES["devfd-2025-table1"].rows}
    assert written == {method: triangle for method, (triangle, _, _) in DEVFD.items()}

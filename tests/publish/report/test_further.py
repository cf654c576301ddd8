"""Unseen sets and degraded copies in reports: read back from the SVG and the page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dfbench.benchmarks.parts import Perturb
from dfbench.publish.plotting import matrix_figure
from dfbench.publish.report import comparison, figures, further
from dfbench.publish.report.runs import Run, gather, load_runs
from dfbench.publish.report.write import write_report
from tests.publish.board_runs import NAMES, make_run
from tests.publish.report.test_figures import points, same_shape, svg
from tests.publish.report.test_report import Page
from tests.publish.test_plotting import texts

UNSEEN = ("token", "$new$ <set>")


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two seeds with further tests, and a method without."""
    folder = tmp_path_factory.mktemp("runs")
    perturb = Perturb(kinds=["noise", "h264"], levels=[1, 3, 5])
    return [
        *(make_run(folder, "replay", seed, decay=0.9, unseen=UNSEEN, perturb=perturb) for seed in (0, 1)),
        make_run(folder, "naive", decay=0.5),
    ]


@pytest.fixture(scope="module")
def run(paths: list[Path]) -> Run:
    return Run.open(paths[0])


def test_the_matrix_has_a_column_per_unseen_set_after_a_gap(run: Run, paths: list[Path], tmp_path: Path) -> None:
    assert run.record.generalisation is not None
    drawn = texts(svg(figures.matrix, run))
    assert [text for text in drawn if text in (*NAMES, *UNSEEN)][:5] == [*NAMES, *UNSEEN]
    values = [f"{value:.2f}" for line in run.record.generalisation.matrix["auc"] for value in line]
    for value in values:
        assert drawn.count(value) >= values.count(value)
    assert any("after the gap: never trained on" in text for text in drawn)
    plain = texts(svg(figures.matrix, Run.open(paths[2])))
    assert not set(UNSEEN) & set(plain)
    assert not any("gap" in text for text in plain)
    matrix_figure([run.record], tmp_path / "one.svg")
    assert UNSEEN[0] in texts((tmp_path / "one.svg").read_bytes())
    matrix_figure([run.record, Run.open(paths[2]).record], tmp_path / "two.svg")  # one was not tested on them
    assert UNSEEN[0] not in texts((tmp_path / "two.svg").read_bytes())


def test_seeds_are_averaged_on_unseen_sets_too(paths: list[Path]) -> None:
    methods = gather(load_runs(paths[:2]))
    (method,) = methods
    both = [r.record.generalisation.matrix["auc"] for r in method.runs if r.record.generalisation]
    assert method.unseen == pytest.approx(np.mean(both, axis=0))
    drawn = texts(svg(comparison.matrices, methods))
    assert set(UNSEEN) <= set(drawn)
    mixed = gather(load_runs(paths))
    assert not set(UNSEEN) & set(texts(svg(comparison.matrices, mixed)))


def test_a_curve_per_kind_falls_from_the_undegraded_value_over_the_levels(run: Run, paths: list[Path]) -> None:
    found = run.record.robustness
    assert found is not None
    content = svg(further.robustness, run)
    heights, values = [], []
    for j, row in enumerate(found.by_kind["auc"].values()):
        curve = points(content, f"kind-{j}")
        assert len(curve) == 4
        heights += list(curve[:, 1])
        values += [found.clean["auc"], *row.values()]
    assert same_shape(np.array(heights), np.array(values, dtype=float))
    drawn = texts(content)
    assert {"undegraded", "1", "3", "5"} <= set(drawn)
    assert any(text.startswith("h264 0.") for text in drawn)
    assert further.robustness(Run.open(paths[2])) is None


def test_the_page_has_both_in_figures_and_tables(paths: list[Path], tmp_path: Path) -> None:
    report = write_report(paths[:1], tmp_path)
    assert {path.name for path in report.figures["robustness"].values()} == {"robustness.svg", "robustness.png"}
    page = Page(report.page.read_text(encoding="utf-8"))
    record = Run.open(paths[0]).record
    assert record.robustness is not None
    assert record.generalisation is not None
    table = page.table("after training on ↓, tested on →")
    assert table[0][-2:] == [f"{name} (unseen)" for name in UNSEEN]
    assert table[-1][-2:] == [f"{value:.3f}" for value in record.generalisation.matrix["auc"][-1]]
    table = page.table("kind")
    assert table[0] == ["kind", "undegraded", "1", "3", "5"]
    assert table[1] == [
        "noise",
        *(f"{v:.3f}" for v in (record.robustness.clean["auc"], *record.robustness.by_kind["auc"]["noise"].values())),
    ]
    together = write_report(paths[:2], tmp_path / "two")
    assert "token (unseen)" in together.page.read_text(encoding="utf-8")
    assert "robustness" not in write_report(paths[2:], tmp_path / "three").figures

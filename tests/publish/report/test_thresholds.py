"""Carried thresholds in a report: the curves are the record's rates, and a run without any has no such figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dfbench.publish.report.runs import Run
from dfbench.publish.report.thresholds import thresholds
from dfbench.publish.report.write import write_report
from tests.publish.board_runs import NAMES, make_run
from tests.publish.report.test_figures import points, same_shape, svg
from tests.publish.report.test_report import Page
from tests.publish.test_plotting import texts


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs"), held=150, videos=60)


def test_a_curve_per_threshold_has_the_rates_of_the_networks_after_it(path: Path) -> None:
    run = Run.open(path)
    found = run.record.operating
    assert found is not None
    assert found.drift is not None
    content = svg(thresholds, run)
    for name, rows in (("false", found.false_positive_rate), ("true", found.true_positive_rate)):
        for i, row in enumerate(rows):
            curve = points(content, f"{name}-{i}")
            rates = [value for value in row if value is not None]
            assert len(curve) == len(rates) == len(NAMES) - i
            if len(rates) > 2:
                assert same_shape(curve[:, 1], np.array(rates))
    assert any("False-positive rate" in text for text in texts(content))


def test_the_table_has_each_threshold_a_half_and_those_fixed_again(path: Path, tmp_path: Path) -> None:
    report = write_report([path], tmp_path)
    assert {each.name for each in report.figures["thresholds"].values()} == {"thresholds.svg", "thresholds.png"}
    found = Run.open(path).record.operating
    assert found is not None
    table = Page(report.page.read_text(encoding="utf-8")).table("threshold")
    names = [f"fixed after {name}, on {150 * (i + 1)} reals" for i, name in enumerate(NAMES)]
    again = [f"fixed again on {n} new reals" for n in (20, 100)]
    assert [row[0] for row in table[1:]] == [*names, *again, ".5"]
    assert table[1][1] == f"{found.false_positive_rate[0][0]:.3f}"
    assert table[1][3] == f"{found.false_positive_rate[0][-1]:.3f}"
    assert table[-1][3] == f"{found.at_half.false_positive_rate[-1]:.3f}"


def test_a_run_with_nothing_to_carry_has_no_such_figure(tmp_path: Path) -> None:
    assert thresholds(Run.open(make_run(tmp_path / "a"))) is None
    joint = Run.open(make_run(tmp_path / "b", whole=True, held=120))
    assert joint.record.operating is not None
    assert thresholds(joint) is None

"""The figures of a report show what the record says: read back from the SVG."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from dfbench.evaluation import detection
from dfbench.publish.plotting import rendered, style
from dfbench.publish.report import comparison, figures
from dfbench.publish.report.axes import spread_out
from dfbench.publish.report.comparison import AVERAGE, differences
from dfbench.publish.report.runs import Run, gather, load_runs
from tests.publish.report_runs import NAMES, make_run
from tests.publish.test_plotting import SVG, texts


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run.open(make_run(tmp_path_factory.mktemp("runs")))


def svg(draw: Callable[[Any], Any], what: Any) -> bytes:
    with style():
        return rendered(draw(what), "svg")


def points(content: bytes, gid: str) -> np.ndarray:
    """The vertices of a curve, float64 (n, 2), y upwards, in points."""
    (group,) = (g for g in ElementTree.fromstring(content).iter(f"{SVG}g") if g.get("id") == gid)
    path = next(iter(group.iter(f"{SVG}path")))
    if any(path in list(defs.iter()) for defs in group.iter(f"{SVG}defs")):  # markers alone
        found = [(float(u.get("x", 0)), float(u.get("y", 0))) for u in group.iter(f"{SVG}use")]
    else:
        found = [(float(x), float(y)) for x, y in re.findall(r"[ML] (\S+) (\S+)", path.get("d", ""))]
    return np.array(found) * [1, -1]


def same_shape(drawn: np.ndarray, values: np.ndarray) -> bool:
    """One scale and one offset take the values to where they are drawn."""
    scale, offset = np.polyfit(values, drawn, 1)
    return bool(scale > 0 and np.allclose(scale * values + offset, drawn, atol=0.02))


def test_forgetting_curves_are_the_columns_of_the_matrix(run: Run) -> None:
    content = svg(figures.forgetting, run)
    heights, values = [], []
    for j in range(2):  # the last one is a single point
        curve = points(content, f"curve-{j}")
        assert len(curve) == 3 - j
        heights += list(curve[:, 1])
        values += list(run.matrix[j:, j])
    for j in (1, 2):
        before = points(content, f"before-{j}")
        heights += list(before[:, 1])
        values += list(run.matrix[: j + 1, j])
    assert same_shape(np.array(heights), np.array(values))
    found = texts(content)
    for j, name in enumerate(NAMES):
        assert f"{name} {run.matrix[-1, j]:.2f}" in found
    assert any("tiny · naive · three test · seed 0" in text for text in found)


def test_the_area_under_a_drawn_roc_curve_is_its_auc(run: Run) -> None:
    content = svg(figures.roc, run)
    found = texts(content)
    for j, name in enumerate(NAMES):
        curve = points(content, f"roc-{j}")
        x, y = ((v - v.min()) / (v.max() - v.min()) for v in curve.T)
        auc = run.record.per_experience[j]["frame_auc"]
        assert float(np.trapezoid(y, x)) == pytest.approx(auc, abs=1e-3)
        assert f"{name}: AUC {auc:.3f}, n = 40" in found


def test_histograms_hold_the_shares_of_each_class(run: Run) -> None:
    content = svg(figures.histograms, run)
    heights, shares = [], []
    for j in range(3):
        group = run.scores.get(2, j)
        assert group is not None
        for k in range(2):
            curve = points(content, f"hist-{j}-{k}")
            values = np.histogram(group.scores[group.labels == k], figures.BINS)[0] / (group.labels == k).sum()
            steps = np.unique(curve[:, 1].round(2))
            assert len(steps) == len({0.0, *values.round(6)}) or len(steps) == len({*values.round(6)})
            heights.append(curve[:, 1].max() - curve[:, 1].min())
            shares.append(values.max() - min(values.min(), 0.0))
    # All panels of a row share one scale.
    assert same_shape(np.array(heights), np.array(shares))
    found = texts(content)
    assert {"real", "fake", "threshold 0.5", "threshold at EER", *NAMES} <= set(found)


def test_before_and_after_show_the_experience_that_was_forgotten_most(run: Run) -> None:
    content = svg(figures.forgotten, run)
    found = texts(content)
    lost = {j: run.matrix[j:-1, j].max() - run.matrix[-1, j] for j in range(2)}
    worst = max(lost, key=lambda j: lost[j])
    assert f"Scores on {NAMES[worst]}, forgotten most" in found
    assert f"after gan: AUC {run.matrix[-1, worst]:.3f}" in found
    assert any(t.endswith(f"AUC {run.matrix[worst:-1, worst].max():.3f}") for t in found)


def test_a_stability_gap_is_drawn_where_it_was_measured_and_nowhere_else(run: Run, tmp_path: Path) -> None:
    assert figures.stability_gap(run) is None
    values = [[0.5, 0.5, 0.5], [0.9, 0.5, 0.5], [0.55, 0.7, 0.5], [0.8, 0.9, 0.5], [0.7, 0.8, 0.95]]
    measures = [
        {"number": on + 1, "trained_on": on, "done": 5, "step": step, "metric": "auc", "values": row}
        for on, step, row in zip((0, 0, 1, 1, 2), (0, 9, 12, 19, 29), values, strict=True)
    ]
    measured = Run.open(make_run(tmp_path, mid_training=measures))
    content = svg(figures.stability_gap, measured)
    curve = points(content, "mid-training-0")
    assert same_shape(curve[:, 1], np.array(values)[:, 0])
    assert same_shape(curve[:, 0], np.array([0, 9, 12, 19, 29]))
    assert len(points(content, "mid-training-1")) == 3  # from its own training on
    assert "optimizer steps" in texts(content)


def test_a_joint_run_has_no_curves(tmp_path: Path) -> None:
    joint = Run.open(make_run(tmp_path, "joint", joint=True))
    assert figures.forgetting(joint) is None
    assert figures.forgotten(joint) is None
    assert figures.matrix(joint) is not None
    assert figures.roc(joint) is not None


def test_more_than_two_classes_have_a_matrix_and_curves_alone(tmp_path: Path) -> None:
    many = Run.open(make_run(tmp_path, classes=4))
    given = {name for name, draw in figures.FIGURES.items() if draw(many) is not None}
    assert given == {"matrix", "forgetting"}


def test_long_streams_are_drawn_too(tmp_path: Path) -> None:
    names = tuple(f"a rather long name {k}" for k in range(12))
    many = Run.open(make_run(tmp_path, names=names))
    for name, draw in figures.FIGURES.items():
        with style():
            figure = draw(many)
            assert (figure is None) == (name == "stability_gap")
            if figure is not None:
                assert rendered(figure, "svg").count(b"<text") > 12


# --- Several runs --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    folder = tmp_path_factory.mktemp("several")
    made = [make_run(folder, "naive", seed) for seed in (0, 1)] + [make_run(folder, "replay", 0)]
    return load_runs([*made, make_run(folder, "joint", joint=True)])


def test_seeds_are_averaged_with_their_spread(several: list[Run]) -> None:
    naive, replay, joint = gather(several)
    assert [(m.label, m.seeds) for m in (naive, replay, joint)] == [("naive", [0, 1]), ("replay", [0]), ("joint", [0])]
    values = [run.record.metrics["forgetting"] for run in several[:2]]
    assert naive.metric("forgetting") == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    assert replay.metric("forgetting")[1] is None
    assert joint.metric("forgetting") == (None, None)
    assert naive.spread is not None
    assert naive.spread[0, 0] == pytest.approx(np.std([run.matrix[0, 0] for run in several[:2]], ddof=1))


def test_methods_are_told_apart_by_what_differs(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, "replay"), make_run(tmp_path, "replay", memory=99)]
    assert [m.label for m in gather(load_runs(runs))] == ["replay · memory=12", "replay · memory=99"]


def test_overlaid_curves_are_the_means_over_seeds(several: list[Run]) -> None:
    methods = gather(several)
    content = svg(comparison.curves, methods)
    heights, values = [], []
    for number, method in enumerate(methods[:2]):
        seen = points(content, f"compare-0-{number}")
        heights += list(seen[:, 1])
        values += list(method.seen.mean(0))
    assert same_shape(np.array(heights), np.array(values))
    first = [r.matrix[0, 0] for r in several[:2]]
    assert values[0] == pytest.approx(np.mean(first))
    assert len(points(content, "compare-1-2")) == 2  # joint: one level line
    assert {"naive", "replay", "joint", "mean of those seen so far", *NAMES} <= set(texts(content))


def test_differences_are_final_values_minus_the_first_methods(several: list[Run]) -> None:
    methods = gather(several)
    to_replay, to_joint = differences(methods)
    assert [d.experience for d in to_replay] == [*NAMES, AVERAGE] == [d.experience for d in to_joint]
    for j, found in enumerate(to_replay[:3]):
        expected = several[2].matrix[-1, j] - np.mean([r.matrix[-1, j] for r in several[:2]])
        assert found.value == pytest.approx(expected)
        assert found.low < found.value < found.high
    assert to_replay[3].value == pytest.approx(np.mean([d.value for d in to_replay[:3]]))
    content = svg(comparison.difference_plot, methods)
    drawn = np.concatenate([points(content, f"difference-{k}")[:, 0] for k in range(2)])
    assert same_shape(drawn, np.array([d.value for row in (to_replay, to_joint) for d in row]))


def test_a_method_does_not_differ_from_itself(several: list[Run]) -> None:
    (naive,) = gather(several[:1])
    (rows,) = differences([naive, naive])
    assert {(d.value, d.low, d.high) for d in rows} == {(0.0, 0.0, 0.0)}


def test_the_final_auc_of_the_scores_is_the_matrix(run: Run) -> None:
    """What the helper of these tests writes is a run's own."""
    group = run.scores.get(2, 1)
    assert group is not None
    assert detection.auc(group.labels, group.scores) == run.matrix[2, 1]


def test_labels_are_moved_apart_and_stay_in_order() -> None:
    placed = spread_out([0.5, 0.5, 0.52, 0.97, 0.98, 1.0], 0.1)
    assert all(b - a > 0.0999 for a, b in itertools.pairwise(placed))
    assert spread_out([0.1, 0.5, 0.9], 0.1) == [0.1, 0.5, 0.9]


def test_forty_experiences_are_numbered_along_the_axis_and_named_at_the_curves(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    names = tuple(f"method_number_{j:02d}" for j in range(40))
    many = Run.open(make_run(tmp_path_factory.mktemp("many"), names=names))
    found = texts(svg(figures.forgetting, many))
    for number, name in enumerate(names, 1):
        assert any(text.startswith(f"{number} {name} ") for text in found), name
    assert {"1", "5", "37"} <= set(found)  # every fourth, so that ticks do not cover each other
    assert "2" not in found

"""Measures inside trainings, against figures worked out by hand and a plain reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dfbench.evaluation.stability import stability

CURVES = [  # trained on, step of that training, values: the first dips and recovers, twice
    (0, 0, (0.5, 0.5, 0.5)),
    (0, 4, (0.3, 0.5, 0.4)),
    (0, 6, (0.9, 0.6, 0.4)),
    (1, 0, (0.9, 0.6, 0.4)),
    (1, 4, (0.4, 0.7, 0.4)),
    (1, 6, (0.8, 0.8, 0.4)),
    (2, 0, (0.8, 0.8, 0.4)),
    (2, 4, (0.5, 0.2, 0.6)),
    (2, 6, (0.6, 0.9, 0.9)),
]


def points(curves: list[Any] = CURVES) -> list[dict[str, Any]]:
    return [{"metric": "auc", "trained_on": k, "done": done, "values": list(v)} for k, done, v in curves]


def test_by_hand() -> None:
    found = stability(points(), "auc", 3)
    assert found["min_acc"] == pytest.approx((0.4 + 0.2) / 2)
    assert found["wc_acc"] == pytest.approx(0.9 / 3 + 2 / 3 * 0.3)
    # Below the lower of start and end: (0, in 1) .8 − .4, (0, in 2) .6 − .5, (1, in 2) .8 − .2
    assert found["stability_gap"] == pytest.approx((0.4 + 0.1 + 0.6) / 3)
    assert found["wf_10"] == pytest.approx((0.5 + 0.6 + 0.0 - 0.2) / 3)  # the third only ever rose, by .2 at least
    assert found["wp_10"] == pytest.approx((0.6 + 0.7 + 0.5) / 3)


def test_windows_equal_a_plain_reference() -> None:
    rng = np.random.default_rng(0)
    curves = [(k, done, tuple(rng.random(3))) for k in range(3) for done in range(1, 12)]
    found = stability(points(curves), "auc", 3)
    for width in (10, 100):
        falls = []
        for i in range(3):
            curve = [v[i] for k, _, v in curves if k >= i]
            pairs = [(m, n) for n in range(len(curve)) for m in range(n) if n - m < width]
            falls.append(max(curve[m] - curve[n] for m, n in pairs))
        assert found[f"wf_{width}"] == pytest.approx(np.mean(falls))


def test_nothing_is_made_up() -> None:
    assert set(stability([], "auc", 3).values()) == {None}
    one = stability(points([(0, 0, (0.5,)), (0, 4, (0.8,))]), "auc", 1)
    assert (one["min_acc"], one["wc_acc"], one["stability_gap"]) == (None, pytest.approx(0.8), None)
    hole = points()
    hole[4]["values"][0] = None
    found = stability(hole, "auc", 3)
    assert found["min_acc"] is found["wc_acc"] is found["stability_gap"] is found["wf_10"] is None

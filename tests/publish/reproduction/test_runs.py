"""How long all runs of a recipe will take."""

from __future__ import annotations

import pytest

from dfbench.publish.reproduction.runs import Job, Plan
from dfbench.runs.runner import Request


def plan(kinds: str, seconds: dict[int, float]) -> Plan:
    return Plan([Job(kind, (kind,), Request("d", kind, seed=n), 1) for n, kind in enumerate(kinds)], seconds)


def test_nothing_is_known_before_the_first() -> None:
    assert plan("abab", {}).left(0, 0.0, 0.0) is None


def test_the_first_run_speaks_for_all() -> None:
    assert plan("abab", {}).left(0, 10.0, 0.5) == pytest.approx(10 + 3 * 20)


def test_others_speak_for_a_new_kind_until_it_shows_itself() -> None:
    assert plan("abab", {0: 10.0}).left(1, 0.0, 0.0) == pytest.approx(10 + 10 + 10)
    assert plan("abab", {0: 10.0}).left(1, 30.0, 0.5) == pytest.approx(30 + 10 + 10)


def test_the_same_with_another_seed_says_it_best() -> None:
    known = plan("abab", {0: 10.0, 1: 50.0})
    assert known.left(2, 4.0, 0.9) == pytest.approx(6 + 50)
    assert known.left(3, 60.0, 0.9) == pytest.approx(10)  # 2 was left out: it is still to come

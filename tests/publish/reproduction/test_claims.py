"""Where tables differ, on figures made by hand: ties, missing rows, one seed, and both outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from dfbench.publish.reproduction.claims import Finding, cell, difference, findings, signed
from dfbench.publish.reproduction.recipe import Recipe
from dfbench.publish.reproduction.result import Result, fill
from dfbench.publish.reproduction.text import section

Values = dict[str, dict[int, Sequence[float]]]
"""Row → seed → percent in each column."""


def result(values: Values, claims: list[dict[str, Any]], reported: dict[str, list[float | None]]) -> Result:
    """A table "1" of two columns with these figures."""
    rows = [{"name": n, "benchmark": "b", "strategy": n, "reported": r} for n, r in reported.items()]
    tables = [{"key": "1", "title": "t", "columns": ["1", "2"], "rows": rows}]
    recipe = Recipe.model_validate(
        {
            "name": "r",
            "title": "T",
            "paper": "P",
            "called": "the paper",
            "detector": "d",
            "tables": tables,
            "claims": claims,
        }
    )
    records = {
        ("1", name): {
            seed: {"run": f"{name}-{seed}", "matrix": {"accuracy": [[v / 100, v / 100] for v in figures]}}
            for seed, figures in seeds.items()
        }
        for name, seeds in values.items()
    }
    return fill(recipe, records)


REPORTED: dict[str, list[float | None]] = {"a": [50, 60], "b": [48, 55], "c": [47, 52]}
ORDER = [{"kind": "order", "table": "1", "rows": ["a", "b", "c"], "column": "2"}]
LEVEL = [{"kind": "level", "table": "1", "within": 5}]
GAP = [{"kind": "gap", "table": "1", "rows": ["a", "b"], "column": "2", "within": 2}]


def only(found: list[Finding]) -> Finding:
    (finding,) = found
    return finding


def test_an_order_that_every_seed_shows_holds() -> None:
    values = {"a": {s: [50, 60 + s / 10] for s in range(3)}, "b": {s: [50, 55] for s in range(3)}}
    values["c"] = {s: [50, 50 - s / 10] for s in range(3)}
    finding = only(findings(result(values, ORDER, REPORTED)))
    assert finding.verdict == "holds"
    assert "a > b: holds, +5.1 ± 0.1 (95 % interval +4.9 to +5.3, 3 seeds), the paper +5.0" in finding.detail
    assert finding.detail.endswith("It came out as a 60.1 ± 0.1, b 55.0 ± 0.0, c 49.9 ± 0.1.")
    assert finding.claim == "Table 1, column 2: a > b > c"


def test_an_order_that_is_the_other_way_round_does_not_hold() -> None:
    values = {name: {s: [50, level + s / 10] for s in range(3)} for name, level in (("a", 50), ("b", 55), ("c", 40))}
    finding = only(findings(result(values, ORDER, REPORTED)))
    assert finding.verdict == "does not hold"
    assert "a > b: does not hold, −5.0 ± 0.0" in finding.detail
    assert "b > c: holds" in finding.detail
    assert "It came out as b 55.1 ± 0.1, a 50.1 ± 0.1" in finding.detail


def test_what_the_seeds_do_not_show_is_undecided() -> None:
    values: Values = {"a": {0: [50, 60], 1: [50, 55], 2: [50, 56]}, "b": {0: [50, 55], 1: [50, 56], 2: [50, 55]}}
    values["c"] = {s: [50, 30 + s / 10] for s in range(3)}
    finding = only(findings(result(values, ORDER, REPORTED)))
    assert finding.verdict == "undecided"
    assert "a > b: undecided, +1.7 ± 3.1 (95 % interval −5.9 to +9.3, 3 seeds)" in finding.detail


def test_a_tie_is_not_above() -> None:
    values: Values = {name: {s: [50, 50 + s] for s in range(3)} for name in "ab"}
    finding = only(findings(result(values, [{**ORDER[0], "rows": ["a", "b"]}], REPORTED)))
    assert finding.verdict == "does not hold"
    assert finding.detail.startswith("0.0 ± 0.0 (95 % interval 0.0 to 0.0, 3 seeds)")
    assert "−0.0" not in finding.sentence


def test_one_seed_decides_nothing() -> None:
    values: Values = {"a": {0: [50, 60]}, "b": {0: [50, 50]}, "c": {0: [50, 40]}}
    finding = only(findings(result(values, ORDER, REPORTED)))
    assert finding.verdict == "undecided"
    assert "+10.0 (one seed)" in finding.detail


def test_what_is_not_run_is_missing() -> None:
    values: Values = {"a": {s: [50, 60 + s] for s in range(3)}, "b": {s: [50, 50 + s] for s in range(3)}}
    finding = only(findings(result(values, ORDER, REPORTED)))
    assert finding.verdict == "missing"
    assert "b > c: No run of c" in finding.detail
    finding = only(findings(result({"a": {0: [1, 2]}, "b": {1: [1, 2]}}, GAP, REPORTED)))
    assert (finding.verdict, finding.detail) == ("missing", "No seed of both a and b.")
    everything = findings(result({}, ORDER + LEVEL + GAP, REPORTED))
    assert {f.verdict for f in everything} == {"missing"}


def test_a_pair_that_does_not_hold_outweighs_what_is_missing() -> None:
    values: Values = {"a": {s: [50, 40 + s] for s in range(3)}, "b": {s: [50, 50 + s] for s in range(3)}}
    assert only(findings(result(values, ORDER, REPORTED))).verdict == "does not hold"


def test_only_seeds_of_both_are_compared() -> None:
    lines = result({"a": {0: [1, 60], 1: [1, 62], 7: [1, 0]}, "b": {0: [1, 50], 1: [1, 50]}}, [], REPORTED).tables[0]
    found = difference(lines.line("a"), lines.line("b"), 1)
    assert found is not None
    assert (found.mean, found.count) == (pytest.approx(11), 2)
    assert found.low == pytest.approx(11 - 12.706 * 2**0.5 / 2**0.5, abs=1e-2)  # Student, one degree of freedom


def test_levels_are_told_for_each_row() -> None:
    values: Values = {"a": {0: [51, 64], 1: [53, 66]}, "b": {0: [48, 61], 1: [48, 61]}}
    a, b, c = findings(result(values, LEVEL, REPORTED))
    assert a.verdict == "holds"
    assert a.detail == "Ours minus the published is +3.5 ± 1.4 on average, +5.0 at most (column 2)."
    assert b.verdict == "does not hold"
    assert b.detail.endswith("+3.0 ± 0.0 on average, +6.0 at most (column 2); further away in 1 of 2 (2).")
    assert (c.verdict, c.detail) == ("missing", "No run of it.")


def test_a_published_gap_in_the_table_is_left_out() -> None:
    values: Values = {"a": {0: [90, 60]}}
    a, *_ = findings(result(values, LEVEL, {**REPORTED, "a": [None, 60]}))
    assert (a.verdict, a.detail) == ("holds", "Ours minus the published is 0.0 on average, 0.0 at most (column 2).")
    nothing, *_ = findings(result(values, LEVEL, {**REPORTED, "a": [None, None]}))
    assert nothing.verdict == "missing"


@pytest.mark.parametrize(
    ("lead", "verdict"), [(5, "holds"), (7, "holds"), (7.2, "does not hold"), (0, "does not hold")]
)
def test_the_size_of_a_lead(lead: float, verdict: str) -> None:
    values: Values = {"a": {s: [50 + lead, 50 + lead + s] for s in range(3)}, "b": {s: [50, 50 + s] for s in range(3)}}
    finding = only(findings(result(values, GAP, REPORTED)))
    assert finding.verdict == verdict
    assert "a leads b by +5.0 points as in the paper, give or take 2" in finding.claim
    assert finding.detail.endswith(f"{signed(lead)} on average over all columns.")


def test_published_figures_of_one_training_are_held_against_each_other() -> None:
    rows = [{"table": "1", "row": "a"}, {"table": "1", "row": "c"}]
    claim = {"kind": "repeat", "rows": rows, "within": 5}
    values: Values = {"a": {0: [50, 60], 1: [52, 60]}}
    finding = only(findings(result(values, [claim], REPORTED)))
    assert finding.verdict == "does not hold"
    assert finding.detail == (
        "Its figures lie up to 8.0 points apart (column 2); our seeds spread by 1.4 at most (standard deviation)."
    )
    assert only(findings(result({}, [{**claim, "column": "1"}], REPORTED))).verdict == "holds"
    assert only(findings(result({}, [claim], {**REPORTED, "c": [None, None]}))).verdict == "missing"


def test_cells_and_signs() -> None:
    filled = result({"a": {0: [45.24, 60], 1: [46, 60]}, "b": {0: [45.25, 1]}}, [], REPORTED).tables[0]
    assert cell(filled.line("a"), 0) == "45.6 ± 0.5"
    assert cell(filled.line("b"), 1) == "1.0"
    assert cell(filled.line("c"), 0) == "–"
    assert [signed(v) for v in (1.25, -0.31, -0.04, 0.0, None)] == ["+1.2", "−0.3", "0.0", "0.0", "–"]


def test_a_table_without_runs_shows_no_figure() -> None:
    written = section(result({}, ORDER, REPORTED), lambda key: f"{key}.svg")
    assert "| **a** (n = 0) | – | – |\n| *the paper* | 50 | 60 |" in written
    assert ".svg" not in written
    assert "- Table 1, column 2: a > b > c: **missing**." in written

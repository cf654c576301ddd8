"""Figures in words."""

from __future__ import annotations

from dfbench.records import text


def test_numbers_have_three_decimals_a_true_minus_and_a_dash_where_undefined() -> None:
    assert [text.number(v) for v in (0.12345, -0.5, -0.0001, None)] == ["0.123", "−0.500", "0.000", "–"]
    assert text.with_spread(0.5, 0.01) == "0.500 ± 0.010"
    assert text.with_spread(0.5, None) == "0.500"
    assert text.interval(0.1, 0.2) == "0.100 – 0.200"
    assert text.interval(None, 0.2) == text.NONE


def test_sizes_and_times_have_a_unit_that_suits_them() -> None:
    assert [text.size(v) for v in (200, 2500, 7.5e6, 1.25e12)] == ["200 bytes", "2.5 kB", "7.5 MB", "1.2 TB"]
    assert [text.seconds(v) for v in (59.6, 900, 9000)] == ["60 s", "15 min", "2.5 h"]
    assert text.count(12345.4) == "12\u202f345"


def test_compute_is_relative_where_plain_training_is_known() -> None:
    assert text.compute(2.54) == "2.5 ×"
    assert text.compute(None) == text.NONE

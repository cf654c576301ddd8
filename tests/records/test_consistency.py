"""Whether the parts of a record fit together."""

from __future__ import annotations

import pytest

from dfbench import DataError, Record
from tests.records.builder import make_record


def with_compute(forward: int, backward: int, passes: float) -> Record:
    value = make_record("naive", [[0.9]]).document()
    value["compute"] = {"forward": [forward], "backward": [backward], "passes": passes}
    return Record.parse(value, "here")


@pytest.mark.parametrize(("forward", "backward"), [(352, 224), (353, 224), (1, 0)])
def test_passes_are_recorded_to_one_decimal(forward: int, backward: int) -> None:
    record = with_compute(forward, backward, round((forward + 2 * backward) / 3, 1))
    assert record.compute is not None


def test_passes_that_are_not_those_of_the_rows_are_refused() -> None:
    with pytest.raises(DataError, match=r"here: compute\.passes: 266\.9 are not those of 352 rows forward"):
        with_compute(352, 224, 266.9)

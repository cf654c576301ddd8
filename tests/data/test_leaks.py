"""An identity or a video in two splits is an error that names it."""

from __future__ import annotations

import pytest

from dfbench.data.leaks import check_leaks
from dfbench.data.samples import Samples
from dfbench.errors import DataError


def table(*rows: tuple[str, str, str], start: int = 0) -> Samples:
    return Samples.from_rows(
        {"sample": str(start + i), "label": 0, "split": split, "identity": identity, "video": video}
        for i, (split, identity, video) in enumerate(rows)
    )


def test_clean_tables_pass_and_the_unknown_is_not_checked() -> None:
    check_leaks([table(("train", "ann", "v1"), ("train", "ann", "v2"), ("test", "bob", "v3"))], "x")
    check_leaks([table(("train", "", ""), ("test", "", ""))], "x")


def test_one_identity() -> None:
    with pytest.raises(DataError) as caught:
        check_leaks([table(("train", "ann", "v1"), ("test", "ann", "v2"))], "faces")
    assert str(caught.value) == (
        "faces: 1 identity occurs in more than one split: 'ann' (test and train); "
        "put all samples of one identity into one split, or run with --allow-leaks, which stays on the record"
    )


def test_many_videos_are_counted_and_the_first_named() -> None:
    rows = [(split, "", f"v{i}") for i in range(5) for split in ("train", "val")]
    with pytest.raises(DataError, match=r"5 videos occur .*'v0' \(train and val\), 'v1' .*, 'v2' .*, …; put"):
        check_leaks([table(*rows)], "faces")


def test_leaks_across_tables() -> None:
    tables = [table(("train", "ann", "")), table(("test", "ann", ""), start=5)]
    with pytest.raises(DataError, match="1 identity occurs"):
        check_leaks(tables, "faces")


def test_the_same_sample_in_two_splits() -> None:
    with pytest.raises(DataError, match="1 sample occurs in more than one split: '0'"):
        check_leaks([table(("train", "", "")), table(("val", "", ""))], "faces")

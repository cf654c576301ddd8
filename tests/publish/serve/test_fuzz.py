"""Mutated files on the decoders' wrapper: few of them here, ten thousand with ``-m slow``."""

from __future__ import annotations

import pytest

pytest.importorskip("fastapi")

from perf.fuzz import fuzz


def check(files: int) -> None:
    found = fuzz(files, seed=0)
    assert sum(found["outcomes"].values()) == files
    assert (found["hangs"], found["surprises"]) == (0, 0), found
    assert found["outcomes"]["seen"] > files / 20, "some mutations do no harm"
    assert found["outcomes"]["refused: damaged"] > files / 5, "most do"


def test_mutated_files_neither_hang_nor_surprise() -> None:
    check(60)


@pytest.mark.slow
def test_ten_thousand_mutated_files_neither_hang_nor_surprise() -> None:
    check(10_000)

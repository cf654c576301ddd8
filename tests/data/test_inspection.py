"""Pictures are looked at once, again when they change, and never trusted over their manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dfbench.data.inspection import inspect_samples
from dfbench.data.pictures import PictureError
from dfbench.data.samples import Samples
from dfbench.data.sources import Origin, open_source, read_pixels
from dfbench.data.sources.folder import FolderSource
from dfbench.errors import PluginError, StorageError

NAMES = [f"train/real/{i}.png" for i in range(5)]


@pytest.fixture
def origin(tmp_path: Path, write_tree: Callable[..., Path]) -> Origin:
    return open_source("folder", FolderSource, write_tree(tmp_path / "faces", *NAMES), {})


def looked_at(origin: Origin) -> int:
    """How many pictures an inspection looked at."""
    seen = []
    inspect_samples(origin, origin.source.samples(), progress=lambda done, total, what: seen.append(total))
    return max(seen, default=0)


def test_hashes_sizes_and_errors(origin: Origin) -> None:
    assert origin.root is not None
    (origin.root / NAMES[2]).write_text("no picture")
    seen = inspect_samples(origin, origin.source.samples())
    assert seen.error[2] == "train/real/2.png: not a picture"
    good = [0, 1, 3, 4]
    assert set(seen.error[good]) == {""}
    assert seen.height[good].tolist() == [12] * 4
    assert seen.width[good].tolist() == [10] * 4
    assert seen.sha256[0] == hashlib.sha256((origin.root / NAMES[0]).read_bytes()).hexdigest()


def test_only_new_and_changed_pictures_are_looked_at(origin: Origin, write_picture: Callable[..., Path]) -> None:
    assert origin.root is not None
    before = inspect_samples(origin, origin.source.samples())
    assert looked_at(origin) == 0
    write_picture(origin.root / NAMES[1], seed=99, size=(13, 10))
    write_picture(origin.root / "test/fake/new.png")
    assert looked_at(origin) == 2
    after = inspect_samples(origin, origin.source.samples())
    assert after.sha256[2] != before.sha256[1]  # the new picture sorts first
    assert looked_at(origin) == 0


def test_a_damaged_memory_is_forgotten(origin: Origin, cache: Path) -> None:
    assert looked_at(origin) == 5
    (file,) = cache.rglob("*.parquet")
    file.write_bytes(file.read_bytes()[:50])
    assert looked_at(origin) == 5
    assert looked_at(origin) == 0


def test_a_picture_must_have_the_hash_of_its_manifest(origin: Origin) -> None:
    samples = origin.source.samples()
    true = inspect_samples(origin, samples).sha256
    wrong = true.copy()
    wrong[3] = "0" * 64
    seen = inspect_samples(origin, samples.replace(sha256=wrong))
    assert seen.error[3] == "train/real/3.png: the content is not that of the manifest's sha256"
    assert set(seen.error[[0, 1, 2, 4]]) == {""}


class Minimal:
    """A foreign source: just the two methods of the contract."""

    needs_root = False

    def __init__(self, root: Path | None) -> None:
        self.reads = 0

    def samples(self) -> Samples:
        return Samples.from_rows({"sample": str(i), "label": 0, "split": "train"} for i in range(3))

    def read(self, sample: str) -> np.ndarray:
        self.reads += 1
        if sample == "1":
            raise PictureError("1: made to fail")
        return np.full((2, 3, 3), int(sample), np.uint8)


def test_a_minimal_source_is_hashed_by_its_pixels_and_always_read() -> None:
    origin = open_source("minimal", Minimal, None, {})
    for reads in (3, 6):
        seen = inspect_samples(origin, origin.source.samples())
        assert seen.error.tolist() == ["", "1: made to fail", ""]
        assert len(set(seen.sha256)) == 3
        assert seen.width.tolist() == [3, 0, 3]
        assert origin.source.reads == reads  # type: ignore[attr-defined]


@pytest.mark.parametrize("wrong", [np.zeros((2, 2, 3)), np.zeros((2, 2), np.uint8), [1, 2], None])
def test_what_a_foreign_source_gives_is_checked(wrong: object) -> None:
    class Wrong(Minimal):
        def read(self, sample: str) -> np.ndarray:
            return wrong  # type: ignore[return-value]

    with pytest.raises(PluginError, match=r"Wrong\.read returned .* for '0', not uint8 \(H, W, 3\)"):
        read_pixels(Wrong(None), "0")


def test_a_cache_that_cannot_be_written(origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DFBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(StorageError, match=r"cannot write .*file.*: .*set DFBENCH_CACHE to"):
        inspect_samples(origin, origin.source.samples())

"""The pixel store: a gather is a gather, and no half-built store is ever taken for a whole one."""

from __future__ import annotations

import json
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dfbench.data.inspection import inspect_samples
from dfbench.data.pictures import PictureError, read_picture, resize
from dfbench.data.samples import Samples
from dfbench.data.sources import Origin, open_source
from dfbench.data.sources.folder import FolderSource
from dfbench.data.store import PixelStack, PixelStore, build_store
from dfbench.errors import StorageError

COUNT = 11
SIZE = (8, 6)


def faces(root: Path) -> tuple[Origin, Samples]:
    origin = open_source("folder", FolderSource, root, {})
    samples = origin.source.samples()
    return origin, samples.replace(sha256=inspect_samples(origin, samples).sha256)


@pytest.fixture
def root(tmp_path: Path, write_tree: Callable[..., Path]) -> Path:
    return write_tree(tmp_path / "faces", *(f"train/real/{i:02d}.png" for i in range(COUNT)))


@pytest.fixture
def store(root: Path) -> PixelStore:
    return build_store(*faces(root), SIZE)


def expected(root: Path) -> np.ndarray:
    """What the store must hold, read picture by picture."""
    return np.stack([resize(read_picture(file), *SIZE) for file in sorted(root.rglob("*.png"))])


def builds(root: Path) -> int:
    """How many pictures a call had to decode."""
    done: list[int] = []
    build_store(*faces(root), SIZE, progress=lambda now, total, what: done.append(now))
    return max(done, default=0)


@given(
    st.one_of(
        st.lists(st.integers(0, COUNT - 1), max_size=20),
        st.lists(st.tuples(st.integers(0, COUNT - 1), st.integers(0, COUNT - 1)), min_size=1, max_size=9),
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
def test_a_gather_equals_reading_picture_by_picture(
    store: PixelStore, root: Path, rows: list[int | tuple[int, int]]
) -> None:
    index = np.array(rows, np.int64)
    pixels = expected(root)
    for given_rows in (index, torch.from_numpy(index)):
        assert np.array_equal(store.fetch(given_rows).numpy(), pixels[index])
    first, second = PixelStack([store, store]), PixelStack([store])
    assert np.array_equal(second.fetch(index).numpy(), pixels[index])
    assert np.array_equal(first.fetch(index * 2 % (2 * COUNT)).numpy(), np.tile(pixels, (2, 1, 1, 1))[index * 2])


def test_fetch_fills_the_tensor_it_is_given(store: PixelStore, root: Path) -> None:
    out = torch.empty((2, 2, *SIZE, 3), dtype=torch.uint8)
    rows = np.array([[1, 2], [3, 1]])
    assert store.fetch(rows, out=out) is out
    assert np.array_equal(out.numpy(), expected(root)[rows])
    with pytest.raises(ValueError, match=r"out must be contiguous uint8 \(1, 8, 6, 3\)"):
        store.fetch([0], out=out)


@pytest.mark.parametrize("row", [-1, COUNT])
def test_rows_that_are_not_there(store: PixelStore, row: int) -> None:
    with pytest.raises(IndexError, match=f"of a store of {COUNT}"):
        store.fetch([0, row])


def test_a_store_is_built_once_and_found_again(store: PixelStore, root: Path) -> None:
    assert store.shape == (COUNT, *SIZE, 3)
    assert len(store) == COUNT
    assert builds(root) == 0
    again = pickle.loads(pickle.dumps(store))
    assert torch.equal(again.fetch([4, 2]), store.fetch([4, 2]))


def test_other_content_or_order_or_size_is_another_store(
    store: PixelStore, root: Path, write_picture: Callable[..., Path]
) -> None:
    origin, samples = faces(root)
    keys = {store.key, build_store(origin, samples, (6, 8)).key}
    keys.add(build_store(origin, samples.take(range(COUNT - 1, -1, -1)), SIZE).key)
    write_picture(root / "train/real/03.png", seed=77)
    changed = build_store(*faces(root), SIZE)
    keys.add(changed.key)
    assert len(keys) == 4
    assert np.array_equal(changed.fetch(range(COUNT)).numpy(), expected(root))


def test_processes_build_the_same_bytes(store: PixelStore, root: Path, tmp_path: Path) -> None:
    many = tmp_path / "many"
    for number in range(130):  # more than one task
        target = many / f"train/real/{number:03d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((root / f"train/real/{number % COUNT:02d}.png").read_bytes())
    built = build_store(*faces(many), SIZE, workers=2)
    assert np.array_equal(built.fetch(range(130)).numpy(), expected(many))


def damage_pixels(folder: Path) -> None:
    (folder / "pixels.u8").write_bytes(b"\0" * 100)


def damage_meta(folder: Path) -> None:
    meta = json.loads((folder / "store.json").read_text())
    meta["shape"] = [meta["shape"][0], *meta["shape"][2:0:-1], 3]  # the same size in bytes
    (folder / "store.json").write_text(json.dumps(meta))


def cut_meta(folder: Path) -> None:
    (folder / "store.json").write_text("{")


def lose_pixels(folder: Path) -> None:
    (folder / "pixels.u8").unlink()


@pytest.mark.parametrize("damage", [damage_pixels, damage_meta, cut_meta, lose_pixels])
def test_damage_is_noticed_and_mended(store: PixelStore, root: Path, damage: Callable[[Path], None]) -> None:
    damage(store.path)
    with pytest.raises(StorageError, match=str(store.path)):
        PixelStore(store.path)
    assert builds(root) == COUNT
    assert np.array_equal(PixelStore(store.path).fetch(range(COUNT)).numpy(), expected(root))


def test_a_picture_that_breaks_after_it_was_checked(root: Path, cache: Path) -> None:
    origin, samples = faces(root)
    (root / "train/real/05.png").write_text("gone")
    with pytest.raises(PictureError, match=r"train/real/05\.png: not a picture"):
        build_store(origin, samples, SIZE)
    assert left_behind(cache) == []


BUILD = """
import os, resource, signal, sys
from pathlib import Path
from dfbench.data.inspection import inspect_samples
from dfbench.data.sources import open_source
from dfbench.data.sources.folder import FolderSource
from dfbench.data.store import build_store
from dfbench.errors import StorageError

origin = open_source("folder", FolderSource, Path(sys.argv[1]), {})
samples = origin.source.samples()
samples = samples.replace(sha256=inspect_samples(origin, samples).sha256)

def progress(done, total, what):
    if sys.argv[2] == "kill" and done:
        os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[2] == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
if sys.argv[2] == "wait":
    print("ready", flush=True)
    sys.stdin.readline()
try:
    store = build_store(origin, samples, (8, 6), progress=progress)
except StorageError as error:
    sys.exit(f"StorageError: {error}")
print(store.fetch(range(len(store))).sum().item())
"""


def left_behind(cache: Path) -> list[str]:
    """Everything in the folder of stores but the files of locks."""
    return sorted(entry.name for entry in (cache / "pixels").iterdir() if not entry.name.endswith(".lock"))


def test_a_killed_build_leaves_nothing_that_counts(root: Path, cache: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", BUILD, str(root), "kill"], check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    (unfinished,) = left_behind(cache)
    assert ".tmp-" in unfinished
    assert builds(root) == COUNT
    assert left_behind(cache) == [build_store(*faces(root), SIZE).key]


def test_two_processes_build_at_once(root: Path, cache: Path) -> None:
    command = [sys.executable, "-c", BUILD, str(root), "wait"]
    both = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    outputs = [process.communicate("go\n", timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert outputs == [f"{expected(root).sum()}\n"] * 2
    assert len(left_behind(cache)) == 1


def test_a_full_disk(root: Path, cache: Path) -> None:
    full = subprocess.run(
        [sys.executable, "-c", BUILD, str(root), "full"],
        check=False, timeout=120, capture_output=True, text=True,
    )  # fmt: skip
    assert full.returncode == 1
    assert "StorageError: cannot write " in full.stderr
    assert "set DFBENCH_CACHE" in full.stderr
    assert full.stderr.count("\n") == 1
    assert left_behind(cache) == []


def test_too_little_room_is_known_before_decoding(root: Path) -> None:
    origin, samples = faces(root)
    with pytest.raises(StorageError, match=r"11 pictures at 3000000×3000000 need .* GB and .* free; set DFB"):
        build_store(origin, samples, (3_000_000, 3_000_000))

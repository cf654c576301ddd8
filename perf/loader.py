"""Shuffled batches: dfbench's pixel store against a ``DataLoader`` that opens pictures with PIL.

Both serve the same uint8 batches (64, 224, 224, 3) of the same JPEG files, which the operating
system has in its page cache. The rival gets the faster of no and two worker processes, started and
warm. The store fills one buffer again and again (``out=``), which spares it the page faults of new
memory: about 3 of 4 ms a batch where the system gives memory back each time. The one-off cost of
building the store is printed first: it is not part of the ratio.

    python -m perf.loader [--pictures 2000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from dfbench.data.inspection import inspect_samples
from dfbench.data.pictures import resize
from dfbench.data.sources import open_source
from dfbench.data.sources.folder import FolderSource
from dfbench.data.store import PixelStore, build_store
from perf.results import add_json, load, report

SIZE = 224
BATCH = 64
EPOCHS = 10  # of the store in a round: one takes 40 ms, too short to time on a busy machine
GOAL = 5.0


class Pictures(Dataset[torch.Tensor]):
    """The usual way: one file opened and decoded a sample."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> torch.Tensor:
        with Image.open(self.files[row]) as image:
            return torch.from_numpy(resize(np.array(image.convert("RGB")), SIZE, SIZE))


def write_pictures(folder: Path, count: int) -> None:
    """Smooth random JPEGs, about as large as photographs of faces (10 to 20 kB)."""
    generator = np.random.default_rng(0)
    for number in range(count):
        target = folder / ("train", "test")[number % 2] / ("real", "fake")[number // 2 % 2] / f"{number:05d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(generator.integers(0, 256, (28, 28, 3), dtype=np.uint8))
        coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(target, quality=95)


def seconds(batches: Iterable[torch.Tensor], count: int) -> float:
    """Time until all batches are there; they must hold ``count`` pictures."""
    start = time.perf_counter()
    served = 0
    for batch in batches:
        served += len(batch)
        assert batch.shape[1:] == (SIZE, SIZE, 3)
        assert batch.dtype == torch.uint8
    assert served == count
    return time.perf_counter() - start


def from_store(store: PixelStore, epochs: int) -> Iterable[torch.Tensor]:
    """Shuffled batches of the store, each gathered into the same buffer."""
    buffer = torch.empty(BATCH, SIZE, SIZE, 3, dtype=torch.uint8)
    for _ in range(epochs):
        for rows in torch.randperm(len(store)).split(BATCH):
            yield store.fetch(rows, out=buffer[: len(rows)])


def build(folder: Path) -> tuple[PixelStore, list[Path]]:
    """The store of a folder of pictures and the files in the same order; prints what they cost."""
    origin = open_source("folder", FolderSource, folder, {})
    samples = origin.source.samples()
    start = time.perf_counter()
    samples = samples.replace(sha256=inspect_samples(origin, samples).sha256)
    checked = time.perf_counter()
    store = build_store(origin, samples, (SIZE, SIZE))
    print(
        f"one-off: {len(samples)} pictures checked in {checked - start:.1f} s, "
        f"decoded into the store in {time.perf_counter() - checked:.1f} s"
    )
    return store, [folder / name for name in samples.sample]


def measure(folder: Path, count: int, rounds: int) -> dict[str, object]:
    """The result: rounds in which store and rivals take turns, and the median of their ratios."""
    write_pictures(folder, count)
    store, files = build(folder)
    pictures = Pictures(files)
    rivals = {
        workers: DataLoader(pictures, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
        for workers in (0, 2)
    }
    rows = torch.randperm(count)[:BATCH]
    if not torch.equal(store.fetch(rows), torch.stack([pictures[row] for row in rows.tolist()])):
        raise AssertionError("the store and PIL give different pixels")
    for batches in (from_store(store, 1), *rivals.values()):
        seconds(batches, count)  # warm: processes started, files in the page cache
    ratios = []
    for _ in range(rounds):
        ours = seconds(from_store(store, EPOCHS), EPOCHS * count) / EPOCHS
        theirs = {workers: seconds(batches, count) for workers, batches in rivals.items()}
        ratios.append(min(theirs.values()) / ours)
        rates = ", ".join(f"PIL with {w} workers {count / each:,.0f}/s" for w, each in theirs.items())
        print(f"store {count / ours:,.0f}/s, {rates}: {ratios[-1]:.1f}×")
    ratio = round(statistics.median(ratios), 2)
    return {
        "name": "loader",
        "ratios": {"vs_pil_dataloader": ratio},
        "goals": {"vs_pil_dataloader": GOAL},
        "ok": ratio >= GOAL,
    }


def main() -> None:
    """Measure, and print the result as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    add_json(parser)
    arguments, busy = parser.parse_args(), load()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DFBENCH_CACHE"] = str(Path(folder) / "cache")
        report(measure(Path(folder) / "pictures", arguments.pictures, arguments.rounds), arguments.json, busy)


if __name__ == "__main__":
    main()

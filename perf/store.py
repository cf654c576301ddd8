"""A prepared set of a million rows: from the command to the first batch, and shuffled batches against LMDB and files.

The set is made fast: its rows repeat a few thousand crops of the embedded portraits, in groups of a real and four
fakes of 32 frames each, as ``dfbench data prepare`` writes them. The first batch is that of ``dfbench eval -d
simple_cnn -s replay`` on five experiences, in a process of its own, timed from its start; the evaluation of the
untrained network, which ``eval`` does before it, is left out. Memory is the peak of that process (its own, without
pages of mapped files) beyond one that only imports torch and Avalanche. ``cpu`` is its processor time up to the batch.

Batches are random, of 64 crops of one set of ``--pictures`` rows, which the operating system has in its page cache:

* ``store``: dfbench's decoded pixels;
* ``encoded``: dfbench's crops, decoded when they are fetched, by two worker processes;
* ``lmdb``: JPEGs in LMDB as DeepfakeBench (Yan et al. 2023) reads them, ``cv2.imdecode`` in a ``DataLoader`` of two
  workers;
* ``files``: the same with a JPEG file per crop.

    OMP_NUM_THREADS=1 python -m perf.store [--rows 1000000] [--pictures 20000] [--rounds 5]    # needs lmdb
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import DataLoader, Dataset

from dfbench.data.augmentation import ENVIRONMENT as WORKERS_VARIABLE
from dfbench.data.encoded import BUDGET_VARIABLE
from dfbench.data.loader import UnitLoader
from dfbench.data.prepare import report as report_file
from dfbench.data.prepare import shards
from dfbench.data.prepare.crops import Square, encode
from dfbench.data.prepare.options import Options
from dfbench.data.prepare.plan import SHARD_ROWS
from dfbench.data.samples import SPLITS
from dfbench.data.sources import open_source
from dfbench.data.sources.prepared import PreparedSource
from dfbench.data.store import build_store
from dfbench.data.units import frames
from dfbench.files import CACHE_VARIABLE, write_json, write_whole
from dfbench.forge.pack import identities, portrait
from perf.results import add_json, load, report

SIDE = 128
BATCH = 64
FRAMES = 32
METHODS = ("real", "Deepfakes", "Face2Face", "FaceShifter", "FaceSwap")
UNIQUE = 1000
"""Different crops of each split."""
WORKERS = 2
GOALS = {"seconds": 20.0, "memory_gb": 2.0}
STREAM = """\
name: million
memory: 500
defaults: {{source: prepared, root: "{root}", frames: 32}}
experiences:
  - {{name: deepfakes, methods: [Deepfakes]}}
  - {{name: face2face, methods: [Face2Face]}}
  - {{name: faceshifter, methods: [FaceShifter]}}
  - {{name: faceswap, methods: [FaceSwap]}}
  - {{name: all, methods: [Deepfakes, Face2Face, FaceShifter, FaceSwap]}}
"""


def crops(seed: int) -> list[bytes]:
    """Different crops: parts of portraits in other brightness."""
    random = np.random.default_rng(seed)
    portraits = [portrait(identity).image for identity in identities()[:100]]
    made = []
    for number in range(UNIQUE):
        pixels = portraits[number % len(portraits)]
        room = min(pixels.shape[:2]) // 8
        x, y = random.integers(0, room, 2).tolist()
        brighter = np.clip(pixels * random.uniform(0.6, 1.2), 0, 255).astype(np.uint8)
        made.append(encode(brighter, Square(x, y, min(pixels.shape[:2]) - room), SIDE, 95))
    return made


def write_set(folder: Path, rows: int) -> None:
    """A finished prepared set of about so many rows: 72 % of its groups for training, 14 % each for the others."""
    groups = max(rows // (FRAMES * len(METHODS)), 7)
    files: dict[str, shards.FileFacts] = {}
    first = 0
    for split, share in zip(SPLITS, (0.72, 0.14, 0.14), strict=True):
        made = pa.array(crops(first), pa.binary())
        digests = pa.array([hashlib.sha256(crop.as_py()).hexdigest() for crop in made])
        last = first + max(round(groups * share), 1)
        per_shard = SHARD_ROWS // (FRAMES * len(METHODS))
        starts = range(first, last, per_shard)
        for number, start in enumerate(starts):
            name = f"{split}/data-{number:05d}-of-{len(starts):05d}.arrow"
            table = _rows(np.arange(start, min(start + per_shard, last)), split, made, digests)
            content = shards.shard_bytes([table])
            write_whole(folder / name, content)
            facts = {"bytes": len(content), "sha256": "0" * 64, "rows": len(table)}
            files[name] = shards.FileFacts(**facts)
        first = last
    written = report_file.as_csv([])
    write_whole(folder / "report.csv", written)
    about = shards.FileFacts(bytes=len(written), sha256=hashlib.sha256(written).hexdigest())
    options = Options(source="perf", frames=FRAMES, size=SIDE).model_dump(mode="json")
    digest = shards.set_digest(files, about)
    meta = shards.Meta(options=options, summary={"failed": 0}, files=files, report=about, digest=digest)
    write_json(folder / shards.META, meta.model_dump(mode="json"))


def _rows(groups: np.ndarray, split: str, made: pa.Array, digests: pa.Array) -> pa.Table:
    each = len(METHODS) * FRAMES
    group = np.repeat(groups, each)
    method = np.tile(np.repeat(np.arange(len(METHODS)), FRAMES), len(groups))
    frame = np.tile(np.arange(FRAMES, dtype=np.int32) * 9 + 4, len(groups) * len(METHODS))
    names = [f"{METHODS[m]}/{g:05d}" for g, m in zip(group.tolist(), method.tolist(), strict=True)]
    which = pa.array((np.arange(len(group)) + groups[0] * each) % len(made))
    zeros = np.zeros(len(group), np.int32)
    images = pa.StructArray.from_arrays(
        [made.take(which), pa.nulls(len(group), pa.string())], fields=list(shards.IMAGE)
    )
    columns = {
        "sample": [f"{name}/{n:06d}" for name, n in zip(names, frame.tolist(), strict=True)],
        "label": (method > 0).astype(np.int16),
        "source": ["perf"] * len(group),
        "method": np.array(METHODS, object)[method],
        "identity": [f"person{g:05d}" for g in group.tolist()],
        "video": names,
        "frame": frame,
        "pair": [f"real/{g:05d}/{n:06d}" for g, n in zip(group.tolist(), frame.tolist(), strict=True)],
        "split": [split] * len(group),
        "sha256": digests.take(which),
        "x": zeros, "y": zeros, "side": zeros + SIDE, "image": images,
    }  # fmt: skip
    return pa.table({name: pa.array(values) if not isinstance(values, pa.Array) else values
                     for name, values in columns.items()}, schema=shards.ROWS)  # fmt: skip


def first_batch(stream: Path, began: float) -> dict[str, float]:
    """What ``dfbench eval`` does up to its first training batch, in this process; seconds since ``began``."""
    from dfbench.data.loader import epoch_order
    from dfbench.plugins import registry
    from dfbench.runs.prepare import Request, prepare
    from dfbench.runs.session import Session

    times = {"imports": time.time() - began}
    prepared = prepare(Request("simple_cnn", "replay", str(stream), device="cpu"), registry())
    times["stream"] = time.time() - began
    session = Session(prepared)
    times["session"] = time.time() - began
    ids = torch.from_numpy(np.flatnonzero(session.loader._experience.numpy() == 0))
    batch = next(session.loader.stream(epoch_order(ids, BATCH, torch.Generator().manual_seed(0))))
    assert batch.pixels.shape == (BATCH, SIDE, SIDE, 3)
    times["batch"] = time.time() - began
    session.close()
    return times | {"cpu": time.process_time(), "rows": len(prepared.stream.samples)}


class PeakMemory:
    """The most memory of its own that this process had (GB): without pages of mapped files, which the system may take
    back whenever it needs room. Looked at 50 times per second."""

    def __init__(self) -> None:
        self.peak = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while True:
            status = Path("/proc/self/status").read_text()
            self.peak = max(self.peak, int(status.partition("RssAnon:")[2].split()[0]) * 1024 / 1e9)
            if self._done.wait(0.02):
                return

    def end(self) -> float:
        """The peak so far; nothing is looked at any more."""
        self._done.set()
        self._thread.join()
        return self.peak


def measured(*code: str) -> dict[str, float]:
    """What a process of this module's own printed as its last line."""
    command = [sys.executable, "-m", "perf.store", *code, "--began", str(time.time())]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def open_million(folder: Path, rows: int) -> dict[str, Any]:
    """Seconds and gigabytes from the command to the first batch."""
    if not (folder / "million" / shards.META).is_file():
        write_set(folder / "million", rows)
    stream = folder / "million.yaml"
    stream.write_text(STREAM.format(root=folder / "million"))
    plain = measured("--child", "imports")["peak_gb"]
    found = measured("--child", str(stream))
    seconds = {name: round(found[name], 2) for name in ("imports", "stream", "session", "batch", "cpu")}
    return {"rows": found["rows"], "seconds": seconds, "memory_gb": round(found["peak_gb"] - plain, 2)}


class InLmdb(Dataset[torch.Tensor]):
    """DeepfakeBench's way: JPEGs under their names in one LMDB."""

    def __init__(self, path: Path, names: list[str]) -> None:
        self.path, self.names = path, names
        self.environment: Any = None

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, row: int) -> torch.Tensor:
        import lmdb

        if self.environment is None:  # one for each process
            self.environment = lmdb.open(str(self.path), readonly=True, lock=False, readahead=False)
        with self.environment.begin(write=False) as transaction:
            return _decoded(transaction.get(self.names[row].encode()))


class InFiles(Dataset[torch.Tensor]):
    """A JPEG file per crop."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self.folder, self.names = folder, names

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, row: int) -> torch.Tensor:
        return _decoded((self.folder / f"{self.names[row]}.jpg").read_bytes())


def _decoded(content: bytes) -> torch.Tensor:
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    return torch.from_numpy(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))


def write_rivals(folder: Path, source: PreparedSource, names: list[str]) -> None:
    """The same crops in LMDB and as files."""
    import lmdb

    room = 2 * sum(len(chunk) for chunk in source._crops) * 2**15
    with lmdb.open(str(folder / "lmdb"), map_size=room) as environment, environment.begin(write=True) as transaction:
        for row, name in enumerate(names):
            crop = source.encoded(row)
            transaction.put(name.encode(), crop)
            path = folder / "files" / f"{name}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(crop)


def compare(folder: Path, pictures: int, rounds: int) -> dict[str, Any]:
    """Samples per second of each way, in turns, and the median of the ratios to the rivals."""
    write_set(folder / "small", pictures)
    origin = open_source("prepared", PreparedSource, folder / "small", {})
    samples = origin.source.samples()
    names = samples.sample.tolist()
    write_rivals(folder, origin.source, names)  # type: ignore[arg-type]
    units = frames(samples, np.arange(len(samples)))
    none, device = np.zeros(len(samples), np.int64), torch.device("cpu")
    os.environ[BUDGET_VARIABLE], os.environ[WORKERS_VARIABLE] = "50", str(WORKERS)
    store = UnitLoader(units, none, build_store(origin, samples, (SIDE, SIDE)), device)
    encoded = UnitLoader(units, none, origin.source.undecoded(samples, (SIDE, SIDE)), device)  # type: ignore[attr-defined]

    def ours(loader: UnitLoader) -> Callable[[], Iterator[torch.Tensor]]:
        return lambda: (batch.pixels for batch in loader.stream(torch.randperm(len(samples)).split(BATCH)))

    def theirs(dataset: Dataset[torch.Tensor]) -> Callable[[], Iterable[torch.Tensor]]:
        loader = DataLoader(dataset, BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True)
        return lambda: loader

    ways: dict[str, Callable[[], Iterable[torch.Tensor]]] = {
        "store": ours(store),
        "encoded": ours(encoded),
        "lmdb": theirs(InLmdb(folder / "lmdb", names)),
        "files": theirs(InFiles(folder / "files", names)),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):  # the first warms up: processes start, files come into the page cache
        for name, batches in ways.items():
            start = time.perf_counter()
            served = sum(len(batch) for batch in batches())
            assert served == len(samples)
            rates[name] += [served / (time.perf_counter() - start)] if number else []
        print({name: round(each[-1]) for name, each in rates.items() if each}, flush=True)
    encoded.close()
    ratios = {f"{own}_vs_{rival}": round(statistics.median(np.divide(rates[own], rates[rival]).tolist()), 2)
              for own in ("store", "encoded") for rival in ("lmdb", "files")}  # fmt: skip
    return {"samples_per_second": {name: round(statistics.median(each)) for name, each in rates.items()},
            "ratios": ratios}  # fmt: skip


def measure(kept: Path, folder: Path, rows: int, pictures: int, rounds: int) -> dict[str, Any]:
    """The whole result; the large set is made in the folder ``kept``, if it is not there."""
    opening = open_million(kept.resolve(), rows)
    print(opening, flush=True)
    result: dict[str, Any] = {"name": "store", "opening": opening, **compare(folder, pictures, rounds), "goals": GOALS}
    in_time = opening["seconds"]["batch"] <= GOALS["seconds"]
    result["ok"] = in_time and opening["memory_gb"] <= GOALS["memory_gb"]
    return result


def main() -> None:
    """Measure, and print the result as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the million rows are made (9 GB) and kept")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--began", type=float, help=argparse.SUPPRESS)
    add_json(parser)
    arguments, busy = parser.parse_args(), load()
    if arguments.child == "imports":
        import avalanche.training  # noqa: F401

        print(json.dumps({"peak_gb": PeakMemory().end()}))
    elif arguments.child:
        memory = PeakMemory()
        found = first_batch(Path(arguments.child), arguments.began)
        print(json.dumps(found | {"peak_gb": memory.end()}))
    else:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            folder = Path(name)
            os.environ[CACHE_VARIABLE], os.environ[BUDGET_VARIABLE] = str(folder / "cache"), "1"
            result = measure(arguments.folder or folder, folder, arguments.rows, arguments.pictures, arguments.rounds)
            report(result, arguments.json, busy)


if __name__ == "__main__":
    main()

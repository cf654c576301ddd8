"""Videos to face crops: ``dfbench data prepare`` against the plain way, on the same videos in one run.

The plain way reads every frame with OpenCV, searches each needed frame at full size with facenet-pytorch's MTCNN, one
by one, crops the largest face and saves a JPEG. Both work in one process with one thread, take turns group by group,
and have their networks loaded. Videos are reals with an aligned fake each, portraits of the embedded pack that move
over a smooth background; with ``--data-set NAME`` all those of that public data set in ``$DFBENCH_DATA/NAME``.

    OMP_NUM_THREADS=1 python -m perf.prepare [--data-set ffpp] [--frames 32]
    OMP_NUM_THREADS=1 python -m perf.prepare --memory
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch
from facenet_pytorch import MTCNN

from dfbench.data.prepare.crops import Square, encode, square
from dfbench.data.prepare.item import Item
from dfbench.data.prepare.jobs import DetectorChoice
from dfbench.data.prepare.opening import open_set
from dfbench.data.prepare.options import Options, spread
from dfbench.data.prepare.plan import Group, make_groups
from dfbench.data.prepare.run import prepare
from dfbench.data.prepare.shards import open_shard
from dfbench.data.prepare.tracks import iou
from dfbench.forge.pack import identities, portrait
from perf.results import add_json, load, report

GOAL = 3.0
SAME = 0.99
SURE = 0.95
FLAT = 1.1
"""Peak memory after 200 videos may be so many times that after 20."""
DETECTOR = DetectorChoice("dfbench.data.prepare.faces:Mtcnn", None, "cpu")
Found = dict[int, list[Square]]
"""Frame number → squares around its sure faces."""


def film(path: Path, number: int, amount: int, size: tuple[int, int], count: int) -> None:
    """A portrait that moves over a smooth random background; its middle is changed by ``amount``."""
    random = np.random.default_rng(number)
    coarse = random.integers(60, 200, (9, 16, 3), dtype=np.uint8)
    background = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    side = size[1] // 2
    face = cv2.resize(portrait(identities()[number]).image, (side, side))
    middle = slice(side // 3, 2 * side // 3)
    face[middle, middle] = np.clip(face[middle, middle].astype(int) - amount, 0, 255)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"crf": "23", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for i in range(count):
            frame = background.copy()
            x = int((size[0] - side) * (0.5 + 0.4 * np.sin(i / 40 + number)))
            y = int((size[1] - side) * (0.5 + 0.4 * np.cos(i / 55)))
            frame[y : y + side, x : x + side] = face
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode(None))


def films(folder: Path, pairs: int, size: tuple[int, int], count: int) -> list[Item]:
    """Reals with a fake each."""
    items = []
    for number in range(pairs):
        for label, name in enumerate((f"real{number}", f"fake{number}")):
            film(folder / f"{name}.mp4", number, 50 * label, size, count)
            partner = f"real{number}" if label else None
            items.append(Item(folder / f"{name}.mp4", name, label, "train", "film", None, partner, None))
    return items


def plainly(item: Item, network: MTCNN, frames: int, out: Path) -> Found:
    """The plain way; squares of all faces that it is sure of, the largest of which it crops."""
    video = cv2.VideoCapture(str(item.path))
    every = []
    while True:
        there, frame = video.read()
        if not there:
            break
        every.append(frame)
    found: Found = {}
    for (number,) in spread(len(every), frames, 0):
        pixels = cv2.cvtColor(every[number], cv2.COLOR_BGR2RGB)
        with torch.no_grad():
            boxes, scores = network.detect(pixels)
        if boxes is None:
            continue
        height, width = pixels.shape[:2]
        sure = [square(box, 1.3, width, height) for box, score in zip(boxes, scores, strict=True) if score >= SURE]
        found[number] = sure
        if sure:
            (out / f"{number}.jpg").write_bytes(encode(pixels, sure[0], 256, 95))
    return found


def ours(group: Group, frames: int, out: Path) -> dict[str, Found]:
    """``data prepare`` of one group, in this process."""
    done = prepare(group.items, out, Options(source="perf", frames=frames), DETECTOR, workers=0)
    meta = json.loads((done.folder / "prepared.json").read_text())
    found: dict[str, Found] = {item.video: {} for item in group.items}
    for name in meta["files"]:
        rows = open_shard(out / name).drop_columns(["image"]).to_pylist()
        for row in rows:
            found[row["video"]][row["frame"]] = [Square(row["x"], row["y"], row["side"])]
    return found


def same(plain: Found, own: Found) -> Iterator[bool]:
    """For each frame in which the plain way is sure of a face, whether ours is one of its faces (IoU > 0.8)."""
    for number, squares in plain.items():
        if squares:
            mine = own.get(number)
            yield bool(mine) and float(iou(_corners(mine[0]), np.stack([_corners(s) for s in squares])).max()) > 0.8


def _corners(where: Square) -> np.ndarray:
    return np.array([where.x, where.y, where.x + where.side, where.y + where.side], float)


def compare(items: Sequence[Item], frames: int, folder: Path) -> tuple[float, float, int, list[bool]]:
    """Seconds of the plain way and of ours, the number of crops of ours, and which faces are the same."""
    network = MTCNN(keep_all=True)
    DETECTOR.make()
    seconds, crops, agreed = [0.0, 0.0], 0, []
    for place, group in enumerate(make_groups(items)):
        plain: dict[str, Found] = {}
        start = time.perf_counter()
        for number, item in enumerate(group.items):
            out = folder / f"plain{place}-{number}"
            out.mkdir(parents=True)
            plain[item.video] = plainly(item, network, frames, out)
        middle = time.perf_counter()
        own = ours(group, frames, folder / f"ours{place}")
        seconds[1] += time.perf_counter() - middle
        seconds[0] += middle - start
        crops += sum(map(len, own.values()))
        agreed += [each for item in group.items for each in same(plain[item.video], own[item.video])]
    return seconds[0], seconds[1], crops, agreed


def memory(folder: Path) -> dict[str, Any]:
    """Most memory of its own (MB) that a worker process had up to the 20th and the 200th video, and this process.

    The videos are copies of one, which all have their own faces searched and crops written.
    """
    film(folder / "one.mp4", 0, 0, (640, 360), 50)
    items = [Item(folder / "one.mp4", f"v{i}", 0, "train", "film", None, None, None) for i in range(200)]
    result = {}
    peak = {"worker": 0.0, "main": 0.0}

    def look(done: int, total: int, what: str) -> None:
        workers = [process.pid for process in multiprocessing.active_children()]
        peak["worker"] = max([peak["worker"], *(_own_memory(pid) for pid in workers if pid is not None)])
        peak["main"] = max(peak["main"], _own_memory(os.getpid()))
        if done in (20, 200):
            result.update({f"{name}_{done}": value for name, value in peak.items()})

    prepare(items, folder / "set", Options(source="perf", frames=8), DETECTOR, workers=1, progress=look)
    ratios = {name: round(result[f"{name}_200"] / result[f"{name}_20"], 3) for name in ("worker", "main")}
    return {
        "name": "prepare_memory",
        "peak_mb": {name: round(value, 1) for name, value in result.items()},
        "ratios": ratios,
        "goals": dict.fromkeys(ratios, FLAT),
        "ok": max(ratios.values()) <= FLAT,
    }


def _own_memory(process: int) -> float:
    """Megabytes of a process that are not pages of mapped files."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) / 1024


def measure(items: Sequence[Item], frames: int, folder: Path) -> dict[str, Any]:
    """Ratios with pairs (which share their boxes) and with every video by itself."""
    torch.set_num_threads(1)
    alone = [dataclasses.replace(item, pair=None) for item in items]
    counts = {"videos": len(items), "frames": frames}
    result: dict[str, Any] = {"name": "prepare", **counts, "ratios": {}, "frames_per_second": {}, "same_faces": {}}
    for name, chosen in (("pairs", items), ("alone", alone)):
        plain, own, crops, agreed = compare(chosen, frames, folder / name)
        result["ratios"][name] = round(plain / own, 2)
        result["frames_per_second"][name] = [round(crops / plain, 2), round(crops / own, 2)]
        result["same_faces"][name] = round(sum(agreed) / max(len(agreed), 1), 4)
        print(name, {key: result[key][name] for key in ("ratios", "frames_per_second", "same_faces")}, flush=True)
    result["goals"] = {"pairs": GOAL, "same_faces": SAME}
    result["ok"] = result["ratios"]["pairs"] >= GOAL and min(result["same_faces"].values()) >= SAME
    return result


def main() -> None:
    """Measure, and print the result as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-set", metavar="NAME", help="a public data set below $DFBENCH_DATA")
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--memory", action="store_true", help="measure peak memory over 20 and 200 videos instead")
    add_json(parser)
    arguments, busy = parser.parse_args(), load()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.memory:
            report(memory(folder), arguments.json, busy)
            return
        if arguments.data_set is not None:
            items, _ = open_set(arguments.data_set, Path(os.environ["DFBENCH_DATA"]) / arguments.data_set, [])
        else:
            items = films(folder, arguments.pairs, (1280, 720), 300)
        report(measure(items, arguments.frames, folder), arguments.json, busy)


if __name__ == "__main__":
    main()

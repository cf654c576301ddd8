"""How far apart are the perceptual hashes of the same and of different videos? The limit of ``data audit`` rests on it.

The first frames of every video below ROOT are encoded with a CRF of 18, of 40, and at half the size. Printed are the
largest difference between the first and the other two over all videos and frames, and the smallest median difference
between two videos that do not have a real in common; and how long the hashes of the whole videos take.

    python -m perf.duplicates ROOT

ROOT is a tree of FaceForensics++.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from pathlib import Path

import av
import numpy as np

from dfbench.data.audit.leaks import NEAR
from dfbench.data.audit.media import Files, Unreadable
from dfbench.data.prepare.item import Item
from dfbench.data.prepare.sources import data_set

FRAMES = 120
COPIES = {"crf18": (18, 1), "crf40": (40, 1), "half": (30, 2)}


def encode_again(path: Path, out: Path, crf: int, divide: int) -> None:
    """Encode the first frames of a video, at a fraction of its size."""
    with av.open(str(path)) as source, av.open(str(out), "w") as target:
        stream = source.streams.video[0]
        rate = stream.average_rate or 25
        made = target.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": "veryfast"})
        made.width, made.height = stream.width // divide // 2 * 2, stream.height // divide // 2 * 2
        made.pix_fmt, made.time_base = "yuv420p", 1 / rate
        for number, frame in enumerate(itertools.islice(source.decode(stream), FRAMES)):
            picture = frame.reformat(made.width, made.height)
            picture.pts, picture.time_base = number, 1 / rate
            target.mux(made.encode(picture))
        target.mux(made.encode())


def hashes(path: Path) -> np.ndarray:
    """As the audit makes them: bool (3, 256)."""
    return Files().hashes(Item(path, path.stem, 0, "train", "real", None, None, None))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    items = data_set("ffpp").items(parser.parse_args().root)
    started = time.process_time()
    for item in items:
        try:
            Files().hashes(item)
        except Unreadable as error:
            print(f"{item.video}: {error}")
    seconds = time.process_time() - started
    originals, same = {}, []
    with tempfile.TemporaryDirectory() as folder:
        for number, item in enumerate(items):
            made = {}
            for name, (crf, divide) in COPIES.items():
                out = Path(folder) / f"{number}-{name}.mp4"
                encode_again(item.path, out, crf, divide)
                made[name] = hashes(out)
            originals[item.video] = made["crf18"]
            same += [int((made["crf18"] != made[name]).sum(axis=1).max()) for name in ("crf40", "half")]
    different = [
        int(np.median((originals[a.video] != originals[b.video]).sum(axis=1)))
        for a, b in itertools.combinations(items, 2)
        if (a.pair or a.video) != (b.pair or b.video)
    ]
    result = {
        "videos": len(items), "limit": NEAR, "same_at_most": max(same), "different_at_least": min(different),
        "seconds": round(seconds, 2),
    }  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    main()

"""A small stream of pictures, made on the spot, that any detector can be trained on."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import numpy as np
from PIL import Image


def write_stream(
    folder: Path, experiences: int = 3, pairs: int = 12, tests: int = 6, size: int = 32, frames: int = 1
) -> Path:
    """Write a stream of aligned real–fake pairs: PNG pictures, a manifest and the YAML file.

    Pictures are noise. A fake is its real with rows 4e to 4e + 8 of one colour at half the brightness, where e is the
    experience, so each experience has a cue of its own.

    Args:
        folder: Where; it is made if need be.
        experiences: Number of experiences, up to (size − 8) / 4 + 1.
        pairs: Training pairs of each; every pair is a person of its own.
        tests: Validation pairs, and as many test pairs.
        size: Side of a picture in pixels.
        frames: Frames of each video, brighter one after the other.

    Returns:
        Path of the YAML file.
    """
    rng = np.random.default_rng(3)
    rows = []
    for e in range(experiences):
        for split, count in (("train", pairs), ("val", tests), ("test", tests)):
            for n in range(count):
                base = rng.integers(40, 200, (size, size, 3), dtype=np.uint8)
                key = f"e{e}-{split}{n}"
                (folder / split).mkdir(parents=True, exist_ok=True)
                for label, frame in itertools.product((0, 1), range(frames)):
                    picture = base + np.uint8(2 * frame)
                    if label:
                        picture[4 * e : 4 * e + 8, :, e % 3] //= 2
                    number = f"-{frame}" if frames > 1 else ""
                    name = f"{split}/{key}-{label}{number}.png"
                    Image.fromarray(picture).save(folder / name)
                    method = "fake" if label else "real"
                    rows.append([name, label, f"s{e}", method, key, f"{key}-{label}", frame, key + number, split])
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "source", "method", "identity", "video", "frame", "pair", "split"])
        writer.writerows(rows)
    lines = [
        "name: tiny",
        "metric: auc",
        f"memory: {12 * frames}",
        "defaults: {source: folder, root: ., manifest: manifest.csv}",
        "experiences:",
    ]
    lines += [f"  - {{name: s{e}, where: {{source: s{e}}}}}" for e in range(experiences)]
    path = folder / "tiny.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path

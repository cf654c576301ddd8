"""Mutated files against the decoders: ``python -m perf.fuzz``.

Small valid files (JPEG, PNG, WebP, GIF, BMP, TIFF, MP4, MKV, AVI, MOV, WebM) are changed at random (bytes flipped,
overwritten, removed, repeated, cut off; two files spliced), and each is decoded as ``dfbench serve`` does it: in a
process of its own, confined in the same way, with the middle square for a face. What came of each is counted. A process
that outlives its limit, or anything that a worker would not expect, is a failure.
"""

from __future__ import annotations

import argparse
import collections
import json
import multiprocessing
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from dfbench.data.prepare.faces import Centre
from dfbench.publish.predict.inputs import Limits
from dfbench.publish.predict.looking import Options, Recipe
from dfbench.publish.serve.confine import Bounds
from dfbench.publish.serve.worker import messages
from dfbench.publish.serve.worker.decoding import Task, decode

SECONDS = 10
"""Of processor time for a file; its process ends ten seconds of wall time later at the latest."""
PARALLEL = 2
EDGES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0")
"""Numbers that headers seldom hold."""


def main() -> None:
    """Print what came of all files; the exit code is 1 if any outlived its limit."""
    from perf import results  # here, since every decoding process imports this module: no torch must come with it

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parallel", type=int, default=PARALLEL)
    results.add_json(parser)
    arguments, began = parser.parse_args(), results.load()
    result = {"name": "fuzz", **fuzz(arguments.files, arguments.seed, arguments.parallel)}
    results.report(result, arguments.json, began)
    raise SystemExit(bool(result["hangs"] or result["surprises"]))


def fuzz(count: int, seed: int, parallel: int = PARALLEL) -> dict[str, Any]:
    """Decode ``count`` mutated files, ``parallel`` at a time; how far it is goes to stderr now and then.

    Returns:
        Counts by what came of a file: ``seen``, a code of a refusal, ``died SIGNAL``; ``hangs``, ``surprises`` (what a
        worker would not have expected), ``slowest`` in seconds, ``seconds`` in all.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["dfbench.publish.serve.worker.decoding"])
    outcomes: collections.Counter[str] = collections.Counter()
    hangs, surprises, slowest, start = 0, 0, 0.0, time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        seeds = originals(Path(folder))
        draw = random.Random(seed)
        running: list[_Run] = []
        for number in range(count):
            path = Path(folder) / f"mutated{number % (4 * parallel)}"
            path.write_bytes(mutated(draw, seeds))
            running.append(_Run(context, path))
            while len(running) == parallel or (number == count - 1 and running):
                done = running.pop(0)
                said, seconds = done.outcome()
                outcomes[said] += 1
                hangs += said == "hang"
                surprises += said.startswith("surprise")
                slowest = max(slowest, seconds)
            if number % 500 == 499:
                print(number + 1, dict(outcomes), f"{hangs} hangs", f"slowest {slowest:.1f} s", file=sys.stderr)
    spent = time.perf_counter() - start
    return {"files": count, "outcomes": dict(outcomes.most_common()), "hangs": hangs, "surprises": surprises,
            "slowest": round(slowest, 2), "seconds": round(spent, 1)}  # fmt: skip


def originals(folder: Path) -> list[bytes]:
    """Small valid files of every kind that is read."""
    from tests.data.prepare.films import moving, write_video
    from tests.publish.serve.hostile import encoded

    picture = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    picture[:20] = 90
    found = [
        encoded(picture, "JPEG"), encoded(picture, "JPEG", progressive=True), encoded(picture, "PNG"),
        encoded(picture, "WEBP"), encoded(picture, "WEBP", lossless=True), encoded(picture, "GIF"),
        encoded(picture, "BMP"), encoded(picture, "TIFF"), encoded(picture, "TIFF", compression="tiff_lzw"),
    ]  # fmt: skip
    frames = moving(0, 6, side=40, size=(96, 64))
    for suffix, options in (("mp4", {}), ("mkv", {}), ("avi", {"codec": "mjpeg", "pixel_format": "yuvj420p"}),
                            ("mov", {"codec": "mpeg4"}), ("webm", {"codec": "libvpx"})):  # fmt: skip
        found.append(write_video(folder / f"film.{suffix}", frames, **options).read_bytes())
    return found


def mutated(draw: random.Random, files: list[bytes]) -> bytes:
    """One of the files, changed in one to six ways; headers are hit more often than the rest."""
    content = bytearray(draw.choice(files))
    for _ in range(draw.randint(1, 6)):
        if not content:
            break
        place = int(len(content) * draw.random() ** draw.choice((1, 3)))
        length = draw.randint(1, 64)
        way = draw.randrange(7)
        if way == 0:
            content[place] ^= 1 << draw.randrange(8)
        elif way == 1:
            content[place : place + length] = draw.randbytes(length)
        elif way == 2:
            del content[place : place + length]
        elif way == 3:
            content[place:place] = content[place : place + length] * draw.randint(1, 50)
        elif way == 4:
            content[place : place + 4] = draw.choice(
                (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0")
            )
        elif way == 5:
            del content[place:]
        else:
            other = draw.choice(files)
            content[place:] = other[int(len(other) * draw.random()) :]
    return bytes(content)


class _Run:
    """A decoding process and its worker's side."""

    def __init__(self, context: Any, path: Path) -> None:
        limits = Limits(5_000_000, 5_000_000, 40_000_000, 600)
        task = Task(path, Recipe("fuzz", 0, 1.3, (64, 64)), Options(8, limits), Centre.sizes, Bounds(2 << 30, SECONDS))
        self._mine, theirs = context.Pipe()
        self._process = context.Process(target=decode, args=(theirs, task), daemon=True)
        self._start = time.perf_counter()
        self._process.start()
        theirs.close()

    def outcome(self) -> tuple[str, float]:
        """What came of it, and after how many seconds."""
        said = self._said()
        self._mine.close()
        self._process.join(SECONDS + 30)
        if self._process.exitcode is None:
            said = "hang"
            self._process.kill()
            self._process.join()
        return said, time.perf_counter() - self._start

    def _said(self) -> str:
        centre = Centre(None, "cpu")
        try:
            while self._mine.poll(SECONDS + 30):
                message, payload = messages.receive(self._mine, 1 << 28)
                if isinstance(message, messages.Refused):
                    why = f" ({message.reason[:60]})" if message.code == "unexpected" else ""
                    return f"refused: {message.code}{why}"
                if isinstance(message, messages.SeenMedium):
                    return "seen"
                if isinstance(message, messages.Detect):
                    frames = messages.array(payload, message.shape)
                    messages.send(self._mine, json.loads(json.dumps([box.tolist() for box in centre.detect(frames)])))
        except messages.Broken:
            self._process.join(SECONDS + 30)
            return f"died {self._process.exitcode}"
        except Exception as error:
            return f"surprise {type(error).__name__}"
        return "hang"


if __name__ == "__main__":
    main()

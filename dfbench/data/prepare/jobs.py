"""What a worker process does: one group of items, a part file for each."""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfbench.data.prepare import report, shards
from dfbench.data.prepare.crops import Square
from dfbench.data.prepare.extract import Extract, extract
from dfbench.data.prepare.faces import FaceDetector
from dfbench.data.prepare.item import Item
from dfbench.data.prepare.options import Options
from dfbench.data.prepare.plan import Group, item_key
from dfbench.data.prepare.rows import Squares
from dfbench.errors import DfbenchError, in_one_line
from dfbench.files import write_whole

ADVICE = "free some space and rerun the same command: it goes on where it stopped"
DIED = "the process that read it died (out of memory, or a crash of the decoder)"


@dataclass(frozen=True)
class DetectorChoice:
    """A face detector, as a worker process makes it.

    Attributes:
        target: ``package.module:Name``.
        model: its file, if any.
        device: torch's name of the device.
    """

    target: str
    model: Path | None
    device: str

    def make(self) -> FaceDetector:
        """The detector; one per process.

        Raises:
            UsageError: it cannot be made.
        """
        return _made(self)


@dataclass(frozen=True)
class Job:
    """What all groups of a set have in common.

    Attributes:
        work: the folder of parts.
        options: how to crop.
        detector: the face detector.
        threads: of the decoder.
    """

    work: Path
    options: Options
    detector: DetectorChoice
    threads: int = 1


def run_job(job: Job, group: Group) -> None:
    """Make the parts of a group that are missing. What is wrong with one video becomes its line of the report.

    Raises:
        StorageError: a part cannot be written.
        DfbenchError: the face detector cannot be used.
    """
    for _ in group.items:  # an item that fails unexpectedly must not take the others with it
        known = _known(job.work, group)
        try:
            for done in extract(group, job.options, job.detector.make, known, job.threads):
                write_part(job.work, done)
            return
        except DfbenchError:
            raise
        except MemoryError:
            fail_next(job.work, group, "too large for memory")
        except Exception as error:  # a fault of a library with a hostile file, or ours: one line, never the end
            fail_next(job.work, group, f"unexpected {type(error).__name__}: {in_one_line(error)}")


def write_part(work: Path, done: Extract) -> None:
    """Write the rows of an item and its line of the report.

    Raises:
        StorageError: they cannot be written.
    """
    write_whole(part_path(work, done.item), shards.part_bytes(done.rows, report.line(done)), ADVICE)


def fail_next(work: Path, group: Group, reason: str) -> None:
    """Give up the first item of a group that has no part."""
    item = next((item for item in group.items if shards.read_part(part_path(work, item)) is None), None)
    if item is not None:
        write_part(work, Extract(item, error=reason))


def part_path(work: Path, item: Item) -> Path:
    """The part of an item."""
    return work / "parts" / f"{item_key(item)}.arrow"


def _known(work: Path, group: Group) -> dict[str, Squares]:
    """``video`` → squares of the items that have a part."""
    known: dict[str, Squares] = {}
    for item in group.items:
        part = shards.read_part(part_path(work, item))
        if part is not None:
            columns: dict[str, list[Any]] = part[0].select(["frame", "x", "y", "side"]).to_pydict()
            known[item.video] = {n: Square(*where) for n, *where in zip(*columns.values(), strict=True)}
    return known


@functools.cache
def _made(choice: DetectorChoice) -> FaceDetector:
    module, _, name = choice.target.partition(":")
    return getattr(importlib.import_module(module), name)(choice.model, choice.device)

"""The process that decodes one stranger's file: no torch, no network, nothing to write, and an end to its time.

It is forked per job from a server that has imported this module and nothing else, finds faces by asking its worker (to
which it sends reduced frames), and sends the crops. Frames of several jobs so meet in the worker's batches.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.ma  # numpy.median imports it: 12 ms in each process that has not got it
from PIL import Image

from dfbench.publish.predict.looking import Options, Recipe, Seen, look, refusal
from dfbench.publish.serve.confine import Bounds, confine, prepare
from dfbench.publish.serve.worker.messages import (
    HEADER,
    WIDEST,
    Detect,
    Progress,
    Refused,
    SeenFace,
    SeenLook,
    SeenMedium,
    send,
)

Image.init()
"""Readers of pictures, which Pillow otherwise looks for at the first picture of each process."""
prepare()


@dataclass(frozen=True)
class Task:
    """What is decoded, and how.

    Attributes:
        file: The upload.
        recipe: How the checkpoint wants faces to be cut.
        options: How much is looked at, and the limits.
        sizes: Of the face detector, see :mod:`dfbench.data.prepare.faces`.
        bounds: What the process may use.
    """

    file: Path
    recipe: Recipe
    options: Options
    sizes: tuple[int, ...]
    bounds: Bounds


class _Asking:
    """A face detector that asks the worker."""

    version = ""

    def __init__(self, connection: Connection, sizes: tuple[int, ...]) -> None:
        self.sizes = tuple(min(size, WIDEST) for size in sizes)
        self._connection = connection

    def detect(self, frames: np.ndarray) -> list[np.ndarray]:
        """As :mod:`dfbench.data.prepare.faces` says."""
        send(self._connection, Detect(shape=frames.shape), frames)
        boxes = json.loads(self._connection.recv_bytes(HEADER * 16))
        return [np.asarray(each, np.float64).reshape(-1, 5) for each in boxes]


def decode(connection: Connection, task: Task) -> None:
    """Look at the file and send what was seen; the process ends afterwards."""
    confine(task.bounds, [task.file])
    detector = _Asking(connection, task.sizes)

    def progress(done: int, total: int) -> None:
        if total > 1:
            send(connection, Progress(done=done, total=total))

    try:
        seen = look(task.file, task.recipe, detector, task.options, progress)
    except (EOFError, BrokenPipeError, ConnectionError):  # the worker has given up this job
        return
    except Exception as error:
        said = refusal(error, task.file)
        send(connection, Refused(reason=said.reason[:500], code=said.code, values=dict(said.values)))
        return
    _send_seen(connection, seen)


def _send_seen(connection: Connection, seen: Seen) -> None:
    facts, found = seen.facts, seen.found
    stated: dict[str, Any] = {
        key: value[:500] if isinstance(value, str) else value for key, value in asdict(facts).items()
    }
    send(
        connection,
        SeenMedium(**stated, looked_at=found.looked_at, left_out=found.left_out, faces=len(found.faces)),
    )
    for face in found.faces:
        looks = [
            SeenLook(frames=each.frames, seconds=each.seconds, where=(each.where.x, each.where.y, each.where.side))
            for each in face.looks
        ]
        send(connection, SeenFace(side=face.side, looks=looks), np.stack([each.pixels for each in face.looks]))

"""One job: a process that decodes, the engine that judges, and a result in the store, whatever happens on the way."""

from __future__ import annotations

import contextlib
import io
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dfbench.data.prepare.crops import Square
from dfbench.data.prepare.media import Facts
from dfbench.publish.predict.faces import AS_IT_IS, Face, Found, Look
from dfbench.publish.predict.judgement import Judgement
from dfbench.publish.predict.looking import Options, Seen
from dfbench.publish.predict.run import Answer, Judge, document, pixels_of, refused
from dfbench.publish.serve.confine import Bounds
from dfbench.publish.serve.store import Artifact, Job, Store
from dfbench.publish.serve.worker import messages
from dfbench.publish.serve.worker.decoding import Task, decode
from dfbench.publish.serve.worker.engine import Engine
from dfbench.publish.serve.worker.messages import Broken

AGAIN = 0.5
"""Seconds after which a job store that is away is asked again."""
OFTEN = 0.2
"""Seconds between two notes of a job's progress."""
SHOWN = 256
"""Longer side of a crop in the result, in pixels."""
WARM = (226, 74, 28)
"""Colour of heat maps; how much of it covers a pixel is the square of the map."""
_starting = threading.Lock()
"""multiprocessing looks after all children whenever one is started or awaited: one thread at a time."""


@dataclass(frozen=True)
class Bench:
    """What the jobs of a worker share.

    Attributes:
        store: Of the jobs.
        engine: Runs the networks.
        judges: By the name of their model.
        sizes: Of the face detector.
        options: How much of a file is looked at, and its limits.
        bounds: Of a decoding process.
        context: That decoding processes come from.
        seconds: For one job.
    """

    store: Store
    engine: Engine
    judges: Mapping[str, Judge]
    sizes: tuple[int, ...]
    options: Options
    bounds: Bounds
    context: ForkServerContext
    seconds: float


class Failed(Exception):
    """The job ends without a result: a stable word, and a line for the visitor."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Deleted(Exception):
    """The visitor has deleted the job."""


def run_job(bench: Bench, job: Job) -> None:
    """Judge the upload of a claimed job and end it in the store."""
    start = time.perf_counter()
    try:
        with _decoding(bench, job) as connection:
            answer = _answer(bench, job, connection)
        answer.seconds = time.perf_counter() - start
        found = document(answer)
        del found["file"]  # the visitor's name for it never came here
        artifacts = _crops(answer) | (_heat_maps(bench, job, answer) if job.heat else {})
        found["heat"] = sorted({int(name.split("/")[1]) for name in artifacts if name.endswith("heat.png")})
        _end(lambda: bench.store.finish(job.id, found, artifacts))
    except Deleted:
        return
    except Failed as error:
        failure = error.code, str(error)
        _end(lambda: bench.store.fail(job.id, *failure))
    except Exception as error:  # a fault of a detector, a plugin or ours must cost this job only
        what = f"unexpected {type(error).__name__} while the file was judged"
        _end(lambda: bench.store.fail(job.id, "unexpected", what))


def _end(end: Callable[[], None]) -> None:
    """End a job in the store, however long that is away: a job of a living worker would run for ever."""
    while True:
        try:
            return end()
        except (TypeError, ValueError):  # of the result, not of the store
            raise
        except Exception:
            time.sleep(AGAIN)


@contextlib.contextmanager
def _decoding(bench: Bench, job: Job) -> Any:
    """A process that decodes the upload: the connection to it. It does not outlive the block."""
    recipe = bench.judges[job.model].recipe
    task = Task(bench.store.upload(job.id), recipe, bench.options, bench.sizes, bench.bounds)
    mine, theirs = bench.context.Pipe()
    with _starting:
        process = bench.context.Process(target=decode, args=(theirs, task), daemon=True)
        process.start()
    theirs.close()
    try:
        yield mine
    except Broken as error:
        with _starting:
            process.join(2)
            code = process.exitcode
        raise _died(code) from error
    finally:
        mine.close()
        with _starting:
            process.join(0)
            if process.exitcode is None:
                process.kill()
                process.join(2)
            process.close()


def _died(code: int | None) -> Failed:
    if code in (-signal.SIGXCPU, -signal.SIGALRM, -signal.SIGKILL):
        return Failed("timeout", "the file took too long, or too much memory, to decode")
    return Failed("crashed", "the process that read the file died; it may be damaged")


def _answer(bench: Bench, job: Job, connection: Connection) -> Answer:
    judge, path = bench.judges[job.model], Path("upload")
    received = _receive(bench, job, connection)
    if isinstance(received, messages.Refused):
        said = Judgement("not supported", received.reason, code=received.code, values=received.values)
        return refused(path, said)
    looks = pixels_of(received)
    scores = bench.engine.score(job.model, looks) if looks else judge.score([])
    return judge.answer(path, received, scores)


def _receive(bench: Bench, job: Job, connection: Connection) -> Seen | messages.Refused:
    """Serve the decoding process until it has seen everything, or refuses."""
    stop = time.monotonic() + bench.seconds
    side = max(bench.judges[job.model].recipe.size or (AS_IT_IS, AS_IT_IS))
    most = max(messages.SEVERAL * messages.WIDEST**2 * 3, bench.options.frames * 2 * side**2 * 3)
    noted, medium, faces = 0.0, None, []
    while medium is None or len(faces) < medium.faces:
        _wait(bench, job, connection, stop)
        message, payload = messages.receive(connection, most)
        if isinstance(message, messages.Refused):
            return message
        if isinstance(message, messages.Detect):
            frames = messages.array(payload, message.shape)
            boxes = bench.engine.detect(frames)
            messages.send(connection, [each.tolist() for each in boxes])
        elif isinstance(message, messages.Progress) and time.monotonic() - noted > OFTEN:
            noted = time.monotonic()
            if not bench.store.progress(job.id, message.done, message.total):
                raise Deleted
        elif isinstance(message, messages.SeenMedium):
            medium = message
        elif isinstance(message, messages.SeenFace):
            faces.append(_face(message, payload, bench.judges[job.model], bench.options.frames))
    stated = medium.model_dump(exclude={"kind", "bytes", "faces", "looked_at", "left_out"})
    return Seen(Facts(**stated), Found(faces, medium.left_out, medium.looked_at))


def _wait(bench: Bench, job: Job, connection: Connection, stop: float) -> None:
    """Until there is a message.

    Raises:
        Failed: The time of the job is over.
        Deleted: The visitor has deleted it.
    """
    while not connection.poll(min(1.0, max(stop - time.monotonic(), 0))):
        if time.monotonic() >= stop:
            raise Failed("timeout", f"the file was not judged within {bench.seconds:.0f} s")
        if bench.store.get(job.id) is None:
            raise Deleted


def _face(message: messages.SeenFace, payload: bytes, judge: Judge, frames: int) -> Face:
    recipe = judge.recipe
    size = recipe.size or (AS_IT_IS, AS_IT_IS)
    count = len(message.looks)
    if count > frames or any(len(each.frames) != max(recipe.clip, 1) for each in message.looks):
        raise Broken("more looks than frames")
    pixels = messages.array(payload, (count, *((recipe.clip,) if recipe.clip else ()), *size, 3))
    looks = [
        Look(each.frames, each.seconds, Square(*each.where), pixels[number].copy())
        for number, each in enumerate(message.looks)
    ]
    return Face(message.side, looks)


def _crops(answer: Answer) -> dict[str, Artifact]:
    """``faces/N/LOOK.jpg`` of every look."""
    found = {}
    for number, judged in enumerate(answer.faces):
        for place, look in enumerate(judged.face.looks):
            found[f"faces/{number}/{place}.jpg"] = Artifact("image/jpeg", _encoded(_middle(look.pixels), "JPEG"))
    return found


def _heat_maps(bench: Bench, job: Job, answer: Answer) -> dict[str, Artifact]:
    """``faces/N/heat.png`` of each face's look with the highest score, to be laid over its crop."""
    if not answer.faces or answer.faces[0].face.looks[0].pixels.ndim != 3:
        return {}
    looks = [judged.face.looks[highest(judged.scores)].pixels for judged in answer.faces]
    maps = bench.engine.heat(job.model, looks)
    if maps is None:
        return {}
    return {
        f"faces/{n}/heat.png": Artifact("image/png", _encoded(_overlay(each), "PNG")) for n, each in enumerate(maps)
    }


def highest(scores: Sequence[float] | np.ndarray) -> int:
    """The look with the highest score: the one whose heat map is made."""
    return int(np.argmax(scores))


def _overlay(heat: np.ndarray) -> np.ndarray:
    colour = np.broadcast_to(np.asarray(WARM, np.uint8), (*heat.shape, 3))
    return np.dstack([colour, (np.clip(heat, 0, 1) ** 2 * 190).astype(np.uint8)])


def _middle(pixels: np.ndarray) -> np.ndarray:
    return pixels if pixels.ndim == 3 else pixels[len(pixels) // 2]


def _encoded(pixels: np.ndarray, format: str) -> bytes:
    image = Image.fromarray(pixels)
    image.thumbnail((SHOWN, SHOWN))
    buffer = io.BytesIO()
    image.save(buffer, format, **({"quality": 85} if format == "JPEG" else {"compress_level": 1}))
    return buffer.getvalue()

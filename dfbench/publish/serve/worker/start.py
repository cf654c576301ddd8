"""What a worker loads before it takes jobs: models, face detector, the server that its decoding processes come from."""

from __future__ import annotations

import json
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext

import numpy as np

from dfbench.errors import StorageError, UsageError
from dfbench.plugins import registry
from dfbench.publish.predict.face_detectors import face_detector
from dfbench.publish.predict.faces import AS_IT_IS
from dfbench.publish.predict.inputs import Limits
from dfbench.publish.predict.looking import Options
from dfbench.publish.predict.run import Judge
from dfbench.publish.serve.confine import Bounds, confine
from dfbench.publish.serve.settings import WorkerSettings
from dfbench.publish.serve.store import Store
from dfbench.publish.serve.worker.engine import Engine
from dfbench.publish.serve.worker.job import Bench
from dfbench.publish.zoo.resolve import fetch, resolve

FIRST_START = 300.0
"""Seconds that the first decoding process may take; on an overloaded machine a minute was not enough."""


def make_bench(settings: WorkerSettings, store: Store, context: ForkServerContext) -> tuple[Bench, list[str]]:
    """Load everything and try it once.

    Args:
        settings: What the operator chose.
        store: Of the jobs.
        context: That decoding processes come from.

    Returns:
        What jobs need, and what decoding processes have given up (see :func:`~dfbench.publish.serve.confine.confine`).

    Raises:
        DfbenchError: A model or the face detector cannot be used.
    """
    faces = face_detector(settings.faces, settings.device).make()
    known = registry()
    judges: dict[str, Judge] = {}
    for reference in settings.models:
        judge = Judge(fetch(resolve(reference, known), print), known, faces, settings.device)
        if judge.entry.name in judges:
            raise UsageError(f"--model {reference}: there are two models called {judge.entry.name!r}")
        judges[judge.entry.name] = judge
    engine = Engine(faces, judges)
    engine.detect(np.zeros((1, 96, 96, 3), np.uint8))
    for name, judge in judges.items():
        clip, size = judge.recipe.clip, judge.recipe.size or (AS_IT_IS, AS_IT_IS)
        looks = [np.zeros((*((clip,) if clip else ()), *size, 3), np.uint8)]
        engine.score(name, looks)
        if not clip:
            engine.heat(name, looks)
    bounds = Bounds(settings.decoder_bytes, round(settings.job_seconds))
    protection = _try_decoding(context, bounds)
    limits = Limits(settings.upload_bytes, settings.upload_bytes, settings.pixels, settings.video_seconds)
    options = Options(settings.frames, limits)
    return Bench(store, engine, judges, faces.sizes, options, bounds, context, settings.job_seconds), protection


def _try_decoding(context: ForkServerContext, bounds: Bounds) -> list[str]:
    mine, theirs = context.Pipe()
    process = context.Process(target=_confined, args=(theirs, bounds), daemon=True)
    process.start()
    theirs.close()
    try:
        if not mine.poll(FIRST_START):
            raise EOFError
        held: list[str] = json.loads(mine.recv_bytes(1000))
    except (EOFError, OSError):
        raise StorageError("no process for decoding can be started here") from None
    finally:
        mine.close()
        process.join(5)
    return held


def _confined(connection: Connection, bounds: Bounds) -> None:
    connection.send_bytes(json.dumps(confine(bounds, [])).encode())

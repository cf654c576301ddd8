"""``python -m dfbench.publish.serve.worker NAME`` with :class:`WorkerSettings` as a line of JSON on stdin.

``dfbench serve`` starts it. It ends when its stdin is closed, so that it never outlives the page's process, and after
SIGTERM once its jobs have ended.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from types import FrameType

from dfbench.errors import DfbenchError
from dfbench.publish.serve.settings import WorkerSettings

POLL = 0.02
"""Seconds between two looks at the queue."""
BEAT = 1.0
"""Seconds between two signs of life."""
STUCK = 120.0
"""Seconds after which one batch of the networks counts as hung."""
DECODER = "dfbench.publish.serve.worker.decoding"


def main() -> int:
    """Judge jobs until there is no more need; the exit code."""
    try:
        return _work(sys.argv[1], WorkerSettings.model_validate_json(sys.stdin.readline()))
    except DfbenchError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.exit_code


def _work(name: str, settings: WorkerSettings) -> int:
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the page's process, which then stops this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([DECODER])

    import torch

    from dfbench.publish.predict.run import identity
    from dfbench.publish.serve.store import WorkerState
    from dfbench.publish.serve.stores import open_store
    from dfbench.publish.serve.worker.job import AGAIN, run_job
    from dfbench.publish.serve.worker.start import make_bench

    torch.set_num_threads(settings.threads)
    store = open_store(settings)
    bench, protection = make_bench(settings, store, context)
    models = tuple(identity(judge.entry) for judge in bench.judges.values())
    running: set[threading.Thread] = set()
    beaten, away = 0.0, False
    while not stopping.is_set() or running:
        now = time.monotonic()
        if bench.engine.busy_for > STUCK:
            print("error: the networks hang; this worker ends and is replaced", file=sys.stderr, flush=True)
            os._exit(70)
        running = {thread for thread in running if thread.is_alive()}
        try:
            if now - beaten > BEAT:
                store.beat(WorkerState(name, time.time(), models, tuple(protection)))
                beaten = now
            job = store.claim(name) if len(running) < settings.parallel and not stopping.is_set() else None
        except Exception as error:  # whatever the store's library raises
            if not away:
                print(f"error: the job store is away ({type(error).__name__}); waiting", file=sys.stderr, flush=True)
            away = True
            stopping.wait(AGAIN) if not stopping.is_set() else time.sleep(AGAIN)
            continue
        away = False
        if job is None:
            stopping.wait(POLL) if not stopping.is_set() else time.sleep(POLL)
            continue
        thread = threading.Thread(target=run_job, args=(bench, job), daemon=True)
        thread.start()
        running.add(thread)
    with contextlib.suppress(Exception):  # the page forgets it, too
        store.forget(name)
    return 0


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())

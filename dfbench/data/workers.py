"""Worker processes for pictures: one pass over all of them, or a pool that lasts as long as the training.

Processes instead of threads, because PIL holds the GIL while it decodes (measured: two threads are 1.0 to
1.1 times as fast as one). They are spawned, never forked: the parent may run torch threads.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from dfbench.plugin_faults import remember

Progress = Callable[[int, int, str], None]
"""``progress(done, total, what)``"""

Result = TypeVar("Result")

CHUNK = 128
"""Pictures per call."""

_WORTH_A_PROCESS = 1500
"""Pictures per process; fewer are done before a process has started."""

_shared: Any = None


def silent(done: int, total: int, what: str) -> None:
    """A progress callback that does nothing."""


def map_chunks(
    task: Callable[[Any, int, int], Result],
    shared: Any,
    total: int,
    *,
    what: str,
    workers: int | None = None,
    progress: Progress | None = None,
    chunk: int = CHUNK,
) -> Iterator[Result]:
    """Call ``task(shared, start, stop)`` for consecutive ranges of ``range(total)``.

    Args:
        task: a module-level function, so that a process can import it.
        shared: passed to every process once.
        total: the number of items.
        what: the description that ``progress`` gets.
        workers: number of processes; by default one per processor core, fewer for small jobs.
        progress: called with the number of items done.
        chunk: items per call.

    Yields:
        the result of each call, in the order in which they finish.
    """
    progress = progress or silent
    chunks = [(start, min(start + chunk, total)) for start in range(0, total, chunk)]
    count = min(_workers(total) if workers is None else workers, len(chunks))
    results = _in_processes(task, shared, chunks, count) if count > 1 else _here(task, shared, chunks)
    done = 0
    progress(0, total, what)
    for size, result in results:
        done += size
        progress(done, total, what)
        yield result


class Workers:
    """A pool of processes that call one function until it is closed.

    The processes start with the first call. Calls run in this process where none can be started (a function
    that cannot be pickled, a script without ``if __name__ == "__main__"``), and after one has died.

    Args:
        task: called as ``task(shared, *args)``; a module-level function.
        shared: passed to every process once.
        count: number of processes; 0 runs every call in this process.
    """

    def __init__(self, task: Callable[..., Any], shared: Any, count: int) -> None:
        self._task, self._shared, self._count = task, shared, count
        self._pool: ProcessPoolExecutor | None = None

    def submit(self, *args: Any) -> Future[Any]:
        """Start ``task(shared, *args)``."""
        if self._pool is None and self._count > 0:
            self._pool = spawned(self._task, self._shared, self._count)
            if self._pool is None:
                self._count = 0  # a second attempt would fail like the first
        if self._pool is not None:
            try:
                return self._pool.submit(call, *args)
            except BrokenProcessPool:
                self.close()
                self._count = 0
        return self._now(args)

    def result(self, future: Future[Any], *args: Any) -> Any:
        """Wait for ``submit(*args)``; the call is repeated in this process if its worker died."""
        try:
            return future.result()
        except (BrokenProcessPool, CancelledError):
            self.close()
            self._count = 0
            return self._now(args).result()

    def close(self) -> None:
        """End the processes; calls that have not started are cancelled."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def _now(self, args: tuple[Any, ...]) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(self._task(self._shared, *args))
        return future


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _workers(total: int) -> int:
    if multiprocessing.current_process().daemon:  # must not have children
        return 1
    return max(1, min(cores(), 16, total // _WORTH_A_PROCESS))


def _here(
    task: Callable[[Any, int, int], Result], shared: Any, chunks: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, Result]]:
    for start, stop in chunks:
        yield stop - start, task(shared, start, stop)


def _in_processes(
    task: Callable[[Any, int, int], Result], shared: Any, chunks: list[tuple[int, int]], count: int
) -> Iterator[tuple[int, Result]]:
    """As :func:`_here`, in a pool. Falls back to this process where none can be started: for classes of a
    notebook, or in a script without the ``if __name__ == "__main__"`` that spawned processes need."""
    pool = spawned(task, shared, count)
    if pool is None:
        yield from _here(task, shared, chunks)
        return
    left = dict.fromkeys(chunks)
    try:
        queue = iter(chunks)
        running: dict[Future[Any], tuple[int, int]] = {}
        while left:
            # Two per process: none waits for this one, and results do not pile up before a slow consumer.
            while len(running) < 2 * count and (chunk := next(queue, None)) is not None:
                running[pool.submit(call, *chunk)] = chunk
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                chunk = running.pop(future)
                result = future.result()
                del left[chunk]
                yield chunk[1] - chunk[0], result
    except BrokenProcessPool:  # none could be started, or one was killed: what it had done is kept
        yield from _here(task, shared, list(left))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def spawned(task: Callable[..., Any], shared: Any, count: int) -> ProcessPoolExecutor | None:
    """Processes that hold ``task`` and ``shared``; None where these cannot be pickled."""
    try:
        payload = pickle.dumps((task, shared))
    except Exception:  # whatever a foreign class raises
        return None
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, mp_context=context, initializer=_start, initargs=(payload,))


def _start(payload: bytes) -> None:
    """Set up a process: it leaves Ctrl-C to its parent, and ends when its parent is killed."""
    global _shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _shared = pickle.loads(payload)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def call(*args: Any) -> Any:
    """In a process of :func:`spawned`: its task with these arguments."""
    task, shared = _shared
    try:
        return task(shared, *args)
    except Exception as error:
        remember(error)
        raise

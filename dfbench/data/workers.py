"""Do something with pictures in several processes: once with every one of them, or for as long as training lasts.

Processes and not threads, because PIL holds Python's lock while it decodes (measured: two threads
are 1.0 to 1.1 times as fast as one). They are spawned, never forked: the parent may run torch threads.
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

Progress = Callable[[int, int, str], None]
"""``progress(done, total, what)``"""

Result = TypeVar("Result")

CHUNK = 128
"""Pictures a task."""

_WORTH_A_PROCESS = 1500
"""Pictures; fewer are done before a process has started."""

_shared: Any = None


def silent(done: int, total: int, what: str) -> None:
    """The progress callback of those who want none."""


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
    """Call ``task(shared, start, stop)`` for consecutive ranges of ``range(total)``, in any order.

    :param task: a function of a module, so that a process can import it
    :param shared: handed to every process once
    :param workers: processes; by default one a processor core, fewer for small jobs
    :param chunk: how many a call
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
    """Processes that call one function for as long as they are wanted.

    They are started with the first call. Where none can be (a function that cannot be pickled, a script
    without ``if __name__ == "__main__"``), and with ``count`` 0, calls are made in this process.

    :param task: ``task(shared, *args)``, a function of a module
    :param shared: handed to every process once
    """

    def __init__(self, task: Callable[..., Any], shared: Any, count: int) -> None:
        self._task, self._shared, self._count = task, shared, count
        self._pool: ProcessPoolExecutor | None = None

    def submit(self, *args: Any) -> Future[Any]:
        """The call's result, to be waited for."""
        if self._pool is None and self._count > 0:
            try:
                payload = pickle.dumps((self._task, self._shared))
            except Exception:  # whatever a foreign class raises
                self._count = 0
            else:
                context = multiprocessing.get_context("spawn")
                self._pool = ProcessPoolExecutor(
                    self._count, mp_context=context, initializer=_start, initargs=(payload,)
                )
        if self._pool is not None:
            try:
                return self._pool.submit(_work, *args)
            except BrokenProcessPool:
                self.close()
                self._count = 0
        return self._now(args)

    def result(self, future: Future[Any], *args: Any) -> Any:
        """The result of ``submit(*args)``; made in this process if the one that had it is gone."""
        try:
            return future.result()
        except (BrokenProcessPool, CancelledError):
            self.close()
            self._count = 0
            return self._now(args).result()

    def close(self) -> None:
        """End the processes."""
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
    if multiprocessing.current_process().daemon:  # may not have children
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
    """Fall back to this process where none can be started: in a notebook's source, or a script without
    the ``if __name__ == "__main__"`` that spawned processes need."""
    try:
        payload = pickle.dumps((task, shared))
    except Exception:  # whatever a foreign class raises
        yield from _here(task, shared, chunks)
        return
    left = dict.fromkeys(chunks)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_start, initargs=(payload,))
    try:
        queue = iter(chunks)
        running: dict[Future[Any], tuple[int, int]] = {}
        while left:
            while len(running) < 2 * count and (chunk := next(queue, None)) is not None:
                running[pool.submit(_work, *chunk)] = chunk
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                chunk = running.pop(future)
                result = future.result()
                del left[chunk]
                yield chunk[1] - chunk[0], result
    except BrokenProcessPool:
        yield from _here(task, shared, list(left))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


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


def _work(*args: Any) -> Any:
    task, shared = _shared
    return task(shared, *args)

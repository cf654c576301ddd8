"""Worker processes for groups; one that dies with a video is replaced, and the video is given up."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from dfbench.data.prepare.jobs import DIED, Job, fail_next, run_job
from dfbench.data.prepare.plan import Group
from dfbench.data.workers import call, spawned


def run_jobs(job: Job, groups: Sequence[Group], workers: int) -> Iterator[Group]:
    """Run :func:`run_job` for each group.

    Args:
        job: what they have in common.
        groups: in the order in which they are begun.
        workers: processes; 0 works in this one.

    Yields:
        each group when it is done.
    """
    if workers < 1:
        for group in groups:
            run_job(job, group)
            yield group
        return
    waiting = deque(groups)
    while waiting:
        running: dict[Future[Any], Group] = {}
        pool = spawned(run_job, job, workers)
        assert pool is not None  # jobs are plain data
        try:
            while waiting or running:
                while waiting and len(running) < 2 * workers:  # two per process: none waits for this one
                    running[pool.submit(call, waiting[0])] = waiting[0]
                    waiting.popleft()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    future.result()
                    yield running.pop(future)
        except BrokenProcessPool:
            pool.shutdown(wait=True, cancel_futures=True)
            for group in running.values():  # one of these killed its process
                _alone(job, group)
                yield group
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _alone(job: Job, group: Group) -> None:
    """Run a group in a process of its own; each time that it dies, one more video is given up."""
    for _ in range(len(group.items) + 1):
        pool = spawned(run_job, job, 1)
        assert pool is not None
        try:
            pool.submit(call, group).result()
            return
        except BrokenProcessPool:
            fail_next(job.work, group, DIED)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

"""Groups as tasks of Ray, on this machine or on the cluster that ``RAY_ADDRESS`` names.

Every machine must see the videos and the set's folder under the same paths.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from dfbench.data.prepare.jobs import DIED, Job, fail_next, run_job
from dfbench.data.prepare.plan import Group
from dfbench.data.ray_cluster import connect, need_ray


def run_jobs(job: Job, groups: Sequence[Group], workers: int) -> Iterator[Group]:
    """As :func:`dfbench.data.prepare.crew.run_jobs`, a task per group.

    Args:
        job: what they have in common.
        groups: in the order in which they are begun.
        workers: processors of a local Ray that is started for this; a cluster that runs already has its own.

    Yields:
        each group when it is done.
    """
    ray = need_ray()
    started = connect(ray, workers)
    task = ray.remote(max_retries=0)(run_job)
    shared = ray.put(job)
    waiting = deque(groups)
    deaths: dict[str, int] = {}
    running: dict[Any, Group] = {}
    try:
        at_once = 2 * max(int(ray.cluster_resources().get("CPU", 1)), 1)  # none waits for this process
        while waiting or running:
            while waiting and len(running) < at_once:
                group = waiting.popleft()
                running[task.remote(shared, group)] = group
            (done, *_), _ = ray.wait(list(running), num_returns=1)
            group = running.pop(done)
            try:
                ray.get(done)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except ray.exceptions.WorkerCrashedError:  # this very video, or one next to which memory ran out
                name = group.lead.video
                deaths[name] = deaths.get(name, 0) + 1
                if deaths[name] > 1:
                    fail_next(job.work, group, DIED)
                waiting.appendleft(group)
                continue
            yield group
    finally:
        for reference in running:
            ray.cancel(reference, force=True)
        if started:
            ray.shutdown()

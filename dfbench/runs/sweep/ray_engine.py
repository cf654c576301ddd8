"""Runs as tasks of Ray: a cluster by its address, or one on this machine. Which node, and how many, is left to Ray.

A task that dies with its node is started again on another one by Ray. The driver pins a run to a node only where that
node has begun it before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dfbench.data.ray_cluster import connect, need_ray
from dfbench.errors import DataError, UsageError, in_one_line
from dfbench.runs.sweep import node
from dfbench.runs.sweep.engine import Needs, Outcome
from dfbench.runs.sweep.folders import Folders
from dfbench.runs.sweep.local import GIGABYTE
from dfbench.runs.sweep.node import Errand, Sent, sweep_name
from dfbench.runs.sweep.plan import FILES, Job

AHEAD = 500
"""Tasks that Ray knows of at a time: it asks for more machines where many wait."""
PATIENCE = 30.0
"""Seconds that interrupted tasks have to end."""
SURVEY = 300.0
"""Seconds that nodes have to say what they have begun: a first task imports torch, on a busy machine for a minute."""


class RayEngine:
    """Tasks of Ray.

    Args:
        folders: Of the sweep, on this machine.
        needs: Of one run.
        data_root: Folder that holds the data sets, on each machine.
        workers: Processors of a cluster that is started here; one that runs already has its own.
        address: Of a running cluster; what ``$RAY_ADDRESS`` names unless given.
        retries: How often Ray starts a run again whose node was lost.

    Raises:
        UsageError: Ray is not installed, there is no cluster at the address, or no run fits into it.
    """

    def __init__(
        self, folders: Folders, needs: Needs, data_root: Path | None, workers: int | None, address: str | None,
        retries: int,
    ) -> None:  # fmt: skip
        self.ray = need_ray()
        self.folders, self.needs = folders, needs
        self.data_root = None if data_root is None else data_root.absolute()
        self.sweep = sweep_name(folders.out)
        self._started = connect(self.ray, (workers or 1) * needs.threads, address)
        have = self.ray.cluster_resources()
        self.slots = max(int(have.get("CPU", 0) / needs.threads), 1)
        if needs.gpus and not have.get("GPU") and not self._started:
            raise UsageError(f"--gpus {needs.gpus:g}: the cluster has none")
        resources: dict[str, Any] = {"num_cpus": needs.threads, "num_gpus": needs.gpus}
        if needs.memory:
            resources["memory"] = int(needs.memory * GIGABYTE)
        # Faults of a run come back as values: what Ray retries is the loss of a worker or a node.
        self._do = self.ray.remote(**resources, max_retries=retries, retry_exceptions=False)(node.do)
        self._measure = self.ray.remote(**resources, max_retries=0)(node.measure)
        self._running: dict[Any, Job] = {}
        self._nodes: dict[str, str] = {}
        """Key of a run that a node has begun → the node."""
        self._survey()

    @property
    def room(self) -> int:
        """How many more tasks Ray is to know of."""
        return AHEAD - len(self._running)

    def start(self, job: Job, place: Path) -> None:
        """Hand a job to Ray."""
        errand = self._errand(job)
        task = self._do
        if job.key in self._nodes:
            task = task.options(scheduling_strategy=self._at(self._nodes[job.key], soft=True))
        self._running[task.remote(errand)] = job

    def wait(self, seconds: float) -> list[Outcome]:
        """Those that ended: their folders are unpacked and checked."""
        if not self._running:
            return []
        ready, _ = self.ray.wait(list(self._running), num_returns=1, timeout=seconds, fetch_local=False)
        return [self._ended(reference) for reference in ready]

    def _ended(self, reference: Any) -> Outcome:
        job = self._running.pop(reference)
        try:
            sent: Sent = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            return Outcome(job.key, -9, f"lost with its node ({in_one_line(error)[:200]})")
        outcome = sent.outcome
        if outcome.code:
            return outcome
        try:
            folder = self.folders.unpack(sent.archive, sent.digest, job)
        except DataError as error:
            return Outcome(job.key, DataError.exit_code, f"on {outcome.where}: {error}", None, outcome.seconds)
        return Outcome(job.key, 0, "", folder, outcome.seconds, outcome.where)

    def now(self) -> Mapping[str, str]:
        """Nothing: Ray knows which tasks wait for a place, and does not say so cheaply."""
        return {job.key: "" for job in self._running.values()}

    def measure(self, jobs: list[Job]) -> dict[str, dict[str, float]]:
        """Time first steps on the cluster."""
        references = {job.key: self._measure.remote(self._errand(job)) for job in jobs}
        found = {}
        for key, reference in references.items():
            with contextlib.suppress(self.ray.exceptions.RayError):
                seconds = self.ray.get(reference)
                if seconds is not None:
                    found[key] = seconds
        return found

    def delivered(self, job: Job) -> None:
        """Have every node forget the run; nobody waits for it."""
        self._forget([job.key])

    def close(self) -> None:
        """Have every node forget the sweep, and leave the cluster."""
        self.ray.wait(asked := self._forget(None), num_returns=len(asked), timeout=PATIENCE)
        if self._started:
            self.ray.shutdown()

    def stop(self) -> None:
        """Interrupt all tasks, and leave the cluster."""
        for reference in self._running:
            with contextlib.suppress(Exception):
                self.ray.cancel(reference, force=False)
        if self._running:
            with contextlib.suppress(Exception):
                self.ray.wait(list(self._running), num_returns=len(self._running), timeout=PATIENCE, fetch_local=False)
        self._running.clear()
        if self._started:
            self.ray.shutdown()

    def _errand(self, job: Job) -> Errand:
        files = []
        for word, path in zip(job.words, job.words[1:], strict=False):
            if word in FILES and Path(path).is_file():
                files.append((path, Path(path).read_text(encoding="utf-8")))
        return Errand(self.sweep, job, tuple(files), self.data_root, self.needs.threads)

    def _survey(self) -> None:
        """Ask every node what it has begun for this sweep: an earlier driver may have been killed."""
        look = self.ray.remote(num_cpus=0, max_retries=0)(node.there)
        asked = {look.options(scheduling_strategy=self._at(n)).remote(self.sweep): n for n in self._alive()}
        ready, _ = self.ray.wait(list(asked), num_returns=len(asked), timeout=SURVEY)
        for reference in ready:
            with contextlib.suppress(self.ray.exceptions.RayError):
                self._nodes |= dict.fromkeys(self.ray.get(reference), asked[reference])

    def _forget(self, keys: list[str] | None) -> list[Any]:
        task = self.ray.remote(num_cpus=0, max_retries=0)(node.forget)
        return [task.options(scheduling_strategy=self._at(n)).remote(self.sweep, keys) for n in self._alive()]

    def _alive(self) -> list[str]:
        return [each["NodeID"] for each in self.ray.nodes() if each["Alive"]]

    def _at(self, where: str, soft: bool = False) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return NodeAffinitySchedulingStrategy(node_id=where, soft=soft)

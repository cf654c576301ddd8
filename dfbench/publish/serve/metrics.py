"""``/metrics`` in Prometheus' format: requests as this process sees them, jobs and workers as the store holds them."""

from __future__ import annotations

import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dfbench.publish.serve.store import Store, WorkerState

ALIVE = 10.0
"""Seconds after its last sign of life for which a worker counts as there."""


class Metrics:
    """What is counted.

    Args:
        store: Of the jobs.
    """

    def __init__(self, store: Store) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "dfbench_requests", "Requests by route and status.", ["route", "method", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "dfbench_request_seconds", "Seconds to the end of the response.", ["route"], registry=self.registry
        )
        self.bytes = Counter("dfbench_upload_bytes", "Bytes of uploads that were accepted.", registry=self.registry)
        self.restarts = Counter("dfbench_worker_restarts", "Workers that were replaced.", registry=self.registry)
        self.registry.register(_OfTheStore(store))

    def text(self) -> bytes:
        """The page."""
        return generate_latest(self.registry)


class _OfTheStore(Collector):
    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterable[Metric]:
        totals = self._store.totals()
        jobs = GaugeMetricFamily("dfbench_jobs", "Jobs in the store by state.", labels=["state"])
        for state in ("receiving", "queued", "running", "done", "failed"):
            jobs.add_metric([state], totals.jobs.get(state, 0))
        yield jobs
        ended = CounterMetricFamily(
            "dfbench_jobs_ended", "Jobs by how they ended: a verdict, or why they failed.", labels=["state", "what"]
        )
        for labels, count in totals.ended.items():
            ended.add_metric(labels, count)
        yield ended
        yield CounterMetricFamily("dfbench_job_seconds", "Seconds of jobs from start to end.", value=totals.seconds)
        yield GaugeMetricFamily("dfbench_workers_ready", "Workers that can judge.", value=len(alive(self._store)))


def alive(store: Store) -> list[WorkerState]:
    """Workers that have given a sign of life lately."""
    return [worker for worker in store.workers() if time.time() - worker.seen < ALIVE]

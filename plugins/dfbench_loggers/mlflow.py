"""``--log mlflow``: MLflow Tracking, on a server, a database or a folder."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from pydantic import Field

from dfbench import (
    Evaluated,
    ExperienceFinished,
    Logger,
    LoggerConfig,
    RunFinished,
    RunStarted,
    RunStopped,
    TrainingStep,
)
from dfbench_loggers.names import flat, row, summary

RUN_TAG = "dfbench.run"


class MlflowConfig(LoggerConfig):
    """Options of ``mlflow``."""

    uri: str | None = Field(None, description="tracking server (default: MLflow's own, $MLFLOW_TRACKING_URI)")
    experiment: str = Field("", description="MLflow experiment (default: the benchmark's name)")


class MlflowLogger(Logger):
    """One MLflow run per dfbench run, identified by a tag. Only the client is used, never MLflow's global state."""

    Config: ClassVar = MlflowConfig

    def __init__(self, config: LoggerConfig) -> None:
        super().__init__(config)
        self._mlflow = self.require("mlflow")
        self._client: Any = None
        self._run: str | None = None
        self._status = "KILLED"

    def run_started(self, event: RunStarted) -> None:
        """Begin the run, or resume it if it did not finish."""
        client = self._client = self._mlflow.MlflowClient(tracking_uri=self.config.uri)
        name = self.config.experiment or str(event.spec["benchmark"])
        experiment = client.get_experiment_by_name(name)
        identity = experiment.experiment_id if experiment is not None else client.create_experiment(name)
        found = client.search_runs([identity], f"tags.`{RUN_TAG}` = '{event.run}' and attributes.status != 'FINISHED'")
        if found:
            self._run = found[0].info.run_id
            client.update_run(self._run, status="RUNNING")
            return
        made = client.create_run(identity, run_name=event.run, tags={RUN_TAG: event.run})
        self._run = made.info.run_id
        for key, value in flat(event.spec).items():
            client.log_param(self._run, key, value)

    def _log(self, values: dict[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        metric = self._mlflow.entities.Metric
        self._client.log_batch(self._run, metrics=[metric(_name(k), v, now, step) for k, v in values.items()])

    def training_step(self, event: TrainingStep) -> None:
        """Log the running loss, over optimizer steps."""
        self._log({"train/loss": event.loss}, event.step)

    def experience_finished(self, event: ExperienceFinished) -> None:
        """Log the seconds of a training."""
        self._log({"train/seconds": event.seconds}, event.number)

    def evaluated(self, event: Evaluated) -> None:
        """Log a row of R, over the number of trainings."""
        self._log(dict(row(event)), event.number)

    def run_finished(self, event: RunFinished) -> None:
        """Log the final metrics."""
        self._log(summary(event), 0)
        self._status = "FINISHED"

    def run_stopped(self, event: RunStopped) -> None:
        """Have :meth:`close` mark the run as failed."""
        self._status = "FAILED"

    def close(self) -> None:
        """Set the status of the run: finished, failed or killed."""
        if self._run is not None:
            self._client.set_terminated(self._run, self._status)


def _name(metric: str) -> str:
    """``metric`` in the characters that MLflow allows: letters, digits, and ``_-. :/``."""
    return "".join(c if c.isalnum() or c in "_-. :/" else "_" for c in metric)

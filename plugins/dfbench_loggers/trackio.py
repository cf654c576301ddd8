"""``--log trackio``: Trackio, a tracker that keeps its runs on this machine (``trackio show``)."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from dfbench import Evaluated, ExperienceFinished, Logger, LoggerConfig, RunFinished, RunStarted, TrainingStep
from dfbench_loggers.names import flat, row, summary


class TrackioConfig(LoggerConfig):
    """Options of ``trackio``."""

    project: str = Field("dfbench", description="project")
    space: str | None = Field(None, description="Hugging Face Space to send the run to (default: this machine alone)")


class TrackioLogger(Logger):
    """One Trackio run a dfbench run, by the same name, so an interrupted run goes on in it."""

    Config: ClassVar = TrackioConfig

    def __init__(self, config: LoggerConfig) -> None:
        super().__init__(config)
        self._trackio = self.require("trackio")
        self._run: Any = None

    def run_started(self, event: RunStarted) -> None:
        """Begin, or go on with, the run."""
        self._run = self._trackio.init(
            project=self.config.project,
            name=event.run,
            space_id=self.config.space,
            config=flat(event.spec),
            resume="allow",
        )

    def training_step(self, event: TrainingStep) -> None:
        """The running loss."""
        self._run.log({"train/loss": event.loss, "optimizer_step": event.step})

    def experience_finished(self, event: ExperienceFinished) -> None:
        """Cost of a training."""
        self._run.log({"train/seconds": event.seconds, "optimizer_step": event.step})

    def evaluated(self, event: Evaluated) -> None:
        """A row of R."""
        self._run.log({**dict(row(event)), "trainings": event.number})

    def run_finished(self, event: RunFinished) -> None:
        """The final metrics."""
        self._run.log(summary(event))

    def close(self) -> None:
        """Write out what is left."""
        if self._run is not None:
            self._run.finish()

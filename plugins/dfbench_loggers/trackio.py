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
    """One Trackio run per dfbench run, of the same name, so that a resumed run continues it."""

    Config: ClassVar = TrackioConfig

    def __init__(self, config: LoggerConfig) -> None:
        super().__init__(config)
        self._trackio = self.require("trackio")
        self._run: Any = None

    def run_started(self, event: RunStarted) -> None:
        """Begin or resume the run."""
        self._run = self._trackio.init(
            project=self.config.project,
            name=event.run,
            space_id=self.config.space,
            config=flat(event.spec),
            resume="allow",
        )

    def training_step(self, event: TrainingStep) -> None:
        """Log the running loss."""
        self._run.log({"train/loss": event.loss, "optimizer_step": event.step})

    def experience_finished(self, event: ExperienceFinished) -> None:
        """Log the seconds of a training."""
        self._run.log({"train/seconds": event.seconds, "optimizer_step": event.step})

    def evaluated(self, event: Evaluated) -> None:
        """Log a row of R."""
        self._run.log({**dict(row(event)), "trainings": event.number})

    def run_finished(self, event: RunFinished) -> None:
        """Log the final metrics."""
        self._run.log(summary(event))

    def close(self) -> None:
        """Write what is buffered."""
        if self._run is not None:
            self._run.finish()

"""``--log wandb``: Weights & Biases. Login, proxies and folders are configured in wandb (``wandb login``)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

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
from dfbench_loggers.names import row, summary


class WandbConfig(LoggerConfig):
    """Options of ``wandb``."""

    project: str = Field("dfbench", description="project")
    entity: str | None = Field(None, description="user or team (default: wandb's own)")
    mode: Literal["online", "offline"] | None = Field(None, description="offline: synchronise later with wandb sync")


class WandbLogger(Logger):
    """One wandb run per dfbench run, of the same id, so that a resumed run continues it."""

    Config: ClassVar = WandbConfig

    def __init__(self, config: LoggerConfig) -> None:
        super().__init__(config)
        self._wandb = self.require("wandb")
        self._run: Any = None
        self._failed = False

    def run_started(self, event: RunStarted) -> None:
        """Begin or resume the run."""
        self._run = self._wandb.init(
            project=self.config.project,
            entity=self.config.entity,
            mode=self.config.mode,
            id=event.run,
            name=event.run,
            resume="allow",
            dir=str(event.folder),
            config=dict(event.spec),
            settings=self._wandb.Settings(silent=True, console="off"),
        )
        self._run.define_metric("step")
        self._run.define_metric("trainings")
        self._run.define_metric("train/*", step_metric="step")
        self._run.define_metric("test/*", step_metric="trainings")

    def training_step(self, event: TrainingStep) -> None:
        """Log the running loss."""
        self._run.log({"train/loss": event.loss, "step": event.step})

    def experience_finished(self, event: ExperienceFinished) -> None:
        """Log the seconds of a training."""
        self._run.log({"train/seconds": event.seconds, "step": event.step})

    def evaluated(self, event: Evaluated) -> None:
        """Log a row of R."""
        self._run.log({**dict(row(event)), "trainings": event.number})

    def run_finished(self, event: RunFinished) -> None:
        """Put the final metrics into the summary."""
        self._run.summary.update(summary(event))

    def run_stopped(self, event: RunStopped) -> None:
        """Have :meth:`close` mark the run as failed."""
        self._failed = True

    def close(self) -> None:
        """Send what is buffered."""
        if self._run is not None:
            self._run.finish(exit_code=int(self._failed))

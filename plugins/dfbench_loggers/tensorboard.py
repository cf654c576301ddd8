"""``--log tensorboard``: event files for TensorBoard, in the run's folder."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from pydantic import Field

from dfbench import (
    Evaluated,
    ExperienceFinished,
    Logger,
    LoggerConfig,
    MidTrainingEvaluated,
    RunFinished,
    RunResumed,
    RunStarted,
    TrainingStep,
)
from dfbench_loggers.names import flat, row, summary


class TensorBoardConfig(LoggerConfig):
    """Options of ``tensorboard``."""

    folder: str = Field("", description="where the event files go (default: tensorboard/ in the run's folder)")


class TensorBoardLogger(Logger):
    """Losses over optimizer steps, rows of R over trainings, and the spec with the final metrics (HPARAMS)."""

    Config: ClassVar = TensorBoardConfig

    def __init__(self, config: LoggerConfig) -> None:
        super().__init__(config)
        self.require("tensorboard")
        self._module = self.require("torch.utils.tensorboard", "tensorboard")
        self._writer: Any = None
        self._spec: dict[str, Any] = {}
        self._names: tuple[str, ...] = ()

    def run_started(self, event: RunStarted) -> None:
        """Open the event file and log the spec."""
        self._open(event, None)

    def run_resumed(self, event: RunResumed) -> None:
        """As :meth:`run_started`; what was logged of the unfinished training is hidden."""
        # A detector whose steps are hidden counts none, and nothing of it is to be hidden.
        self._open(event, event.step + 1 if event.step else None)

    def _open(self, event: RunStarted, purge_step: int | None) -> None:
        # One folder for several runs: TensorBoard expects a subfolder per run.
        folder = f"{self.config.folder}/{event.run}" if self.config.folder else str(event.folder / "tensorboard")
        self._writer = self._module.SummaryWriter(folder, purge_step=purge_step)
        self._spec, self._names = flat(event.spec), event.experiences
        self._writer.add_text("spec", f"```json\n{json.dumps(event.spec, indent=1)}\n```", 0)

    def training_step(self, event: TrainingStep) -> None:
        """Log the running loss."""
        self._writer.add_scalar("train/loss", event.loss, event.step)

    def mid_training_evaluated(self, event: MidTrainingEvaluated) -> None:
        """Log curves inside a training."""
        for name, value in zip(self._names, event.values, strict=True):
            if value is not None:
                self._writer.add_scalar(f"mid_training/{event.metric}/{name}", value, event.step)

    def experience_finished(self, event: ExperienceFinished) -> None:
        """Log the seconds of a training and the samples stored."""
        self._writer.add_scalar("train/seconds", event.seconds, event.number)
        self._writer.add_scalar("train/stored_samples", event.stored_samples, event.number)

    def evaluated(self, event: Evaluated) -> None:
        """Log a row of R, over the number of trainings."""
        for name, value in row(event):
            self._writer.add_scalar(name, value, event.number)
        self._writer.flush()

    def run_finished(self, event: RunFinished) -> None:
        """Log the final metrics with the spec."""
        plain = {k: v if isinstance(v, bool | int | float | str) else json.dumps(v) for k, v in self._spec.items()}
        self._writer.add_hparams(plain, summary(event), run_name=".")

    def close(self) -> None:
        """Write what is buffered."""
        if self._writer is not None:
            self._writer.close()

"""The loggers that come with dfbench, on its public API alone. Each is a file that is imported when it is used."""

from __future__ import annotations

from dfbench import LoggerEntry, hookimpl


@hookimpl
def register_loggers() -> list[LoggerEntry]:
    """The loggers of ``dfbench eval --log``."""
    own = "dfbench_loggers"
    return [
        LoggerEntry("jsonl", f"{own}.jsonl:JsonlLogger", "every event as a line of events.jsonl in the run's folder"),
        LoggerEntry("tensorboard", f"{own}.tensorboard:TensorBoardLogger", "TensorBoard event files (tensorboard)"),
        LoggerEntry("wandb", f"{own}.wandb:WandbLogger", "Weights & Biases (wandb)"),
        LoggerEntry("mlflow", f"{own}.mlflow:MlflowLogger", "MLflow Tracking (mlflow)"),
        LoggerEntry("trackio", f"{own}.trackio:TrackioLogger", "Trackio, Hugging Face's local tracker (trackio)"),
    ]

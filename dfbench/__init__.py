"""dfbench: continual-learning benchmarks for deepfake detectors.

The names below are the public API that plugins build on. They are imported when first used, so that
``import dfbench`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dfbench.hookspecs import (
    BenchmarkEntry,
    CommandEntry,
    DetectorEntry,
    LoggerEntry,
    MetricEntry,
    ReproductionEntry,
    SourceEntry,
    StrategyEntry,
    ZooEntry,
    hookimpl,
)

if TYPE_CHECKING:
    from dfbench.data.loader import Batch, endless
    from dfbench.data.samples import Samples
    from dfbench.data.units import Units, clip_pairs, clips, frames, pairs
    from dfbench.errors import DataError, DfbenchError, IncompatibleError, PluginError, UsageError
    from dfbench.options import later
    from dfbench.runs.events import (
        Evaluated,
        Event,
        ExperienceFinished,
        ExperienceStarted,
        Logger,
        LoggerConfig,
        MeasuredWithin,
        RunFinished,
        RunResumed,
        RunStarted,
        RunStopped,
        TrainingStep,
    )
    from dfbench.training.dataset import unit_dataset, unit_ids
    from dfbench.training.detector import Detector, DetectorConfig, EpochConfig, Task
    from dfbench.training.loop import Loop
    from dfbench.training.modeling import lift_one_logit, normalize
    from dfbench.training.strategies import Memory, Need, Strategy, StrategyConfig, StrategyContext

__version__ = "0.1.0.dev0"

_LAZY = {
    "Batch": "dfbench.data.loader",
    "Samples": "dfbench.data.samples",
    "Units": "dfbench.data.units",
    "clip_pairs": "dfbench.data.units",
    "clips": "dfbench.data.units",
    "endless": "dfbench.data.loader",
    "frames": "dfbench.data.units",
    "pairs": "dfbench.data.units",
    "Detector": "dfbench.training.detector",
    "DetectorConfig": "dfbench.training.detector",
    "EpochConfig": "dfbench.training.detector",
    "Task": "dfbench.training.detector",
    "DataError": "dfbench.errors",
    "DfbenchError": "dfbench.errors",
    "IncompatibleError": "dfbench.errors",
    "PluginError": "dfbench.errors",
    "UsageError": "dfbench.errors",
    "later": "dfbench.options",
    "lift_one_logit": "dfbench.training.modeling",
    "normalize": "dfbench.training.modeling",
    "Evaluated": "dfbench.runs.events",
    "Event": "dfbench.runs.events",
    "ExperienceFinished": "dfbench.runs.events",
    "ExperienceStarted": "dfbench.runs.events",
    "Logger": "dfbench.runs.events",
    "LoggerConfig": "dfbench.runs.events",
    "MeasuredWithin": "dfbench.runs.events",
    "RunFinished": "dfbench.runs.events",
    "RunResumed": "dfbench.runs.events",
    "RunStarted": "dfbench.runs.events",
    "RunStopped": "dfbench.runs.events",
    "TrainingStep": "dfbench.runs.events",
    "Loop": "dfbench.training.loop",
    "Memory": "dfbench.training.strategies",
    "Need": "dfbench.training.strategies",
    "Strategy": "dfbench.training.strategies",
    "StrategyConfig": "dfbench.training.strategies",
    "StrategyContext": "dfbench.training.strategies",
    "unit_dataset": "dfbench.training.dataset",
    "unit_ids": "dfbench.training.dataset",
}

__all__ = [
    "Batch",
    "BenchmarkEntry",
    "CommandEntry",
    "DataError",
    "Detector",
    "DetectorConfig",
    "DetectorEntry",
    "DfbenchError",
    "EpochConfig",
    "Evaluated",
    "Event",
    "ExperienceFinished",
    "ExperienceStarted",
    "IncompatibleError",
    "Logger",
    "LoggerConfig",
    "LoggerEntry",
    "Loop",
    "MeasuredWithin",
    "Memory",
    "MetricEntry",
    "Need",
    "PluginError",
    "ReproductionEntry",
    "RunFinished",
    "RunResumed",
    "RunStarted",
    "RunStopped",
    "Samples",
    "SourceEntry",
    "Strategy",
    "StrategyConfig",
    "StrategyContext",
    "StrategyEntry",
    "Task",
    "TrainingStep",
    "Units",
    "UsageError",
    "ZooEntry",
    "__version__",
    "clip_pairs",
    "clips",
    "endless",
    "frames",
    "hookimpl",
    "later",
    "lift_one_logit",
    "normalize",
    "pairs",
    "unit_dataset",
    "unit_ids",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'dfbench' has no attribute {name!r}")

"""Flat names for a spec and for rows of metrics, which the loggers of metric servers share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dfbench import Evaluated, RunFinished


def flat(spec: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping flattened to dotted names, such as ``detector_config.lr``."""
    result: dict[str, Any] = {}
    for key, value in spec.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[f"{prefix}{key}"] = value
    return result


def row(event: Evaluated) -> Iterator[tuple[str, float]]:
    """``test/auc/EXPERIENCE`` and its value, for values that are defined."""
    for metric, values in event.metrics.items():
        for experience, value in values.items():
            if value is not None:
                yield f"test/{metric}/{experience}", value


def summary(event: RunFinished) -> dict[str, float]:
    """The continual metrics of the record that are defined, as ``final/forgetting``."""
    return {f"final/{name}": value for name, value in event.record.metrics.items() if value is not None}

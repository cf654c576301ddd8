"""``effort``: CLIP's image tower whose smallest singular directions train, as a dfbench plugin."""

from __future__ import annotations

from dfbench import DetectorEntry, hookimpl


@hookimpl
def register_detectors() -> list[DetectorEntry]:
    """``effort``."""
    return [
        DetectorEntry(
            "effort",
            "dfbench_effort.detector:Effort",
            "CLIP's image tower, trained in the smallest singular directions of its attention (Effort)",
            presets=("paper", "lite"),
        )
    ]

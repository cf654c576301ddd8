"""``tall``: frames of a clip laid out as one picture, as a dfbench plugin."""

from __future__ import annotations

from dfbench import DetectorEntry, hookimpl


@hookimpl
def register_detectors() -> list[DetectorEntry]:
    """``tall``."""
    return [
        DetectorEntry(
            "tall",
            "dfbench_tall.detector:Tall",
            "frames of a clip laid out as one thumbnail picture, for any network of timm (TALL)",
            presets=("paper", "lite"),
            benchmark="forge5-clips",
        )
    ]

"""``spsl``: spatial-phase shallow learning, as a dfbench plugin."""

from __future__ import annotations

from dfbench import DetectorEntry, hookimpl


@hookimpl
def register_detectors() -> list[DetectorEntry]:
    """``spsl``."""
    return [
        DetectorEntry(
            "spsl",
            "dfbench_spsl.detector:SPSL",
            "Xception on a picture and its phase spectrum (SPSL)",
            presets=("paper", "deepfakebench", "lite"),
        )
    ]

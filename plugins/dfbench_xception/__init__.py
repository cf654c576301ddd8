"""``xception``: the field's baseline detector, as a dfbench plugin."""

from __future__ import annotations

from dfbench import DetectorEntry, hookimpl


@hookimpl
def register_detectors() -> list[DetectorEntry]:
    """``xception``."""
    return [
        DetectorEntry(
            "xception",
            "dfbench_xception.detector:Xception",
            "Xception (FaceForensics++ baseline)",
            presets=("paper", "lite"),
        )
    ]

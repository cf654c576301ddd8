"""``f3net``: F3-Net, frequency in face forgery, as a dfbench plugin."""

from __future__ import annotations

from dfbench import DetectorEntry, hookimpl


@hookimpl
def register_detectors() -> list[DetectorEntry]:
    """``f3net``."""
    return [
        DetectorEntry(
            "f3net",
            "dfbench_f3net.detector:F3Net",
            "two Xceptions on DCT bands and on local DCT statistics (F3-Net)",
            presets=("paper", "deepfakebench", "lite"),
        )
    ]

"""``srm``: two streams on a picture and its high-frequency residuals, as a dfbench plugin."""

from __future__ import annotations

from dfbench import DetectorEntry, hookimpl


@hookimpl
def register_detectors() -> list[DetectorEntry]:
    """``srm``."""
    return [
        DetectorEntry(
            "srm",
            "dfbench_srm.detector:SRM",
            "two Xceptions on a picture and its SRM residuals, which attend to each other",
            presets=("paper", "lite"),
        )
    ]

"""``mesonet``: Meso-4 and MesoInception-4, as a dfbench plugin."""

from __future__ import annotations

from dfbench import DetectorEntry, hookimpl


@hookimpl
def register_detectors() -> list[DetectorEntry]:
    """``mesonet``."""
    return [
        DetectorEntry(
            "mesonet",
            "dfbench_mesonet.detector:MesoNet",
            "Meso-4 and MesoInception-4, 28 thousand parameters",
            presets=("paper", "lite"),
        )
    ]

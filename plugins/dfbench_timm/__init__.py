"""``timm``: any network of timm as a detector, as a dfbench plugin."""

from __future__ import annotations

from dfbench import DetectorEntry, hookimpl


@hookimpl
def register_detectors() -> list[DetectorEntry]:
    """``timm``."""
    return [
        DetectorEntry(
            "timm",
            "dfbench_timm.detector:Timm",
            "any network of timm, --set network=NAME",
            presets=("efficientnet_b4", "lite"),
        )
    ]

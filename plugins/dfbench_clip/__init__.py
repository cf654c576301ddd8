"""``univfd``: a linear probe on CLIP, as a dfbench plugin."""

from __future__ import annotations

from dfbench import DetectorEntry, hookimpl


@hookimpl
def register_detectors() -> list[DetectorEntry]:
    """``univfd``."""
    return [
        DetectorEntry(
            "univfd",
            "dfbench_clip.univfd:UnivFD",
            "a linear probe on the features of a frozen CLIP (UnivFD)",
            presets=("paper", "lite"),
        )
    ]

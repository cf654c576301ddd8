"""``sbi``: a detector that makes its own fakes from real faces, as a dfbench plugin."""

from __future__ import annotations

from dfbench import DetectorEntry, hookimpl


@hookimpl
def register_detectors() -> list[DetectorEntry]:
    """``sbi``."""
    return [
        DetectorEntry(
            "sbi",
            "dfbench_sbi.detector:SBI",
            "self-blended images: fakes made from the real faces of the stream (our implementation)",
            presets=("paper", "lite"),
        )
    ]

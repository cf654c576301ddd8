"""``simple_cnn``: the report's "simple model", as a dfbench plugin."""

from __future__ import annotations

from dfbench import DetectorEntry, hookimpl


@hookimpl
def register_detectors() -> list[DetectorEntry]:
    """``simple_cnn``."""
    return [DetectorEntry("simple_cnn", "dfbench_simple_cnn.detector:SimpleCNN", "small CNN for a laptop CPU")]

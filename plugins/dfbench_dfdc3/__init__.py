"""``dfdc3``: the third-place solution of the Deepfake Detection Challenge, as a dfbench plugin."""

from __future__ import annotations

from dfbench import CommandEntry, DetectorEntry, hookimpl


@hookimpl
def register_detectors() -> list[DetectorEntry]:
    """``dfdc3``, one detector of three networks."""
    return [
        DetectorEntry(
            "dfdc3",
            "dfbench_dfdc3.detector:DFDC3",
            "DFDC_3: two frame networks and a clip network, trained on mixed aligned pairs",
            presets=("paper", "lite"),
            benchmark="forge5-clips",
        )
    ]


@hookimpl
def register_commands() -> list[CommandEntry]:
    """The converter of the published snapshots, and scores of videos with them."""
    return [
        CommandEntry("dfdc3", "dfbench_dfdc3.command:command", "Convert and use the published snapshots of DFDC_3.")
    ]

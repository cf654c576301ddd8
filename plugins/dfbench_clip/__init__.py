"""``univfd`` and ``clip_vit``: a linear probe on CLIP and CLIP's trained tower, as a dfbench plugin."""

from __future__ import annotations

from dfbench import DetectorEntry, hookimpl


@hookimpl
def register_detectors() -> list[DetectorEntry]:
    """``univfd`` and ``clip_vit``."""
    return [
        DetectorEntry(
            "univfd",
            "dfbench_clip.univfd:UnivFD",
            "a linear probe on the features of a frozen CLIP (UnivFD)",
            presets=("paper", "lite"),
        ),
        DetectorEntry(
            "clip_vit",
            "dfbench_clip.vit:ClipVit",
            "CLIP's image tower, trained by low-rank matrices (LoRA) or as a whole",
            presets=("lora", "full"),
        ),
    ]

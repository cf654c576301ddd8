"""One video of a public data set, as the set's reader describes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Item:
    """One video, or one folder of frames, or one picture of a public data set.

    Attributes:
        path: absolute; a video file, a folder of frame pictures, or one picture.
        video: name unique within the set (relative path without suffix).
        label: 0 real, 1 fake.
        split: ``train``, ``val`` or ``test``.
        method: forgery method or "real"; the field's names ("Deepfakes", …).
        identity: who is seen (for swaps: the target person), None where unknown.
        pair: ``video`` of the real partner that is aligned frame by frame, for fakes; else None.
        mask: forgery mask video where it lies next to the videos.
        kind: ``video``, ``frames`` or ``picture``.
        cropped: pictures that are face crops already: no detection.
        source: which part of a data set that gathers several; None: the data set itself. For the column ``source``.
    """

    path: Path
    video: str
    label: int
    split: str
    method: str
    identity: str | None
    pair: str | None
    mask: Path | None
    kind: str = "video"
    cropped: bool = False
    source: str | None = None

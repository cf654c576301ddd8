"""The faces of a medium, joined to tracks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from dfbench.data.prepare.faces import FaceDetector, find_faces
from dfbench.data.prepare.kept_frames import KeptFrames
from dfbench.data.prepare.media import Frame, MediaError
from dfbench.data.prepare.tracks import Track, build_tracks, scene_changes

CLIP_STEP = 4
"""In a clip faces are searched in every fourth frame and the last; in between boxes are interpolated."""
THUMBNAIL = 32


def find_tracks(
    frames: KeptFrames,
    clips: Sequence[Sequence[int]],
    detector: FaceDetector,
    progress: Callable[[int, int], None] | None = None,
) -> list[Track]:
    """Tracks over the frames that can be decoded; ``frames.numbers`` becomes these.

    Args:
        frames: The wanted frames.
        clips: Their numbers, clip by clip.
        detector: Finds faces.
        progress: Receives (frames looked at, frames wanted).

    Raises:
        MediaError: none of them can be decoded.
    """
    searched = {number for clip in clips for number in [*clip[::CLIP_STEP], clip[-1]]}
    numbers: list[int] = []
    found: list[np.ndarray | None] = []
    thumbnails: list[np.ndarray] = []
    waiting: list[tuple[int, Frame]] = []
    facts, wanted = frames.facts, len(frames.numbers)

    def search() -> None:
        for (place, _), boxes in zip(
            waiting, find_faces([frame for _, frame in waiting], facts.width, facts.height, detector), strict=True
        ):
            found[place] = boxes
        waiting.clear()
        if progress is not None:
            progress(len(numbers), wanted)

    for number, frame in frames.frames(frames.numbers):
        numbers.append(number)
        thumbnails.append(frame.pixels(THUMBNAIL, THUMBNAIL))
        found.append(None)
        if number in searched:
            waiting.append((len(found) - 1, frame))
            if len(waiting) == 16:
                search()
    search()
    frames.numbers = numbers
    if not numbers:
        raise MediaError("none of the wanted frames can be decoded", "no_frames")
    return build_tracks(found, scene_changes(thumbnails))

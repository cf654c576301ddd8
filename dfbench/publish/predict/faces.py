"""From a medium to its faces over time, each with the crops that a detector is shown.

The way of ``dfbench data prepare`` (frames, faces, tracks, squares), but with every face instead of one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from dfbench.data.pictures import resize
from dfbench.data.prepare.crops import Square, around, square
from dfbench.data.prepare.faces import FaceDetector
from dfbench.data.prepare.kept_frames import KeptFrames
from dfbench.data.prepare.media import Media
from dfbench.data.prepare.options import spread
from dfbench.data.prepare.searching import find_tracks
from dfbench.data.prepare.tracks import Track

MOST = 16
"""Faces that are judged in a file; the largest ones that are seen for the longest time come first."""
SMALLEST = 32
"""Shorter side of a face's box in pixels, below which nothing can be said."""
AS_IT_IS = 256
"""Side of the crops, in pixels, for a checkpoint that takes pictures of any one size."""


@dataclass
class Look:
    """One look at a face: a frame, or a clip of consecutive frames with one box.

    Attributes:
        frames: Numbers of the frames, from 0.
        seconds: When the first of them is shown; None for a picture.
        where: The square that was cut out, in pixels of the upright frame.
        pixels: uint8 (H, W, 3), or (T, H, W, 3) for a clip.
    """

    frames: list[int]
    seconds: float | None
    where: Square
    pixels: np.ndarray


@dataclass
class Face:
    """One face from where it is found first to where it is lost.

    Attributes:
        looks: In the order of time.
        side: Median of the shorter sides of its boxes, in pixels.
    """

    side: float
    looks: list[Look] = field(default_factory=list)


@dataclass
class Found:
    """What was found in a medium.

    Attributes:
        faces: At most :data:`MOST`, the most prominent first.
        left_out: How many more there are.
        looked_at: Frames that were searched.
    """

    faces: list[Face]
    left_out: int
    looked_at: int


def find(
    medium: Media,
    detector: FaceDetector,
    *,
    frames: int,
    clip: int,
    margin: float,
    size: tuple[int, int] | None,
    progress: Callable[[int, int], None] | None = None,
) -> Found:
    """Find all faces of a picture or a video.

    Args:
        medium: The picture or video.
        detector: Finds faces.
        frames: How many are looked at, evenly spread over a video.
        clip: 0, or the length of the clips that the checkpoint judges.
        margin: Side of a crop as a multiple of the face's longer side.
        size: (height, width) of the crops; None: :data:`AS_IT_IS`.
        progress: Receives (frames looked at, frames wanted).

    Raises:
        MediaError: No frame can be decoded.
    """
    clips = spread(medium.facts.frames, max(frames, clip), clip)
    if not clips:
        return Found([], 0, 0)
    kept = KeptFrames(medium, [number for each in clips for number in each])
    tracks = sorted(find_tracks(kept, clips, detector, progress), key=lambda track: (-track.weight, track.start))
    place = {number: position for position, number in enumerate(kept.numbers)}
    chosen = tracks[:MOST]
    faces = [Face(_side(track)) for track in chosen]
    plans = [_plan(track, clips, place, margin, medium) for track in chosen]
    _cut(kept, faces, plans, size or (AS_IT_IS, AS_IT_IS), clip)
    seen = [face for face in faces if face.looks]
    return Found(seen, len(tracks) - len(chosen), len(kept.numbers))


def _side(track: Track) -> float:
    sides = (track.boxes[:, 2:] - track.boxes[:, :2]).min(axis=1)
    return float(np.median(sides))


def _plan(
    track: Track, clips: Sequence[Sequence[int]], place: dict[int, int], margin: float, medium: Media
) -> list[tuple[list[int], Square]]:
    """For each clip in which the face is there all the time: its frames, and where they are cut."""
    plan = []
    for clip in clips:
        positions = [place[number] for number in clip if number in place]
        if len(positions) < len(clip) or not (track.start <= positions[0] and positions[-1] < track.stop):
            continue
        box = around(np.stack([track.at(position) for position in positions]))
        plan.append((list(clip), square(box, margin, medium.facts.width, medium.facts.height)))
    return plan


def _cut(
    frames: KeptFrames,
    faces: Sequence[Face],
    plans: Sequence[Sequence[tuple[list[int], Square]]],
    size: tuple[int, int],
    clip: int,
) -> None:
    """Cut all faces in one pass over the frames; a clip that loses a frame is left out."""
    wanted: dict[int, list[tuple[int, int]]] = {}  # frame → (face, number of its look)
    for i, plan in enumerate(plans):
        for j, (numbers, _) in enumerate(plan):
            for number in numbers:
                wanted.setdefault(number, []).append((i, j))
    crops: dict[tuple[int, int], list[np.ndarray]] = {}
    times: dict[tuple[int, int], float | None] = {}
    for number, frame in frames.frames(sorted(wanted)):
        pixels = frame.pixels()
        for look in wanted[number]:
            where = plans[look[0]][look[1]][1]
            cut = pixels[where.y : where.y + where.side, where.x : where.x + where.side]
            crops.setdefault(look, []).append(resize(np.ascontiguousarray(cut), *size))
            times.setdefault(look, frame.seconds)
    for (i, j), parts in sorted(crops.items()):
        numbers, where = plans[i][j]
        if len(parts) == len(numbers):
            faces[i].looks.append(Look(numbers, times[i, j], where, np.stack(parts) if clip else parts[0]))

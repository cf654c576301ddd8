"""Faces joined over time: detections become tracks, gaps are filled, and one face per frame is chosen.

All boxes are float64 (left, top, right, bottom) in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

MAX_GAP = 2
"""Frames in a row that were searched without finding a face; after more a track has ended."""
MIN_IOU = 0.2
NEAR = 0.7
"""Boxes without overlap belong to one face if their centres are this near, in mean sides …"""
ALIKE = 1.7
"""… and neither is more than this many times as large as the other."""
SURE = 0.95
"""The score that a track needs at its best: what is found once and barely is no face."""


@dataclass(frozen=True, eq=False)
class Track:
    """One face from its first to its last detection.

    Attributes:
        start: position of the first frame, among the frames of the video that were looked at.
        boxes: (n, 4), one for each frame from there on; interpolated where there was no detection.
        scores: (n,) of the detections, 0 for interpolated boxes.
    """

    start: int
    boxes: np.ndarray
    scores: np.ndarray

    @property
    def stop(self) -> int:
        """Position after the last frame."""
        return self.start + len(self.boxes)

    @property
    def weight(self) -> float:
        """Its area, summed over its detections: large faces that are seen for long come first."""
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        return float((sides.prod(axis=1) * (self.scores > 0)).sum())

    def at(self, position: int) -> np.ndarray:
        """The box (4,) of a frame."""
        return self.boxes[position - self.start]


@dataclass
class _Open:
    positions: list[int] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)
    missed: int = 0


def iou(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of a box (4,) with boxes (k, 4): (k,)."""
    low, high = np.maximum(one[:2], others[:, :2]), np.minimum(one[2:4], others[:, 2:4])
    common = np.clip(high - low, 0, None).prod(axis=1)
    total = (one[2:4] - one[:2]).prod() + (others[:, 2:4] - others[:, :2]).prod(axis=1) - common
    return common / np.maximum(total, 1e-9)


def build_tracks(found: Sequence[np.ndarray | None], cuts: Sequence[bool]) -> list[Track]:
    """Join detections of consecutive frames.

    Args:
        found: for each frame (k, 5) boxes with scores, or None where nobody looked.
        cuts: for each frame whether the scene changed since the one before; a track ends there.

    Returns:
        the tracks, those that are surely no face left out.
    """
    done: list[_Open] = []
    active: list[_Open] = []
    for position, (boxes, cut) in enumerate(zip(found, cuts, strict=True)):
        if cut:
            done, active = done + active, []
        if boxes is None:
            continue
        free = set(range(len(boxes)))
        for track, row in _matches(active, boxes):
            track.positions.append(position)
            track.boxes.append(boxes[row])
            track.missed = -1
            free.remove(row)
        for track in active:
            track.missed += 1
        done += [track for track in active if track.missed > MAX_GAP]
        active = [track for track in active if track.missed <= MAX_GAP]
        active += [_Open([position], [boxes[row]]) for row in sorted(free)]
    tracks = [_filled(track) for track in done + active]
    return [track for track in tracks if track.scores.max() >= SURE]


def choose(tracks: Sequence[Track], forged: Sequence[float] | None = None) -> list[Track]:
    """The tracks to crop, at most one in any frame.

    A face that leaves and returns, or goes on after a cut, has several tracks; a second person has some that
    are there at the same time as those of the first, and is left out.

    Args:
        tracks: all of a video.
        forged: for each track how much of it was forged, by a mask or by comparison with the original. Tracks
            with less than half of the most are left out. None: the largest faces count.
    """
    order = sorted(range(len(tracks)), key=lambda i: (-tracks[i].weight, tracks[i].start))
    if forged is not None and len(tracks) and max(forged) > 0:
        order = [i for i in order if forged[i] >= max(forged) / 2]
        order.sort(key=lambda i: -forged[i])
    chosen: list[Track] = []
    for i in order:
        if all(tracks[i].stop <= other.start or other.stop <= tracks[i].start for other in chosen):
            chosen.append(tracks[i])
    return sorted(chosen, key=lambda track: track.start)


def share_inside(areas: np.ndarray, box: np.ndarray) -> float:
    """Share of what is forged in a frame that lies in a box.

    Args:
        areas: float (H, W), how much each pixel was changed.
        box: in pixels of this array.
    """
    left, top, right, bottom = (max(round(float(edge)), 0) for edge in box)
    total = float(areas.sum())
    return float(areas[top:bottom, left:right].sum()) / total if total > 0 else 0.0


def scene_changes(thumbnails: Sequence[np.ndarray]) -> list[bool]:
    """For each frame whether the scene is another one than in the frame before.

    Args:
        thumbnails: uint8 (h, w, 3), all of one size.
    """
    changes = [False] * len(thumbnails)
    for i in range(1, len(thumbnails)):
        before, now = thumbnails[i - 1].astype(np.float64), thumbnails[i].astype(np.float64)
        common = sum(
            np.minimum(*(np.histogram(each[..., channel], 16, (0, 256))[0] for each in (before, now))).sum()
            for channel in range(3)
        )
        changes[i] = bool(common / before.size < 0.6 and np.abs(now - before).mean() > 25)
    return changes


def _matches(active: Sequence[_Open], boxes: np.ndarray) -> list[tuple[_Open, int]]:
    """Tracks with the row of the box that goes on with each, best first; each at most once."""
    pairs = []
    for number, track in enumerate(active):
        last = track.boxes[-1]
        for row, score in enumerate(iou(last, boxes)):
            if score >= MIN_IOU or _near(last, boxes[row]):
                pairs.append((-float(score), _distance(last, boxes[row]), number, row))
    result: list[tuple[_Open, int]] = []
    used_tracks, used_rows = set(), set()
    for _, _, number, row in sorted(pairs):
        if number not in used_tracks and row not in used_rows:
            used_tracks.add(number)
            used_rows.add(row)
            result.append((active[number], row))
    return result


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    """Between the centres, in mean sides."""
    apart = np.hypot(*((one[:2] + one[2:4]) - (other[:2] + other[2:4])) / 2)
    return float(apart / max((one[2:4] - one[:2]).mean() + (other[2:4] - other[:2]).mean(), 1e-9) * 2)


def _near(one: np.ndarray, other: np.ndarray) -> bool:
    sides = sorted([float((one[2:4] - one[:2]).mean()), float((other[2:4] - other[:2]).mean())])
    return _distance(one, other) <= NEAR and sides[1] <= ALIKE * sides[0]


def _filled(track: _Open) -> Track:
    """With boxes interpolated between detections."""
    known, boxes = np.array(track.positions), np.stack(track.boxes)
    every = np.arange(known[0], known[-1] + 1)
    filled = np.column_stack([np.interp(every, known, boxes[:, column]) for column in range(4)])
    scores = np.zeros(len(every))
    scores[known - known[0]] = boxes[:, 4]
    return Track(int(known[0]), filled, scores)

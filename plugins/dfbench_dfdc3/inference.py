"""Choice of frames and pooling of their scores, as the solution was submitted to the challenge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

SAMPLED_RATE = 15
"""Frames per second that the networks look at, about."""
SEARCHED_EVERY = 3
"""Faces are searched in every third sampled frame; in between, boxes are interpolated."""
SHORTEST_TRACK = 19
"""Sampled frames of the shortest track that counts: seven detections."""
WINDOW = 7
"""Frames that network C sees at once."""
WINDOW_EVERY = 14
FRAME_EVERY = 2
NOTHING_SEEN = 0.5


@dataclass(frozen=True)
class Look:
    """One network's look at one frame of a track.

    Attributes:
        network: a, b or c.
        frame: index among the track's sampled frames.
        flipped: whether the frame is mirrored.
    """

    network: str
    frame: int
    flipped: bool = False


def sampling_step(fps: float) -> int:
    """Every how many frames one is sampled; 0: none. The rate is cut to a whole number first, as the solution does."""
    return round(int(fps) / SAMPLED_RATE)


def sampled(length: int, fps: float) -> np.ndarray:
    """The sampled frames of a track in which a face is visible all the time.

    It ends with the last frame in which faces are searched.

    Args:
        length: number of frames.
        fps: their rate.

    Returns:
        int64 frame indices, ascending; none below 7.5 frames per second.
    """
    step = sampling_step(fps)
    kept = np.arange(0, length, step) if step else np.arange(0)
    return kept[: max(0, (len(kept) - 1) // SEARCHED_EVERY * SEARCHED_EVERY + 1)]


def plan(length: int) -> tuple[Look, ...]:
    """The looks at a track.

    C sees windows of 7 frames, one every 14: the first is mirrored, and so is every second one after it. A and B see
    every second frame: numbered i, those with i mod 4 in {0, 1} go to A, the others to B, and even ones are mirrored.

    Args:
        length: number of its sampled frames; where they are fewer than a window, C has no look.

    Returns:
        A's looks, then B's, then C's.
    """
    looks = [Look("ab"[i % 4 // 2], frame, i % 2 == 0) for i, frame in enumerate(range(0, length, FRAME_EVERY))]
    for number, start in enumerate(range(0, length - WINDOW + 1, WINDOW_EVERY)):
        looks += [Look("c", frame, number % 2 == 0) for frame in range(start, start + WINDOW)]
    return tuple(sorted(looks, key=lambda look: look.network))


def counts(looks: Sequence[Look]) -> tuple[int, int, int]:
    """Number of looks of A, B and C."""
    a, b, c = (sum(look.network == name for look in looks) for name in "abc")
    return a, b, c


def pool(probabilities: torch.Tensor) -> torch.Tensor:
    """Pool the scores of all looks, of all networks and tracks. Confident looks count more.

    d = p − ½;  p' = clip(½ + sign(d)·|d|^0.65, .01, .99);  w = |d| + 10⁻⁴;  score = Σ p'w / Σ w.

    Args:
        probabilities: P(fake), (N, K).

    Returns:
        (N,); ½ if there is no look (no frame, no face).
    """
    if probabilities.shape[1] == 0:
        return probabilities.new_full((len(probabilities),), NOTHING_SEEN)
    d = probabilities - 0.5
    sharpened = (0.5 + d.sign() * d.abs() ** 0.65).clamp(0.01, 0.99)
    weight = d.abs() + 1e-4
    return (sharpened * weight).sum(1) / weight.sum(1)

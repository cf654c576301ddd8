"""Choice of frames and pooling of their scores, as the solution was submitted to the challenge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

FRAME_RATE = 15.0
"""Frames per second that the networks look at."""
WINDOW = 7
"""Frames that network C sees at once."""
WINDOW_EVERY = 14
FRAME_EVERY = 2
NOTHING_SEEN = 0.5


@dataclass(frozen=True)
class Look:
    """One network's look at one frame of the clip.

    Attributes:
        network: a, b or c.
        frame: index in the clip as it is stored.
        flipped: whether the frame is mirrored.
    """

    network: str
    frame: int
    flipped: bool = False


def plan(length: int, fps: float) -> tuple[Look, ...]:
    """The looks at a clip.

    The video is thinned to about 15 frames per second. Of the frames left, C sees windows of 7, one every 14. A and B
    see every second frame: numbered i, those with i mod 4 in {0, 1} go to A, the others to B, even ones mirrored. A
    clip too short for a window has none.

    Args:
        length: number of stored frames.
        fps: their rate.

    Returns:
        A's looks, then B's, then C's.
    """
    kept = range(0, length, max(1, round(fps / FRAME_RATE)))
    looks = [Look("a" if i % 4 < 2 else "b", frame, i % 2 == 0) for i, frame in enumerate(kept[::FRAME_EVERY])]
    starts = range(0, len(kept) - WINDOW + 1, WINDOW_EVERY)
    looks += [Look("c", frame) for start in starts for frame in kept[start : start + WINDOW]]
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

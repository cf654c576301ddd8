"""The colours of accuracy matrices: the same on the leaderboard, in reports and in pictures, by day and by night.

Two hues meet at a pale middle. For an AUC the middle is chance, so that a network that calls fakes real stands out; of
other metrics only the upper half is used, from the least value to 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

STOPS: tuple[tuple[float, tuple[int, int, int]], ...] = (
    (0.0, (104, 38, 12)),
    (0.15, (163, 72, 26)),
    (0.3, (214, 133, 74)),
    (0.42, (240, 200, 156)),
    (0.5, (247, 242, 230)),
    (0.6, (205, 226, 215)),
    (0.7, (146, 200, 190)),
    (0.8, (82, 163, 157)),
    (0.9, (28, 117, 116)),
    (1.0, (5, 72, 77)),
)
"""Position, 0 to 1 → sRGB. In even steps of lightness: the figures read without colour, too."""
FRAMED, SMALLER = "framed: just trained on", "smaller: not yet trained on"
"""How cells on and above the diagonal are marked, for keys."""


def middle(metric: str, values: Iterable[float]) -> float:
    """The value of the pale colour: chance of an AUC, else the least of the values; below 1."""
    if metric.endswith("auc"):
        return 0.5
    low = min((value for value in values if math.isfinite(value)), default=0.0)
    return low if low < 1 else 0.0


def position(value: float, low: float) -> float:
    """Where a value lies on the scale, 0 to 1, the pale colour being at ``low``."""
    return min(max(0.5 + 0.5 * (value - low) / (1 - low), 0.0), 1.0)


def colour(share: float) -> tuple[float, float, float]:
    """sRGB of a position, each 0 to 1."""
    after = next(i for i, (stop, _) in enumerate(STOPS) if share <= stop or i == len(STOPS) - 1)
    (a, low), (b, high) = STOPS[max(after - 1, 0)], STOPS[after]
    part = 0.0 if a == b else (share - a) / (b - a)
    red, green, blue = ((x + (y - x) * part) / 255 for x, y in zip(low, high, strict=True))
    return red, green, blue


def ink(rgb: tuple[float, float, float]) -> str:
    """``white`` or ``black``, whichever has more contrast on a colour (WCAG 2)."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in rgb]
    light = sum(weight * v for weight, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return "white" if 1.05 / (light + 0.05) > (light + 0.05) / 0.05 else "black"

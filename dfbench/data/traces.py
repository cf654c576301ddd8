"""What the border of a picture says about its processing: compression, resampling, colour, noise.

Where a forgery changes the face, the border shows the same scene in reals and fakes. What differs there is how the
files were made. Of a picture that is generated as a whole the border is forged, too, and the generator's own traces
cannot be told from those of the processing.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

PERIOD = 8
"""Side of the blocks of JPEG and of most transforms of video codecs, pixels."""

BANDS = 12
"""Bands of spatial frequency, from 0 to the highest."""

LEAST, MOST = 8, 64
"""Rows of a strip; more cost time and say little more."""


SMALLEST = 16
"""Pixels that a picture needs on each side."""


def traces(picture: np.ndarray) -> dict[str, float]:
    """Features of the four strips along a picture's edges, each an eighth of the shorter side high (8
    to 64 pixels): in a crop of 1.3 times the face's box, what is around the box.

    Args:
        picture: RGB, uint8 (H, W, 3), at least :data:`SMALLEST` pixels on each side.

    Returns:
        In both directions: how strong the step over each of the eight phases of a block is, as a share of the mean
        step; power in bands of spatial frequency, and how far its highest peak stands out, as after resampling with a
        rational factor (Gallagher, Detection of Linear and Cubic Interpolation in JPEG Compressed Images, 2005);
        then the detail of the colours against that of the brightness, the colours' mean and spread, noise, and shares
        of equal neighbours and of saturated values.
    """
    found: dict[str, float] = {}
    strips: list[np.ndarray] = []
    for name, turned in (("across", picture), ("down", picture.transpose(1, 0, 2))):
        # Whole rows of the picture, so that a phase counts from the picture's own edge.
        height = min(len(turned), MOST, max(LEAST, min(picture.shape[:2]) // 8))
        both = [np.ascontiguousarray(part) for part in (turned[:height], turned[-height:])]
        strips += both
        found |= {f"{feature} {name}": value for feature, value in _along(both).items()}
    return found | _colours(strips)


def _along(strips: Sequence[np.ndarray]) -> dict[str, float]:
    """Features of the horizontal direction."""
    grey = [cv2.cvtColor(strip, cv2.COLOR_RGB2GRAY).astype(np.float64) for strip in strips]
    steps = np.mean([np.abs(np.diff(g, axis=1)).mean(axis=0) for g in grey], axis=0)  # (W - 1,)
    level = steps.mean() + 1e-6
    found = {f"step {phase}": float(steps[phase::PERIOD].mean() / level) for phase in range(min(PERIOD, len(steps)))}
    found |= {f"band {k}": value for k, value in enumerate(_bands(grey))}
    bends = np.mean([np.abs(np.diff(g, 2, axis=1)).mean(axis=0) for g in grey], axis=0)  # (W - 2,)
    spectrum = np.abs(np.fft.rfft(bends - bends.mean()))[1:]
    found["peak"] = (
        float(np.log((spectrum.max(initial=0) + 1e-6) / (np.median(spectrum) + 1e-6))) if len(spectrum) else 0
    )
    return found


def _bands(grey: Sequence[np.ndarray]) -> list[float]:
    """Log power of the rows in bands of frequency, less their mean: the level is the scene's, the shape is not."""
    window = np.hanning(grey[0].shape[1])
    power = np.mean([(np.abs(np.fft.rfft((g - g.mean()) * window, axis=1)) ** 2).mean(axis=0) for g in grey], axis=0)
    logs = [float(np.log(part.mean() + 1e-3)) for part in np.array_split(power, BANDS) if len(part)]
    return [value - float(np.mean(logs)) for value in logs]


def _colours(strips: Sequence[np.ndarray]) -> dict[str, float]:
    """Features that have no direction."""
    values = np.concatenate([strip.reshape(-1, 3) for strip in strips])
    parts = [cv2.cvtColor(strip, cv2.COLOR_RGB2YCrCb).astype(np.float64) for strip in strips]
    bends = [np.diff(part, 2, axis=1).reshape(-1, 3) for part in parts]
    detail = np.log(np.mean([np.abs(each).mean(axis=0) for each in bends], axis=0) + 0.01)
    luma = np.concatenate([each[:, 0] for each in bends])
    found = {"detail of red": float(detail[1] - detail[0]), "detail of blue": float(detail[2] - detail[0])}
    for k, name in enumerate(("red", "green", "blue")):
        found |= {f"mean {name}": float(values[:, k].mean()), f"spread {name}": float(values[:, k].std())}
    return found | {
        "noise": float(np.log(np.median(np.abs(luma)) + 0.1)),
        "equal neighbours": float((luma == 0).mean()),
        "saturated": float(((values == 0) | (values == 255)).mean()),
    }


def mean_traces(pictures: Sequence[np.ndarray]) -> dict[str, float] | None:
    """The mean of each feature over several pictures; None where all are too small."""
    found = [traces(picture) for picture in pictures if min(picture.shape[:2]) >= SMALLEST]
    if not found:
        return None
    return {name: float(np.mean([each[name] for each in found])) for name in found[0]}

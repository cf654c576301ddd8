"""Where a face is in a crop: a mean outline, placed at random around where the crop's margin puts it.

The authors take the convex hull of 81 landmarks that dlib finds in each picture. Tables of samples have no landmarks.
"""

from __future__ import annotations

import numpy as np

from dfbench_sbi.opencv import cv2

OUTLINE = np.array(
    [
        (0.0, -0.5), (0.115, -0.497), (0.211, -0.48), (0.302, -0.444), (0.36, -0.389), (0.397, -0.321),
        (0.418, -0.249), (0.426, -0.157), (0.422, -0.071), (0.418, 0.017), (0.406, 0.113), (0.38, 0.211),
        (0.341, 0.29), (0.296, 0.349), (0.237, 0.4), (0.189, 0.438), (0.138, 0.47), (0.077, 0.493), (0.0, 0.5),
    ]
)  # fmt: skip
"""Right half of a face's outline from forehead to chin, x first, in face heights from the middle of the face: the mean
of the 36 outer landmarks of the embedded pack's 240 training portraits, both sides averaged."""
BROWS, EYES, NOSE = -0.29, -0.19, 0.1
"""Heights of the brows, the eyes and the tip of the nose, likewise."""
TOPS = ((-0.5, 0.5), (BROWS - 0.04, 0.3), (EYES - 0.06, 0.1), (NOSE - 0.05, 0.1))
"""Upper end of a mask, and how often it is drawn: whole faces, from the brows down, from the eyes down, mouths."""
AT = 256
"""Side, in pixels, at which lengths of blurs and bends are given."""


def face_mask(shape: tuple[int, int], margin: float, random: np.random.Generator) -> np.ndarray:
    """A filled outline of a face or of its lower part.

    Place, size, proportions and tilt are drawn around those of a face in the middle of a crop.

    Args:
        shape: height and width of the crop.
        margin: the crop's shorter side, in face heights.
        random: decides the outline.

    Returns:
        float32 (H, W), 0 or 1.
    """
    ends = [end for end, _ in TOPS]
    top = ends[int(random.choice(len(ends), p=[share for _, share in TOPS]))]
    points = np.concatenate([OUTLINE, OUTLINE[-2:0:-1] * [-1, 1]])
    points = np.stack([points[:, 0], np.maximum(points[:, 1], top)], axis=1)
    points = points * random.uniform(0.85, 1.05) * random.uniform(0.93, 1.07, 2)
    angle = np.deg2rad(random.uniform(-10, 10))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array(shape[::-1]) / 2
    points = (points @ turn.T + random.uniform(-0.05, 0.05, 2)) * (min(shape) / margin) + middle
    mask = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(points * 16).astype(np.int32)), 1, lineType=cv2.LINE_8, shift=4)
    return mask.astype(np.float32)


def bent(mask: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The mask under an elastic deformation.

    Fine: white noise on ±1, smoothed by a Gaussian of σ = 7 pixels, times 50, at 256 pixels, as the authors have it.
    Coarse: shifts by up to 3 % of the side on a grid of 5 × 5, since the outline is nobody's own.
    """
    height, width = mask.shape
    scale = min(mask.shape) / AT
    rows, columns = np.indices(mask.shape, dtype=np.float32)
    moved = []
    for place in (columns, rows):
        fine = cv2.GaussianBlur(random.uniform(-1, 1, mask.shape).astype(np.float32), (0, 0), 7 * scale)
        coarse = random.uniform(-0.03, 0.03, (5, 5)).astype(np.float32) * min(mask.shape)
        # Smoothed noise falls with the σ, which grows with the picture; the shift is to grow with it.
        moved.append(place + 50 * scale**2 * fine + cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    return cv2.remap(mask, moved[0], moved[1], cv2.INTER_LINEAR)


def softened(mask: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The mask with a soft edge and a random weight.

    A first blur and a threshold take away what lies near the edge, a second one softens what is left. The weight is
    1 in half of the cases, else ¼, ½ or ¾.

    Returns:
        float32 (H, W), 0 … 1.
    """
    scale = min(mask.shape) / AT
    first, second = (_odd(random.uniform(5, 25) * scale) for _ in range(2))
    inner = (cv2.GaussianBlur(mask, (first, first), 0) >= 0.999).astype(np.float32)
    soft = cv2.GaussianBlur(inner, (second, second), random.uniform(5, 45) * scale)
    peak = float(soft.max())
    weight = float(random.choice([0.25, 0.5, 0.75, 1.0, 1.0, 1.0]))
    return soft * (weight / peak) if peak else soft


def _odd(size: float) -> int:
    return 2 * max(1, round(size / 2)) + 1

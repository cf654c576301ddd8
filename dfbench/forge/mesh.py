"""Piecewise-affine warps over a triangle mesh, without a loop over warps.

The triangles of the target are drawn into a picture of triangle numbers; every pixel then looks up the affine
map of its triangle, and one remap moves all pixels at once.
"""

from __future__ import annotations

import cv2
import numpy as np


def triangle_map(
    target: np.ndarray, source: np.ndarray, triangles: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find where each target pixel comes from.

    Args:
        target: float64 (V, 2) vertices, x first, in target pixels.
        source: float64 (V, 2), the same vertices in source pixels.
        triangles: int (N, 3) indices of vertices.
        shape: height and width of the target.

    Returns:
        x and y in the source, float64 (H, W) each, and which pixels a triangle covers, bool (H, W).
    """
    labels = np.full(shape, -1, np.int16)
    corners = target[triangles]
    for number, corner in enumerate(np.rint(corners * 16).astype(np.int32)):
        cv2.fillConvexPoly(labels, corner, number, cv2.LINE_8, 4)  # the last argument: 4 fractional bits
    maps = _affine(corners, source[triangles])
    covered = labels >= 0
    maps = np.vstack([maps, [[1, 0, 0, 0, 1, 0]]])  # uncovered pixels (label -1) stay where they are
    y, x = np.indices(shape, dtype=np.float64)
    own = maps[labels]
    return (
        own[..., 0] * x + own[..., 1] * y + own[..., 2],
        own[..., 3] * x + own[..., 4] * y + own[..., 5],
        covered,
    )


def _affine(target: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Affine maps (N, 6) that take target triangles (N, 3, 2) to source triangles (N, 3, 2)."""
    a, b = target[:, 1] - target[:, 0], target[:, 2] - target[:, 0]
    u, v = source[:, 1] - source[:, 0], source[:, 2] - source[:, 0]
    area = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    flat = np.abs(area) < 0.02  # a closed eye: its few pixels all come from one place
    area = np.where(flat, 1.0, area)
    rows = np.empty((len(target), 2, 3))
    for axis in range(2):
        rows[:, axis, 0] = np.where(flat, 0, (u[:, axis] * b[:, 1] - v[:, axis] * a[:, 1]) / area)
        rows[:, axis, 1] = np.where(flat, 0, (v[:, axis] * a[:, 0] - u[:, axis] * b[:, 0]) / area)
        rows[:, axis, 2] = source[:, 0, axis] - rows[:, axis, 0] * target[:, 0, 0] - rows[:, axis, 1] * target[:, 0, 1]
    return rows.reshape(-1, 6)

"""Short clips of one portrait: camera, head pose, expression and light change over 16 frames.

A clip depends on a portrait and a random generator alone, so the pristine and the forged version share it
frame by frame. The portrait is warped once, over a mesh of its landmarks, straight to the final size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dfbench.forge import pixels
from dfbench.forge.mesh import triangle_map
from dfbench.forge.pack import SIDE, Portrait, mesh
from dfbench.forge.pixels import CLIP_FRAMES

SIZE = 112
"""Width and height of a frame, in pixels."""
MARGIN = 1.2
"""Side of the crop, as a multiple of the larger side of the face."""


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames of one clip.

    Attributes:
        frames: uint8 RGB (T, 112, 112, 3).
        landmarks: float64 (T, K, 2), x first, in pixels of the frames.
        times: int (T,) frame numbers, 0 … 15.
    """

    frames: np.ndarray
    landmarks: np.ndarray
    times: np.ndarray


def make_clip(person: Portrait, rng: np.random.Generator, times: np.ndarray, motion: float = 1.0) -> Clip:
    """Render frames of a clip.

    Args:
        person: the portrait.
        rng: decides motion, expression and light; the same state gives the same clip.
        times: int (T,) numbers of the frames to render, 0 … 15.
        motion: 0 keeps camera, head and expression still; 1 is ordinary motion.
    """
    neutral = person.landmarks
    camera = _wander(rng, 4) * motion * [0.025, 0.025, 0.03, 0.06]
    turn = (rng.uniform(-0.05, 0.05, 2) + _wander(rng, 2) * [0.10, 0.06]) * motion
    blink, mouth, smile, brow = (_expression(rng) * motion).T
    moves = expression_basis(neutral[:, :2])
    light = _light(rng)

    low, high = neutral[:, :2].min(axis=0), neutral[:, :2].max(axis=0)
    side = (high - low).max() * MARGIN * rng.uniform(0.96, 1.06)
    reach = side * 0.53  # the view must not leave the portrait at the bottom, where the neck is
    centre = np.minimum((low + high) / 2 + rng.uniform(-3, 3, 2), [np.inf, SIDE - reach])
    sharp = pixels.blur(person.image, 0.45 * max(side / SIZE - 0.7, 0))
    depth = neutral[:, 2] - neutral[mesh().groups["oval"], 2].mean()

    frames = np.empty((len(times), SIZE, SIZE, 3), np.uint8)
    landmarks = np.empty((len(times), len(neutral), 2))
    for row, time in enumerate(times):
        moved = neutral[:, :2] + blink[time] * moves[0] + mouth[time] * moves[1]
        moved = moved + smile[time] * moves[2] + brow[time] * moves[3]
        moved = moved - depth[:, None] * turn[time]
        view = _similarity(centre, side, camera[time])
        target = np.vstack([moved, mesh().anchors]) @ view[:, :2].T + view[:, 2]
        x, y, _ = triangle_map(target, np.vstack([neutral[:, :2], mesh().anchors]), mesh().all, (SIZE, SIZE))
        frames[row] = _shade(pixels.sample(sharp, x, y), light[time])
        landmarks[row] = target[: len(neutral)]
    return Clip(frames, landmarks, np.asarray(times))


def expression_basis(points: np.ndarray) -> np.ndarray:
    """Displacements of the landmarks, (4, K, 2), for a blink, an open mouth, a smile and raised brows.

    At full size they close the lids, open the mouth by a fifth of the distance between the eyes, smile strongly and
    raise the brows strongly; negative multiples do the opposite.

    Args:
        points: (K, 2) landmarks of one face, x first; the displacements are in the same pixels.
    """
    part = mesh().groups
    eyes = np.stack([points[part["eye_a"]].mean(axis=0), points[part["eye_b"]].mean(axis=0)])
    across = eyes[1] - eyes[0]
    unit = float(np.hypot(*across))
    across = across / unit
    down = np.array([-across[1], across[0]])
    basis = np.zeros((4, len(points), 2))

    for eye, fold in (("eye_a", part["folds"][:7]), ("eye_b", part["folds"][7:])):
        lower, upper = part[eye][1:8], part[eye][:8:-1]
        close = points[lower] - points[upper]
        basis[0, upper] = 0.85 * close
        basis[0, lower] = -0.12 * close
        basis[0, fold] = 0.3 * close.mean(axis=0)

    mouth = points[part["lips_outer"]].mean(axis=0)
    along, below = (points - mouth) @ across / unit, (points - mouth) @ down / unit
    jaw = np.exp(-((along / 0.55) ** 4)) * np.clip(below / 0.25, 0, 1)
    jaw[part["nose"]] = 0
    basis[1] = 0.2 * unit * jaw[:, None] * down
    for lips in ("lips_outer", "lips_inner"):
        width = np.sin(np.pi * np.arange(11) / 10)[:, None]
        basis[1, part[lips][:11]] = 0.2 * unit * width * down
        basis[1, part[lips][11:]] = -0.03 * unit * width[9:0:-1] * down

    corner = np.sign(along) * np.exp(-(((np.abs(along) - 0.42) / 0.28) ** 2) - (below / 0.3) ** 2)
    basis[2] = unit * (0.07 * corner[:, None] * across - 0.06 * np.abs(corner)[:, None] * down)

    for name, rise in (("brow_a", 0.09), ("brow_b", 0.09), ("forehead", 0.05), ("folds", 0.03)):
        basis[3, part[name]] = -rise * unit * down
    return basis


def _wander(rng: np.random.Generator, count: int) -> np.ndarray:
    """Smooth motions, (16, count), within about ±1: each is the sum of two slow sines."""
    time = np.arange(CLIP_FRAMES)[:, None] / CLIP_FRAMES
    total = np.zeros((CLIP_FRAMES, count))
    for weight, low, high in ((0.7, 0.3, 0.9), (0.3, 1.0, 2.0)):
        phase, pace = rng.uniform(0, 1, count), rng.uniform(low, high, count)
        total += weight * np.sin(2 * np.pi * (time * pace + phase))
    return total


def _expression(rng: np.random.Generator) -> np.ndarray:
    """Blink, mouth, smile and brow of each frame: (16, 4)."""
    time = np.arange(CLIP_FRAMES)
    blink = np.exp(-(((time - rng.uniform(0, 2 * CLIP_FRAMES)) / 1.3) ** 2))
    wander = _wander(rng, 3)
    mouth = np.clip(0.12 + 0.35 * wander[:, 0], 0, None) * rng.uniform(0, 1)
    return np.stack([blink, mouth, 0.45 * wander[:, 1], 0.5 * wander[:, 2]], axis=1)


def _light(rng: np.random.Generator) -> np.ndarray:
    """Gain of each frame, and its slope across and down the frame: (16, 3)."""
    steady = np.array([1, 0, 0]) + rng.uniform(-1, 1, 3) * [0.1, 0.12, 0.08]
    return steady + _wander(rng, 3) * [0.06, 0.08, 0.05]


def _shade(frame: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Multiply a frame by a plane of gains, in steps of 1/256."""
    ramp = np.arange(SIZE) / SIZE - 0.5
    gain = np.rint(256 * (light[0] + light[1] * ramp[None] + light[2] * ramp[:, None])).astype(np.int32)
    return np.clip((frame.astype(np.int32) * gain[..., None] + 128) >> 8, 0, 255).astype(np.uint8)


def _similarity(centre: np.ndarray, side: float, camera: np.ndarray) -> np.ndarray:
    """The map from portrait pixels to frame pixels, (2, 3), of a camera (shift x, shift y, zoom, roll)."""
    scale = SIZE / side * (1 + camera[2])
    cos, sin = scale * np.cos(camera[3]), scale * np.sin(camera[3])
    turn = np.array([[cos, -sin], [sin, cos]])
    return np.hstack([turn, (SIZE * (0.5 + camera[:2]) - turn @ centre)[:, None]])

"""One view of a portrait, and one forgery of it by a family drawn at random, through one camera and codec.

A view is cut from the portrait at about its own resolution, where forge5 has half of it: what blending, resizing and
compression leave behind are details. The forgeries are those of forge5; they give lengths in pixels, so that their
traces are half as large against a face as there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dfbench.forge import pack, pixels, render
from dfbench.forge.autoencoder import autoencoder
from dfbench.forge.clips import expression_basis
from dfbench.forge.domains import Domain, record
from dfbench.forge.face_swap import face_swap
from dfbench.forge.mesh import triangle_map
from dfbench.forge.pack import SIDE, Portrait, mesh
from dfbench.forge.reenactment import reenactment
from dfbench.forge.self_blended import self_blended
from dfbench.forge.token import token
from dfbench.forge.upsampling import upsampling

SIZE = 224
"""Width and height of a view, in pixels."""
SEED = 11
"""Changing it changes every view."""
MARGINS = (1.2, 1.5)
"""Side of a view, as multiples of the larger side of the face, from forehead to chin."""
CAMERA = Domain(jpeg=(40, 98), h264=(16, 32), video=0.5, soften=(0.0, 1.0), noise=(0.0, 3.0), contrast=(0.85, 1.15))
"""One wide domain for all families: nothing that is trained on tells one from another by its compression."""

_VIEW, _FORGERY, _CAMERA = range(3)
_NUMBERS = {"portraits": 1, **{family: 2 + number for number, family in enumerate(render.held_out())}}


def render_view(source: str, identity: str, view: str) -> list[tuple[dict[str, Any], np.ndarray]]:
    """One view of a person, pristine and forged.

    Args:
        source: ``portraits``: the family is drawn from the five that are trained on; or a held-out family.
        identity: a person of the pack.
        view: its number.

    Returns:
        Two rows of a sample table, without the hash, with their uint8 RGB (224, 224, 3) pictures; the pristine first.
    """
    person, number = pack.portrait(identity), int(view)
    frame, points = make_view(person, _rng(source, person, number, _VIEW))
    rng = _rng(source, person, number, _FORGERY)
    family = source if source in render.held_out() else str(rng.choice(render.families()))
    fake = forge(family, frame, points, person, rng)
    times = np.array([number])
    clean, forged = record([frame[None], fake[None]], times, CAMERA, _rng(source, person, number, _CAMERA))
    rows = []
    for label, method, picture in ((0, "pristine", clean[0]), (1, family, forged[0])):
        row = {
            "sample": f"portraits/{source}/{identity}/{number:02d}/{'fake' if label else 'real'}",
            "label": label,
            "source": source,
            "method": method,
            "identity": identity,
            "video": "",
            "frame": 0,
            "pair": f"portraits/{source}/{identity}/{number:02d}",
            "split": person.split,
        }
        rows.append((row, picture))
    return rows


def make_view(person: Portrait, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Cut a view from a portrait, with a little turn, expression and tilt.

    Returns:
        uint8 RGB (224, 224, 3), and the landmarks in it, float64 (K, 2), x first.
    """
    neutral = person.landmarks
    moves = np.tensordot(rng.uniform([0, 0, -0.5, -0.5], [0.4, 0.5, 0.5, 0.5]), expression_basis(neutral[:, :2]), 1)
    depth = neutral[:, 2] - neutral[mesh().groups["oval"], 2].mean()
    moved = neutral[:, :2] + moves - depth[:, None] * rng.uniform(-0.1, 0.1, 2)
    low, high = neutral[:, :2].min(axis=0), neutral[:, :2].max(axis=0)
    face = (high - low).max()
    side = min(face * rng.uniform(*MARGINS), SIDE * 0.98)
    middle = (low + high) / 2 + rng.uniform(-0.05, 0.05, 2) * face
    middle = np.clip(middle, side / 2, SIDE - side / 2)  # the view must not leave the portrait
    angle, scale = rng.uniform(-0.1, 0.1), SIZE / side
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    target = (np.vstack([moved, mesh().anchors]) - middle) @ turn.T + SIZE / 2
    x, y, _ = triangle_map(target, np.vstack([neutral[:, :2], mesh().anchors]), mesh().all, (SIZE, SIZE))
    frame = pixels.sample(person.image, x, y)
    if rng.random() < 0.5:
        frame, target = frame[:, ::-1].copy(), target * [-1, 1] + [SIZE - 1, 0]
        # The mesh names left and right: mirrored landmarks still lie on the parts that they name.
    return frame, target[: len(neutral)]


def forge(family: str, frame: np.ndarray, points: np.ndarray, person: Portrait, rng: np.random.Generator) -> np.ndarray:
    """A forgery of one view by a family, uint8 (224, 224, 3).

    Args:
        family: one of forge5's, or the held-out one.
        frame: the view.
        points: its landmarks.
        person: whose it is; the donor of a face swap is forge5's.
        rng: decides the forgery.
    """
    frames, landmarks = frame[None], points[None]
    if family == "face_swap":
        other = pack.portrait(render.donor(person.identity))
        return face_swap(frames, landmarks, rng, other.image, other.landmarks[:, :2])[0][0]
    known = {f.__name__: f for f in (reenactment, upsampling, autoencoder, self_blended, token)}
    return known[family](frames, landmarks, rng)[0][0]


def _rng(source: str, person: Portrait, view: int, purpose: int) -> np.random.Generator:
    return np.random.default_rng([SEED, person.seed, _NUMBERS[source], view, purpose])

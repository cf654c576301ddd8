"""One clip of a long stream, pristine and forged, through the camera and codec of its experience."""

from __future__ import annotations

from typing import Any

import numpy as np

from dfbench.forge import pack, render
from dfbench.forge.autoencoder import autoencoder
from dfbench.forge.clips import make_clip
from dfbench.forge.domains import record
from dfbench.forge.face_swap import face_swap
from dfbench.forge.long.draw import SEED, Habitual, Step, habits
from dfbench.forge.reenactment import reenactment
from dfbench.forge.self_blended import self_blended
from dfbench.forge.upsampling import upsampling

_CLIP, _FORGERY, _CAMERA = range(10, 13)


def render_clip(seed: int, step: Step, identity: str, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pristine and forged frames, uint8 (T, 112, 112, 3), of one person in one experience.

    Args:
        seed: of the stream.
        step: the experience. The clip is its own, also where the forgery is an earlier one's.
        identity: a person of the pack.
        times: int (T,) frame numbers, 0 … 15; a frame's pixels do not depend on which others are asked for.
    """
    person = pack.portrait(identity)
    key = (SEED, seed, step.number, person.seed)
    clip = make_clip(person, np.random.default_rng([*key, _CLIP]), times)
    rng = Habitual([*key, _FORGERY], habits(seed, step.forgery))
    if step.family == "face_swap":
        other = pack.portrait(render.donor(identity))
        fake, _ = face_swap(clip.frames, clip.landmarks, rng, other.image, other.landmarks[:, :2], times)
    else:
        known = {f.__name__: f for f in (reenactment, upsampling, autoencoder, self_blended)}
        fake, _ = known[step.family](clip.frames, clip.landmarks, rng, times)
    clean, forged = record([clip.frames, fake], times, step.camera, np.random.default_rng([*key, _CAMERA]))
    return clean, forged


def render_rows(seed: int, step: Step, identity: str, times: np.ndarray) -> list[tuple[dict[str, Any], np.ndarray]]:
    """Rows of a sample table, without the hash, with their pictures; pristine frames first."""
    clean, forged = render_clip(seed, step, identity, times)
    split = pack.portrait(identity).split
    rows = []
    for label, method, frames in ((0, "pristine", clean), (1, step.family, forged)):
        video = f"forge50/{step.name}/{identity}/{'fake' if label else 'real'}"
        for time, picture in zip(times.tolist(), frames, strict=True):
            row = {
                "sample": f"{video}/{time:02d}",
                "label": label,
                "source": step.name,
                "method": method,
                "identity": identity,
                "video": video,
                "frame": time,
                "pair": f"forge50/{step.name}/{identity}/{time:02d}",
                "split": split,
            }
            rows.append((row, picture))
    return rows

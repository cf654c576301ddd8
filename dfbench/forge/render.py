"""Render the embedded benchmark: one person in one forgery family, both pristine and forged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dfbench.errors import unknown
from dfbench.forge import pack
from dfbench.forge.autoencoder import autoencoder
from dfbench.forge.clips import make_clip
from dfbench.forge.domains import Domain, record
from dfbench.forge.face_swap import face_swap
from dfbench.forge.reenactment import reenactment
from dfbench.forge.self_blended import self_blended
from dfbench.forge.token import token
from dfbench.forge.upsampling import upsampling

SEED = 5
"""Changing it changes every picture of the benchmark."""
FEW = (2, 7, 12)
"""The frames of a clip that `forge5` takes; `forge5-clips` takes all 16."""

# Family → (stable number, domain). The number seeds the draws and never changes.
FAMILIES: dict[str, tuple[int, Domain]] = {
    "autoencoder": (4, Domain(jpeg=(60, 85), h264=(20, 26), video=0.2, soften=(0.0, 0.4), noise=(0.0, 1.5))),
    "face_swap": (1, Domain(jpeg=(75, 93), h264=(16, 23), video=0.8, soften=(0.0, 0.3), noise=(0.0, 2.0))),
    "reenactment": (3, Domain(jpeg=(75, 95), h264=(17, 24), video=0.4, soften=(0.0, 0.3), noise=(0.0, 1.5))),
    "upsampling": (5, Domain(jpeg=(85, 96), h264=(14, 20), video=0.4, soften=(0.0, 0.2), noise=(0.0, 2.0))),
    "self_blended": (2, Domain(jpeg=(60, 90), h264=(18, 26), video=0.5, soften=(0.0, 0.4), noise=(0.0, 2.0))),
}

# Families that the source has no training pictures of: only what was trained on others is tested on them.
HELD_OUT: dict[str, tuple[int, Domain]] = {
    "token": (6, Domain(jpeg=(70, 92), h264=(16, 25), video=0.6, soften=(0.0, 0.3), noise=(0.0, 2.0))),
}
_EVERY = FAMILIES | HELD_OUT

_CLIP, _FORGERY, _DONOR, _CAMERA = range(4)


def families() -> tuple[str, ...]:
    """The five forgery families, in the order of the default benchmark."""
    return tuple(FAMILIES)


def held_out() -> tuple[str, ...]:
    """The families that nothing is trained on."""
    return tuple(HELD_OUT)


def identities(split: str | None = None) -> tuple[str, ...]:
    """Names of the people in one split (train, val or test), or in all."""
    return pack.identities(split)


def donor(identity: str, family: str = "face_swap") -> str:
    """The person whose face this one gets: of twelve drawn from the same split, the most similar in shape and tone."""
    split = pack.portrait(identity).split
    others = [name for name in pack.identities(split) if name != identity]
    drawn = _rng(identity, family, _DONOR).choice(len(others), 12, replace=False)
    shape, tone = _shape(identity), pack.tone(identity)

    def unlike(name: str) -> float:
        return round(float(np.abs(_shape(name) - shape).mean() + np.abs(pack.tone(name) - tone).mean() / 400), 9)

    return min((others[i] for i in drawn), key=unlike)


def render(identity: str, family: str, frames: Sequence[int] = FEW) -> list[tuple[dict[str, Any], np.ndarray]]:
    """Render one person's pristine and forged frames in one experience.

    Args:
        identity: a name from :func:`identities`.
        family: a name from :func:`families` or :func:`held_out`.
        frames: frame numbers, 0 … 15; a frame's pixels do not depend on which other frames are asked for.

    Returns:
        rows of a sample table, without the hash, with their uint8 RGB (112, 112, 3) pictures; pristine frames first.

    Raises:
        UsageError: there is no such family.
    """
    clean, fake, _ = render_clip(identity, family, frames)
    split = pack.portrait(identity).split
    rows = []
    for label, version, method in ((0, clean, "pristine"), (1, fake, family)):
        video = f"{family}/{identity}/{'fake' if label else 'real'}"
        for number, picture in zip(frames, version, strict=True):
            row = {
                "sample": f"forge5/{video}/{number:02d}",
                "label": label,
                "source": "forge5",
                "method": method,
                "identity": identity,
                "video": f"forge5/{video}",
                "frame": int(number),
                "pair": f"forge5/{family}/{identity}/{number:02d}",
                "split": split,
            }
            rows.append((row, picture))
    return rows


def render_clip(
    identity: str, family: str, frames: Sequence[int], recorded: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pristine and forged frames, uint8 (T, 112, 112, 3), and masks, uint8 (T, 112, 112).

    Args:
        recorded: False leaves out camera and codec, so that both versions are equal outside the mask.
    """
    if family not in _EVERY:
        raise unknown("family", family, _EVERY)
    times = np.asarray(frames, np.int64)
    clip = make_clip(pack.portrait(identity), _rng(identity, family, _CLIP), times)
    rng = _rng(identity, family, _FORGERY)
    if family == "face_swap":
        other = pack.portrait(donor(identity))
        fake, mask = face_swap(clip.frames, clip.landmarks, rng, other.image, other.landmarks[:, :2], times)
    else:
        forge = {f.__name__: f for f in (reenactment, upsampling, autoencoder, self_blended, token)}[family]
        fake, mask = forge(clip.frames, clip.landmarks, rng, times)
    if not recorded:
        return clip.frames, fake, mask
    clean, fake = record([clip.frames, fake], times, _EVERY[family][1], _rng(identity, family, _CAMERA))
    return clean, fake, mask


def _rng(identity: str, family: str, purpose: int) -> np.random.Generator:
    return np.random.default_rng([SEED, pack.seed(identity), _EVERY[family][0], purpose])


def _shape(identity: str) -> np.ndarray:
    """Landmarks (K, 2), normalised for position and size."""
    points = pack.landmarks(identity)[:, :2]
    points = points - points.mean(axis=0)
    return points / np.abs(points).mean()

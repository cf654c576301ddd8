"""What each experience of a long stream is: a forgery (a family with habits of its own), a camera and codec, people.

Experience *k* depends on the seed, on *k* and on those before it: a shorter stream is the beginning of a longer one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from dfbench.data.samples import SPLITS
from dfbench.forge import pack, render
from dfbench.forge.domains import Domain

SEED = 50
"""Changing it changes every picture."""
TRAIN, TESTED = 120, 40
"""People of an experience: for training, and for each of validation and test."""
HABIT = 0.25
"""A forgery's share of the range that its family draws a parameter from."""

_FORGERY, _CAMERA, _HABITS, _PEOPLE = range(4)


@dataclass(frozen=True)
class Step:
    """One experience.

    Attributes:
        number: in the stream, from 1.
        family: one of forge5's.
        forgery: the number of the experience that its family's habits and its camera were drawn for; an earlier one
            where a forgery comes back.
        camera: noise, softness, tone and codec.
    """

    number: int
    family: str
    forgery: int
    camera: Domain

    @property
    def name(self) -> str:
        """``step07``: the name of the experience, and the ``source`` of its samples."""
        return f"step{self.number:02d}"


@lru_cache(maxsize=8)
def steps(count: int, seed: int, recurring: float) -> tuple[Step, ...]:
    """The experiences of a stream.

    Args:
        count: how many.
        seed: of the draw.
        recurring: probability that an experience brings back the forgery of an earlier one, which is not the last.

    Returns:
        in order; a family never follows itself, unless a forgery comes back.
    """
    found: list[Step] = []
    for number in range(1, count + 1):
        rng = _rng(seed, number, _FORGERY)
        returns, place = rng.random() < recurring, rng.random()
        earlier = [step for step in found[:-1] if step.forgery == step.number]
        if returns and earlier:
            old = earlier[int(place * len(earlier))]
            found.append(Step(number, old.family, old.number, old.camera))
            continue
        others = [family for family in render.families() if not found or family != found[-1].family]
        family = others[int(rng.integers(len(others)))]
        found.append(Step(number, family, number, _camera(_rng(seed, number, _CAMERA))))
    return tuple(found)


def people(seed: int, number: int) -> dict[str, list[str]]:
    """The people of experience ``number``, by split: drawn anew for each, in the order in which they were drawn."""
    found = {}
    for place, split in enumerate(SPLITS):
        names = pack.identities(split)
        drawn = np.argsort(_rng(seed, number, _PEOPLE, place).random(len(names)), kind="stable")
        found[split] = [names[i] for i in drawn[: TRAIN if split == "train" else TESTED]]
    return found


class Habitual(np.random.Generator):
    """A generator whose draws of single numbers from a range keep to a part of it.

    The forgeries draw their parameters so, one after another: the k-th is a parameter of a family. Draws of arrays and
    of other distributions, which decide noise and flicker, are as they are.

    Args:
        seeds: as :func:`numpy.random.default_rng` takes them.
        habits: where in its range each parameter lies, 0 to 1; the first again after the last.
    """

    def __init__(self, seeds: Sequence[int], habits: np.ndarray) -> None:
        super().__init__(np.random.PCG64(list(seeds)))
        self._habits, self._drawn = habits.tolist(), 0

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
        """As NumPy's; a single number is within :data:`HABIT` of the range, around its habit."""
        value = super().uniform(low, high, size)
        if size is not None:
            return value
        habit = self._habits[self._drawn % len(self._habits)]
        self._drawn += 1
        return low + (1 - HABIT) * habit * (high - low) + HABIT * (value - low)


def habits(seed: int, forgery: int) -> np.ndarray:
    """The habits of a forgery, float64 (16,): where in its range each of its family's parameters lies."""
    return _rng(seed, forgery, _HABITS).random(16)


def _camera(rng: np.random.Generator) -> Domain:
    """Narrow ranges within those of forge5's experiences; JPEG, H.264 or both."""
    quality, quantiser = int(rng.integers(50, 91)), int(rng.integers(14, 25))
    soften, noise = rng.uniform(0, 0.4), rng.uniform(0, 2)
    return Domain(
        jpeg=(quality, quality + 6),
        h264=(quantiser, quantiser + 3),
        video=float(rng.choice([0.0, 0.5, 1.0])),
        soften=(soften, soften + 0.2),
        noise=(noise, noise + 0.5),
    )


def _rng(*numbers: int) -> np.random.Generator:
    return np.random.default_rng([SEED, *numbers])

"""The long stream as a data source, rendered once into the user's cache."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from dfbench.data.samples import SPLITS
from dfbench.errors import UsageError
from dfbench.forge import render
from dfbench.forge.clips import SIZE
from dfbench.forge.long.clips import render_rows
from dfbench.forge.long.draw import Step, people, steps
from dfbench.forge.source import PACKAGES, Rendered, folder_version

LONGEST = 200
REFERENCE = Path(__file__).parent / "reference.json"
TESTED_FRAME = 7
"""The one frame of a clip for validation and test; training has three."""


class LongSource(Rendered):
    """Experiences drawn from five families, their parameters, cameras and codecs.

    ``where: {source: step07}`` is the seventh. Of each experience there are 120 people for training, with three frames
    of a clip and of its forgery, and 40 each for validation and test, with one.

    Args:
        root: not used; the source needs none.
        experiences: how many are rendered.
        seed: of the draw.
        recurring: probability that an experience brings back the forgery of an earlier one: its family, habits, camera
            and codec, on other clips.
        people: number of people per split, for a quick look; all by default.
    """

    side = SIZE
    name = "forge50"
    kind = "forge50"
    reference = REFERENCE

    def __init__(
        self,
        root: Path | None = None,
        *,
        experiences: int = 50,
        seed: int = 0,
        recurring: float = 0.2,
        people: int | None = None,
    ) -> None:
        super().__init__(people)
        for option, value, low, high in (
            ("experiences", experiences, 1, LONGEST),
            ("seed", seed, 0, 2**31),
            ("recurring", recurring, 0, 1),
        ):
            if not low <= value <= high:
                raise UsageError(f"source 'forge50', option {option}: {low} to {high} (got {value:g})")
        self.experiences, self.seed, self.recurring = experiences, seed, float(recurring)

    @property
    def steps(self) -> tuple[Step, ...]:
        """What each experience is."""
        return steps(self.experiences, self.seed, self.recurring)

    def jobs(self) -> Sequence[tuple[str, ...]]:
        """Experience, person and frames."""
        found: list[tuple[str, ...]] = []
        for step in self.steps:
            drawn = people(self.seed, step.number)
            for split in SPLITS:
                frames = render.FEW if split == "train" else (TESTED_FRAME,)
                text = " ".join(map(str, frames))
                found += [(str(step.number), identity, text) for identity in drawn[split][: self.people]]
        return found

    def render_job(self) -> tuple[Callable[..., list[tuple[dict[str, Any], np.ndarray]]], list[int]]:
        """Frames of a clip, pristine and forged."""
        counts = [2 * len(frames.split()) for _, _, frames in self.jobs()]
        return partial(_clip, self.experiences, self.seed, self.recurring), counts

    def version(self) -> str:
        """A hash of this folder's code and of everything that forge5's pictures depend on."""
        return folder_version(Path(__file__))

    @property
    def variant(self) -> str:
        """Length, seed and how often forgeries come back."""
        return f"{self.experiences}-seed{self.seed}-recurring{self.recurring:g}"

    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of all pictures."""
        return {"all": self._table.fingerprint()}


def _clip(
    count: int, seed: int, recurring: float, number: str, identity: str, frames: str
) -> list[tuple[dict[str, Any], np.ndarray]]:
    step = steps(count, seed, recurring)[int(number) - 1]
    return render_rows(seed, step, identity, np.array(frames.split(), np.int64))


def fingerprints() -> dict[str, Any]:
    """Render the source as it is by default, or take it from the cache; the content of ``reference.json``."""
    source = LongSource()
    source.prepare()
    return {"made_with": {name: version(name) for name in PACKAGES}, source.variant: source.fingerprints()}


if __name__ == "__main__":
    print(json.dumps(fingerprints(), indent=1))

"""The views as a data source, rendered once into the user's cache."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from dfbench.data.samples import SPLITS
from dfbench.errors import UsageError
from dfbench.forge import pack, render
from dfbench.forge.portraits.views import SIZE, render_view
from dfbench.forge.source import PACKAGES, Rendered, folder_version

VIEWS = 4
REFERENCE = Path(__file__).parent / "reference.json"


class PortraitSource(Rendered):
    """Views of the pack's portraits at 224 pixels, each with a forgery by a family drawn at random.

    ``where: {source: portraits}`` are the five families of forge5, ``where: {source: token}`` the held-out one, of
    which there are no training pictures.

    Args:
        root: not used; the source needs none.
        views: views of each person.
        people: number of people per split, for a quick look; all by default.
    """

    side = SIZE
    name = "portraits"
    kind = "portraits"
    reference = REFERENCE

    def __init__(self, root: Path | None = None, *, views: int = VIEWS, people: int | None = None) -> None:
        super().__init__(people)
        if not 1 <= views <= 100:
            raise UsageError(f"source 'portraits', option views: 1 to 100 (got {views})")
        self.views = views

    def jobs(self) -> Sequence[tuple[str, ...]]:
        """Source, person and view."""
        people = {split: pack.identities(split)[: self.people] for split in SPLITS}
        views = [str(number) for number in range(self.views)]
        trained: list[tuple[str, ...]] = [
            ("portraits", name, view) for split in SPLITS for name in people[split] for view in views
        ]
        tested = [*people["val"], *people["test"]]
        return trained + [(family, name, view) for family in render.held_out() for name in tested for view in views]

    def render_job(self) -> tuple[Callable[..., list[tuple[dict[str, Any], np.ndarray]]], int]:
        """A view, pristine and forged."""
        return render_view, 2

    def version(self) -> str:
        """A hash of this folder's code and of everything that forge5's pictures depend on."""
        return folder_version(Path(__file__))

    @property
    def variant(self) -> str:
        """The number of views."""
        return f"{self.views}views"


def fingerprints() -> dict[str, Any]:
    """Render the source as it is by default, or take it from the cache; the content of ``reference.json``."""
    source = PortraitSource()
    source.prepare()
    return {"made_with": {name: version(name) for name in PACKAGES}, source.variant: source.fingerprints()}


if __name__ == "__main__":
    print(json.dumps(fingerprints(), indent=1))

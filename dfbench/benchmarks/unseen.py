"""What may be an unseen set: nothing that an experience trains on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from dfbench.benchmarks.assemble import UNSEEN, Portion, Rows
from dfbench.benchmarks.parts import Perturb
from dfbench.benchmarks.schema import EVERYTHING, PERTURBED, ExperienceSpec, StreamSpec, unseen_sets
from dfbench.data.samples import Samples
from dfbench.data.sources import REAL_FAKE, class_names
from dfbench.errors import DataError, unknown


def wanted(
    path: Path, spec: StreamSpec, skip: Collection[str]
) -> tuple[list[ExperienceSpec], Perturb | None, tuple[str, ...]]:
    """The unseen sets and perturbations that are wanted, and the names of those that are not.

    Args:
        path: of the stream's file.
        spec: its content.
        skip: names of unseen sets, ``perturbed``, or ``all``.

    Raises:
        UsageError: the file has no such set.
    """
    entries = unseen_sets(path, spec)
    known = [each.name for each in entries] + [PERTURBED] * (spec.perturb is not None)
    for name in skip:
        if name not in (*known, EVERYTHING):
            raise unknown("test to skip", name, (*known, EVERYTHING))
    skipped = tuple(name for name in known if name in skip or EVERYTHING in skip)
    kept = [each for each in entries if each.name not in skipped]
    return kept, None if PERTURBED in skipped else spec.perturb, skipped


def check_unseen(name: str, rows: Rows, portions: Sequence[Portion], trained: Sequence[Portion]) -> None:
    """Check that no experience of the same root has the fakes of an unseen set, or trains on others like them.

    Fakes are alike if source and method are the same. In a stream of many classes no picture at all may be in both.

    Args:
        name: of the unseen set.
        rows: its own, numbered through ``portions``.
        portions: what all unseen sets use.
        trained: what the experiences use.

    Raises:
        DataError: they do.
    """
    start, wanted = 0, np.concatenate([rows["val"], rows["test"]])
    for portion in portions:
        size = len(portion.samples)
        ours = portion.samples.take(np.sort(wanted[(wanted >= start) & (wanted < start + size)]) - start)
        start += size
        for other in (each for each in trained if each.place == portion.place):
            theirs, binary = other.samples, class_names(other.origin.source) == REAL_FAKE
            both = sorted({*ours.sample[(ours.label != 0) | (not binary)]} & {*theirs.sample})
            if both:
                raise DataError(
                    f"{UNSEEN} {name!r}: {len(both)} of its pictures are those of the experiences (the first: "
                    f"{both[0]!r}); it must hold what nobody trains on"
                )
            fakes = [{*zip(t.source, t.method, strict=True)} for t in (_fakes(ours), _fakes(theirs, "train"))]
            if alike := sorted(kind for kind in set.intersection(*fakes) if binary and kind[1]):
                source, method = alike[0]
                raise DataError(
                    f"{UNSEEN} {name!r}: the experiences train on its forgeries ({source!r}, method {method!r}); it "
                    "must hold what nobody trains on"
                )


def _fakes(samples: Samples, split: str | None = None) -> Samples:
    return samples.take(np.flatnonzero((samples.label != 0) & ((samples.split == split) | (split is None))))


def known_notes(table: Samples, trained: Sequence[Portion]) -> list[str]:
    """A note on pictures of unseen sets that are trained on under another name."""
    train = {sha256 for each in trained for sha256 in each.samples.sha256[each.samples.split == "train"].tolist()}
    known = [name for name, sha256 in zip(table.sample.tolist(), table.sha256.tolist(), strict=True) if sha256 in train]
    return [f"pictures of unseen sets that are training pictures too: {len(known)}, as {known[0]}"] if known else []

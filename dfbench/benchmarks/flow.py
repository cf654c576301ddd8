"""How a stream flows: what is seen once, what blurs the borders of experiences, what is tested between its ends."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dfbench.data.samples import Samples
from dfbench.data.sources import REAL_FAKE
from dfbench.errors import UsageError

BROADEST = 0.25
"""The largest share that a border may exchange: half of an experience between two others then stays with it."""


class Flow(BaseModel):
    """``flow``: what long streams want different; by default nothing is.

    Attributes:
        one_pass: every training sample is new once; detectors must have ``epochs``, which is 1.
        borders: share of its training people that an experience exchanges with the next, and with the one before.
        fakes_only: training sets after the first have fakes alone.
        tests: how many earlier test sets are scored after a training that is not the last, next to its own, the first
            and the next one (:func:`scored_after`); None: all test sets.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    one_pass: bool = False
    borders: Annotated[float, Field(ge=0, le=BROADEST, allow_inf_nan=False)] = 0.0
    fakes_only: bool = False
    tests: Annotated[int, Field(ge=0)] | None = None

    @property
    def moves(self) -> bool:
        """Whether training sets differ from what the file's experiences select."""
        return self.fakes_only or self.borders > 0

    @property
    def notes(self) -> list[str]:
        """What a reader of results should know, a line for each difference."""
        lines = {
            "every training sample is new once (one epoch)": self.one_pass,
            f"neighbouring experiences exchange {100 * self.borders:g} % of their training people": self.borders > 0,
            "after the first experience there are only fakes to train on": self.fakes_only,
            "between the first and the last training, only the test sets of the first, the present and the next "
            f"experience and of {self.tests} earlier ones are scored": self.tests is not None,
        }
        return [line for line, holds in lines.items() if holds]


PLAIN = Flow()
"""Every sample as often as the detector wants, no exchange, every test set after every training."""


def scored_after(row: int, names: Sequence[str], tests: int | None) -> list[int]:
    """The test sets that are scored after a training: numbers from 0, ascending.

    After the last training, and before any, these are all. In between they are the experience's own, the first, the
    next one, and ``tests`` of the others before it: those whose names have, with its own, the smallest SHA-256. So runs
    of every method and seed are scored on the same, and each of the others is as likely as any.

    Args:
        row: the experience that was trained on, from 0; −1 before any training.
        names: of all experiences.
        tests: :attr:`Flow.tests`.
    """
    every = list(range(len(names)))
    if tests is None or row < 0 or row >= len(names) - 1:
        return every

    def rank(other: int) -> bytes:
        return hashlib.sha256(f"{names[row]}\n{names[other]}".encode()).digest()

    return sorted({0, row, row + 1, *sorted(range(1, row), key=rank)[:tests]})


def check_classes(flow: Flow, classes: tuple[str, ...]) -> None:
    """Check that a stream of these classes can flow so.

    Raises:
        UsageError: ``fakes_only`` of other classes than real and fake.
    """
    if flow.fakes_only and classes != REAL_FAKE:
        raise UsageError(f"flow: fakes_only is for streams of real and fake, not of {len(classes)} other classes")


def flowing(
    names: Sequence[str], rows: Sequence[Mapping[str, np.ndarray]], table: Samples, flow: Flow
) -> list[dict[str, np.ndarray]]:
    """The rows of every experience by split, those of training :func:`arranged`."""
    train = arranged(names, [each["train"] for each in rows], table, flow)
    return [{**each, "train": own} for each, own in zip(rows, train, strict=True)]


def arranged(names: Sequence[str], train: Sequence[np.ndarray], table: Samples, flow: Flow) -> list[np.ndarray]:
    """The training rows of every experience as they flow.

    Args:
        names: of the experiences.
        train: rows of each, int64.
        table: what the rows are of.
        flow: ``fakes_only`` leaves out reals after the first; then neighbours exchange ``borders``. Who goes is drawn
            by a hash of names: people with all their samples in the experience (where nobody is known: aligned
            pictures, else videos, else single samples), separately for people of both classes and of one.

    Returns:
        rows of each, ascending. A sample that goes to a neighbour is in that one's training set instead of its own.
    """
    rows = [np.sort(each) for each in train]
    first_reals = rows[0][table.label[rows[0]] == 0]
    if flow.fakes_only:
        rows = [each if i == 0 else each[table.label[each] != 0] for i, each in enumerate(rows)]
    if not flow.borders:
        return rows
    # The reals of the first stay where they are if the others are to have none.
    movable = [each if i or not flow.fakes_only else np.setdiff1d(each, first_reals) for i, each in enumerate(rows)]
    gone = [_leaving(name, each, table, flow.borders) for name, each in zip(names, movable, strict=True)]
    none, last = np.empty(0, np.int64), len(rows) - 1
    result = []
    for i, own in enumerate(rows):
        on, back = (gone[i][0] if i < last else none), (gone[i][1] if i else none)
        stays = own[~np.isin(own, np.concatenate([on, back]))]
        arrives = [gone[i - 1][0] if i else none, gone[i + 1][1] if i < last else none]
        result.append(np.sort(np.concatenate([stays, *arrives])))
    return result


def _leaving(name: str, rows: np.ndarray, table: Samples, share: float) -> tuple[np.ndarray, np.ndarray]:
    """The rows of an experience that go to the next one and to the one before, int64."""
    members: dict[str, list[int]] = {}
    columns = (table.identity, table.pair, table.video, table.sample)
    for row in rows.tolist():
        key = next(f"{number}\n{column[row]}" for number, column in enumerate(columns) if column[row])
        members.setdefault(key, []).append(row)
    kinds: dict[tuple[int, ...], list[str]] = {}
    for key, own in members.items():
        kinds.setdefault(tuple(np.unique(table.label[own]).tolist()), []).append(key)
    parts: tuple[list[int], list[int]] = ([], [])
    for keys in kinds.values():
        keys.sort(key=lambda key: hashlib.sha256(f"{name}\n{key}".encode()).digest())
        count = round(share * len(keys))
        for part, chosen in zip(parts, (keys[:count], keys[count : 2 * count]), strict=True):
            part += [row for key in chosen for row in members[key]]
    return np.array(parts[0], np.int64), np.array(parts[1], np.int64)


def series(count: int) -> list[Mapping[str, object]]:
    """The experiences ``step01`` to ``stepNN`` of ``series``: each has the rows of the source of its name."""
    names = [f"step{number:02d}" for number in range(1, count + 1)]
    return [{"name": name, "where": {"source": name}} for name in names]

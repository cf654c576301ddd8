"""The checkpoint that a run starts from: its name, its digest, and what its weights were trained on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from dfbench.errors import UsageError

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[^\n\t]+$")]
LONGEST_LABEL = 30
"""Letters of a name in a table."""
PIN = "#sha256="
"""Between the name of a checkpoint and the digest of its weights, as pip writes it."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TrainedOn(_Part):
    """The run that made some weights, as its record or an entry of the zoo states it."""

    run: Text
    benchmark: Text
    fingerprint: Digest
    """Of its data."""
    strategy: Text
    init: InitialCheckpoint | None = None
    """What that run started from in its turn."""


class InitialCheckpoint(_Part):
    """The weights that a run starts from. Two runs start alike if the digests and what is stated agree."""

    name: Text
    """How to ask for it: a name of the zoo, a Hub id at a commit, a run or a file. The same weights may have several,
    so it is no part of a run's identity."""
    sha256: Digest
    """Of the file of weights."""
    trained: TrainedOn | None = None
    """None: a bare file, of which nothing is known."""

    @property
    def reference(self) -> str:
        """What ``--init`` takes to find these weights and no others: ``NAME#sha256=HEX``."""
        return f"{self.name}{PIN}{self.sha256}"

    @property
    def short(self) -> str:
        """``NAME (3f2a9c1b)``: with eight digits of the digest."""
        return f"{self.name} ({self.sha256[:8]})"

    @property
    def label(self) -> str:
        """The same for a narrow place: of a name as long as a run's, what the weights were trained on."""
        long = self.trained is not None and len(self.name) > LONGEST_LABEL
        name = f"{self.trained.strategy} on {self.trained.benchmark}" if self.trained and long else self.name
        return f"{name} ({self.sha256[:8]})"

    def history(self) -> Iterator[TrainedOn]:
        """The trainings that led to these weights, the last first, as far as they are stated."""
        checkpoint: InitialCheckpoint | None = self
        while checkpoint is not None and checkpoint.trained is not None:
            yield checkpoint.trained
            checkpoint = checkpoint.trained.init

    def seen(self, fingerprint: str) -> bool:
        """Whether one of the stated trainings was on the data of this fingerprint."""
        return any(training.fingerprint == fingerprint for training in self.history())

    def note(self, fingerprint: str) -> str:
        """What a reader of results on these data should know of the weights, in one sentence.

        Args:
            fingerprint: Of the data that the run is on.
        """
        text = f"starts from {self.short}"
        stated = [f"under {each.strategy} on {each.benchmark}" for each in self.history()]
        if not stated:
            return f"{text}; what it was trained on is not stated, and may include the people tested here"
        text += f", trained {' and before that '.join(stated)}"
        if self.seen(fingerprint):
            return f"{text}: it has seen the training data of this very stream"
        last = [*self.history()][-1].init
        more = f" (before that {last.short}, of which nothing is stated)" if last is not None else ""
        return f"{text}{more}; whether its training data hold people tested here was not checked"


def parse_reference(text: str) -> tuple[str, str | None]:
    """(name, digest) of what ``--init`` was given; the digest is None where none is named.

    >>> parse_reference("runs/some-run")
    ('runs/some-run', None)

    Raises:
        UsageError: What follows ``#sha256=`` is no digest, or nothing is named.
    """
    name, pin, digest = text.rpartition(PIN)
    if not pin:
        name, digest = text, ""
    if pin and not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise UsageError(f"--init {text[:200]}: a sha256 has 64 hexadecimal digits (0-9, a-f)")
    if not name and not pin:
        raise UsageError("--init names nothing: give a name of the zoo, a run's folder, a file or a Hub id")
    return name, digest or None


TrainedOn.model_rebuild()

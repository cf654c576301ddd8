"""What a run counts and measures while it goes on, for its record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dfbench.training.compute import cost


@dataclass
class Ledger:
    """One entry per training in every list, but for ``evaluate``: that has one more, the untrained network's."""

    train: list[float] = field(default_factory=list)
    """Seconds of training."""
    evaluate: list[float] = field(default_factory=list)
    """Seconds of scoring all test sets."""
    mid_training: list[float] = field(default_factory=list)
    """Seconds of scoring test sets during the training; empty where that is not asked for."""
    perturbed: float | None = None
    """Seconds of scoring degraded copies; None where that was not done, or by an earlier process."""
    steps: list[int] = field(default_factory=list)
    """Optimizer steps."""
    forward: list[int] = field(default_factory=list)
    """Rows that went through the network."""
    backward: list[int] = field(default_factory=list)
    """Rows that a gradient came back through."""
    stored: list[int] = field(default_factory=list)
    """Distinct samples that the strategy holds afterwards."""
    held: list[list[list[int]]] = field(default_factory=list)
    """The same by experience and class."""
    resumed: int = 0
    """How often the run went on after an interruption."""

    def note_idle(self) -> None:
        """Note a stage in which nothing was trained."""
        self.train.append(0.0)
        for counts in (self.steps, self.forward, self.backward):
            counts.append(0)

    @property
    def seconds(self) -> dict[str, Any]:
        """The record's ``seconds``."""
        parts = {"train": self.train, "evaluate": self.evaluate, "mid_training": self.mid_training}
        total = sum(map(sum, parts.values())) + (self.perturbed or 0.0)
        return {**parts, "perturbed": self.perturbed, "total": total}

    @property
    def compute(self) -> dict[str, Any] | None:
        """The record's ``compute``; None where no pass was seen (the detector's own loop called no network)."""
        if not sum(self.forward):
            return None
        passes = round(cost(sum(self.forward), sum(self.backward)), 1)
        return {"forward": self.forward, "backward": self.backward, "passes": passes}

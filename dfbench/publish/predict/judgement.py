"""What is said of a face or a file; nothing of a checkpoint is needed to say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["likely fake", "likely real", "inconclusive", "no face found", "not supported"]
VERDICTS: tuple[Verdict, ...] = ("likely fake", "likely real", "inconclusive", "no face found", "not supported")


@dataclass(frozen=True)
class Judgement:
    """What is said of a face or a file.

    Attributes:
        verdict: One of :data:`VERDICTS`.
        reason: Why nothing is said, or why it is not supported; empty for the first two verdicts.
        score: Mean P(fake) of the network; None where no face was judged.
        probability: Mean calibrated P(fake); None without calibration.
        strange: Share of the looks that are further from the training data than its validation data are; None where
            that is not measured.
        code: The reason as a stable word, for programs and translations; docs/predict.md lists them.
        values: Figures in the reason, by name.
    """

    verdict: Verdict
    reason: str = ""
    score: float | None = None
    probability: float | None = None
    strange: float | None = None
    code: str = ""
    values: Mapping[str, float | str] = field(default_factory=dict)

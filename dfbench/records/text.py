"""How figures are written: the same words in HTML, Markdown and the terminal."""

from __future__ import annotations

from rich import filesize

NONE = "–"
UNITS = {"identity": "people", "video": "videos", "sample": "samples"}
"""What the intervals of a record draw."""
METRICS = {
    "auc": "AUC",
    "video_auc": "video AUC",
    "accuracy": "accuracy",
    "average_auc": "average AUC",
    "average_video_auc": "average video AUC",
    "average_accuracy": "average accuracy",
    "average": "average (headline)",
    "average_incremental": "average incremental (past)",
    "learning_accuracy": "learning accuracy",
    "next": "next experience",
    "whole": "whole stream",
    "bwt": "backward transfer (BWT)",
    "fwt": "forward transfer (FWT)",
    "forgetting": "forgetting",
    "forgetting_at_least": "forgetting, at least",
    "average_incremental_estimate": "average incremental (estimate)",
    "af": "average forgetting (AF)",
    "average_partial_auc": "partial AUC (false-positive rate up to 10 %)",
    "average_tpr_at_1_fpr": "true-positive rate at 1 % false positives",
    "fpr_drift": "threshold drift",
    "carried_tpr": "true-positive rate of carried thresholds",
    "generalisation": "generalisation (unseen sets)",
    "robustness": "robustness (degraded copies)",
}
"""Names of metrics in running text; one that a plugin brought is called as it is registered."""


def number(value: float | None, digits: int = 3) -> str:
    """A fixed number of decimals, a true minus, a dash for undefined."""
    if value is None:
        return NONE
    text = f"{value:.{digits}f}"
    text = text.lstrip("-") if float(text) == 0 else text
    return text.replace("-", "−")


def signed(value: float | None, digits: int = 3) -> str:
    """``+0.012``; no sign on what rounds to 0."""
    text = number(value, digits)
    return f"+{text}" if value is not None and round(value, digits) > 0 else text


def with_spread(value: float | None, spread: float | None, digits: int = 3) -> str:
    """``0.884 ± 0.013``."""
    return number(value, digits) if spread is None else f"{number(value, digits)} ± {number(spread, digits)}"


def interval(low: float | None, high: float | None) -> str:
    """``0.842 – 0.899``."""
    return NONE if low is None or high is None else f"{number(low)} – {number(high)}"


def size(count: float) -> str:
    """Bytes in a unit that suits them: ``2.5 kB``."""
    return filesize.decimal(round(count))


def count(value: float) -> str:
    """A whole number with thin spaces."""
    return f"{round(value):,}".replace(",", "\u202f")


def compute(relative: float | None) -> str:
    """Passes of training in those of plain training: ``2.5 ×``; a dash where they were not counted."""
    return NONE if relative is None else f"{relative:.1f} ×"


def seconds(value: float) -> str:
    """Seconds, or minutes or hours where there are many."""
    if value < 600:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"

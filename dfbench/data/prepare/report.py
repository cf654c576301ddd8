"""The report of a preparation: one line per video, good or bad."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from dfbench.data.prepare.extract import Extract

COLUMNS = (
    "video", "split", "label", "method", "wanted", "crops", "error", "note",
    "container", "codec", "pixel_format", "width", "height", "fps", "bit_rate", "frames",
)  # fmt: skip
"""Of ``report.csv``; from ``container`` on they describe the video itself."""


def line(done: Extract) -> dict[str, Any]:
    """The line of one item."""
    item, facts = done.item, done.facts
    about = {name: getattr(facts, name) if facts else "" for name in COLUMNS[COLUMNS.index("container") :]}
    return {
        "video": item.video, "split": item.split, "label": item.label, "method": item.method,
        "wanted": done.wanted, "crops": len(done.rows), "error": done.error, "note": "; ".join(done.notes), **about,
    }  # fmt: skip


def as_csv(lines: Sequence[dict[str, Any]]) -> bytes:
    """The whole report."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue().encode("utf-8", "backslashreplace")


def summary(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts over all lines.

    Returns:
        ``videos``, ``failed`` (without a crop), ``crops``, ``wanted``, and ``methods``: method → its videos with crops.
    """
    good = [each for each in lines if each["crops"]]
    methods: dict[str, int] = {}
    for each in good:
        methods[each["method"]] = methods.get(each["method"], 0) + 1
    return {
        "videos": len(lines),
        "failed": len(lines) - len(good),
        "crops": sum(each["crops"] for each in lines),
        "wanted": sum(each["wanted"] for each in good),
        "methods": dict(sorted(methods.items())),
    }

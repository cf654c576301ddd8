"""Frame rates, one per video, from a CSV file: of yours, or the ``report.csv`` of a prepared set."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from dfbench import DataError

NAMES = ("video", "filename")
"""Columns of which one must name the videos."""


def read_rates(path: Path) -> dict[str, float]:
    """Frames per second of each video; lines without a rate are left out.

    Args:
        path: a CSV file with a header: ``fps``, and ``video`` or ``filename``; other columns are not read.

    Raises:
        DataError: the file cannot be read, a column is missing, or a rate is not a number from 1 to 1000.
    """
    try:
        lines = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")))
        rows = list(lines)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a readable CSV file ({_reason(error)})") from None
    columns = lines.fieldnames or []
    name = next((column for column in NAMES if column in columns), None)
    if name is None or "fps" not in columns:
        raise DataError(f"{path}: needs the columns 'fps' and 'video' (or 'filename'); it has {', '.join(columns)}")
    rates: dict[str, float] = {}
    for row in rows:
        text, video = (row["fps"] or "").strip(), row[name] or ""
        if not text:
            continue
        try:
            rate = float(text)
        except ValueError:
            rate = 0.0
        if not 1 <= rate <= 1000:
            raise DataError(f"{path}: the frame rate {text!r} of {video!r} is not a number from 1 to 1000")
        if rates.setdefault(video, rate) != rate:
            raise DataError(f"{path}: {video!r} has two frame rates, {rates[video]:g} and {rate:g}")
    return rates


def rate_of(video: str, rates: dict[str, float] | float, where: str) -> float:
    """The frame rate of one video.

    Args:
        video: its name.
        rates: one for all, or one per video.
        where: names the file in errors.

    Raises:
        DataError: the file has none for it.
    """
    if not isinstance(rates, dict):
        return rates
    if video not in rates:
        raise DataError(f"{where}: no frame rate for video {video!r}")
    return rates[video]


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__

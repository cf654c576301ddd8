"""The manifest of a ``folder`` source: a CSV file with one row per picture.

========  ==================================================================================
path      required; relative to the source's root, inside it, each picture once
label     required; 0 or ``real``, 1 or ``fake``
split     ``train``, ``val`` (``valid``, ``validation``) or ``test``; without the column all are ``train``
source, method, identity, video, pair   texts; empty = unknown
frame     whole number; 0 without the column
sha256    of the file; a picture with other content counts as damaged
========  ==================================================================================

Other columns (``width``, ``height``, your own) are allowed and not used. The errors name the line.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from dfbench.data.pictures import VIDEOS
from dfbench.data.samples import Samples, printable
from dfbench.errors import DataError

LABELS = {"0": 0, "real": 0, "1": 1, "fake": 1}
SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
TEXTS = ("source", "method", "identity", "video", "pair")


def read_manifest(root: Path, manifest: Path) -> Samples:
    """Read and check a manifest.

    Args:
        root: the folder that the paths are relative to.
        manifest: the CSV file.

    Returns:
        the table, in the order of the file; a sample's name is its path.

    Raises:
        DataError: the file is missing or breaks one of the rules of this module's docstring.
    """
    lines: dict[str, int] = {}
    rows = []
    for number, record in _records(manifest):
        row = _row(record, f"{manifest}, line {number}")
        if row["sample"] in lines:
            before = f"is already listed in line {lines[row['sample']]}"
            raise DataError(f"{manifest}, line {number}: {row['sample']} {before}")
        lines[row["sample"]] = number
        rows.append(row)
    if not rows:
        raise DataError(f"{manifest}: no pictures are listed")
    _check_files(root, manifest, lines)
    return Samples.from_rows(rows)


def _records(manifest: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Line number and cells of every row."""
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            header = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = header
            _check_header(header, manifest)
            for record in reader:
                if None in record or None in record.values():
                    raise DataError(f"{manifest}, line {reader.line_num}: not {len(header)} cells as in the first line")
                yield reader.line_num, record
    except FileNotFoundError:
        raise DataError(f"{manifest}: there is no such manifest") from None
    except OSError as error:
        raise DataError(f"{manifest}: cannot be read ({error.strerror or error})") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{manifest}: not a CSV file in UTF-8 ({error})") from None


def _check_header(header: Sequence[str], manifest: Path) -> None:
    for needed in ("path", "label"):
        if needed not in header:
            named = ", ".join(header) or "none"
            advice = "; cells are separated by commas" if len(header) == 1 and re.search(r"[;\t]", named) else ""
            raise DataError(
                f"{manifest}: column {needed!r} is missing; the first line names {printable(named)}{advice}"
            )
    for name in filter(None, header):
        if header.count(name) > 1:
            raise DataError(f"{manifest}: the first line names column {name!r} twice")


def _row(record: Mapping[str, str], where: str) -> dict[str, Any]:
    label = LABELS.get(record["label"].strip().lower())
    if label is None:
        raise DataError(f"{where}: label {record['label']!r} is not 0, 1, real or fake")
    split = SPLITS.get(record.get("split", "train").strip().lower())
    if split is None:
        raise DataError(f"{where}: split {record['split']!r} is not train, val or test")
    frame = record.get("frame", "").strip() or "0"
    if not re.fullmatch(r"\d{1,9}", frame):
        raise DataError(f"{where}: frame {frame!r} is not a whole number")
    sha256 = record.get("sha256", "").strip().lower()
    if sha256 and not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise DataError(f"{where}: sha256 {sha256!r} is not 64 hexadecimal digits")
    texts = {name: record.get(name, "").strip() for name in TEXTS}
    return {
        "sample": _inside(record["path"].strip(), where),
        "label": label,
        "split": split,
        "frame": int(frame),
        "sha256": sha256,
        **texts,
    }


def _inside(path: str, where: str) -> str:
    """Normalise a relative path and check that it stays inside the root."""
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or re.match(r"[A-Za-z]:", path) or "\0" in path:
        raise DataError(f"{where}: path {path!r} must be relative to the root and stay inside it")
    if "\\" in path:
        raise DataError(f"{where}: path {path!r} has backslashes; write it with forward slashes")
    if pure.suffix.lower() in VIDEOS:
        raise DataError(f"{where}: {printable(path)} is a video, and frames are needed: extract them and list those")
    return pure.as_posix()


def _check_files(root: Path, manifest: Path, lines: Mapping[str, int]) -> None:
    """Check that every listed file exists. Links may lead anywhere: the user made them."""
    missing = [(path, number) for path, number in lines.items() if not _is_file(root / path)]
    if missing:
        named = ", ".join(f"{printable(path)} (line {number})" for path, number in missing[:5])
        raise DataError(f"{manifest}: {len(missing)} of {len(lines)} listed files are not in {root}: {named}")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, say
        return False

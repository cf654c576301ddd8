"""Which format a file of scores has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from dfbench.errors import DataError, UsageError
from dfbench.publish.imports import ai_genbench, columns, dfwb
from dfbench.publish.imports.predictions import Predictions
from dfbench.publish.imports.tables import column_names

Format = Literal["columns", "dfwb", "ai-genbench"]
FORMATS: tuple[Format, ...] = get_args(Format)


def files_of(paths: Sequence[Path]) -> list[Path]:
    """The files that are named, and in a folder those of AI-GenBench.

    Raises:
        DataError: A folder has none.
    """
    found: list[Path] = []
    for path in paths:
        inside = ai_genbench.files_in(path) if path.is_dir() else [path]
        if not inside:
            raise DataError(
                f"{path}: no folder window_N with predictions_test_epoch=…-step=….npz in it; other files are named "
                "one by one"
            )
        found += inside
    return found


def format_of(path: Path) -> Format:
    """The format of a file, by its columns."""
    names = column_names(path)
    return "ai-genbench" if ai_genbench.is_one(names) else "dfwb" if dfwb.is_one(names) else "columns"


def read(path: Path, form: Format, called: Mapping[str, str], test_set: str) -> Predictions:
    """The predictions of a file.

    Args:
        path: The file.
        form: Its format.
        called: For ``columns``: column of the format → what the file calls it.
        test_set: For ``columns``: what the test set is called where the file does not say.

    Raises:
        DataError: It is not of this format.
    """
    if form == "columns":
        return columns.read(path, called, test_set)
    if called:
        raise UsageError(f"{path}: --column renames columns of the format 'columns'; this file is read as {form!r}")
    return dfwb.read(path) if form == "dfwb" else ai_genbench.read(path)

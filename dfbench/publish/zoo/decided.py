"""What ``dfbench zoo calibrate`` found of a run, kept in the run's folder until an entry is made of it."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from dfbench.documents import read_json
from dfbench.errors import DataError, first_problem
from dfbench.files import write_json
from dfbench.publish.zoo.entry import Calibration, Familiarity
from dfbench.records.parts import Sha256

CALIBRATION, BANK = "calibration.json", "features.safetensors"
"""Names of the files in the folder of a run."""


class Decided(BaseModel):
    """How scores become verdicts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: Sha256
    """Of the weights that it was measured on."""
    calibration: Calibration
    familiarity: Familiarity | None = None


def stored_calibration(folder: Path, weights: str) -> Decided | None:
    """What is stored in a run's folder, or None; what was measured on other weights does not count.

    Raises:
        DataError: The file breaks the schema.
    """
    path = folder / CALIBRATION
    if not path.is_file():
        return None
    try:
        decided = Decided.model_validate(read_json(path))
    except ValidationError as error:
        raise DataError(f"{path}: {first_problem(error)}; delete it, and run dfbench zoo calibrate") from error
    return decided if decided.weights == weights else None


def store_calibration(folder: Path, decided: Decided) -> None:
    """Write it into a run's folder."""
    write_json(folder / CALIBRATION, decided.model_dump(mode="json"))

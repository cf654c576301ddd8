"""Which test sets of a file are the experiences of a stream, in which order, and which were never trained on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dfbench.errors import DataError, UsageError, unknown
from dfbench.evaluation import scores
from dfbench.publish.imports.predictions import UNTRAINED, Predictions

_NUMBER = re.compile(r"-?\d{1,4}")


@dataclass(frozen=True, eq=False)
class Order:
    """The stream that the predictions are of."""

    experiences: list[str]
    """T names, in order."""
    unseen: list[str]
    """U names of sets that no model was trained on."""
    trained_on: np.ndarray
    """int16 (n,) per prediction: experiences up to which the model was trained, from 0; -1 is the untrained network."""
    tested_on: np.ndarray
    """int16 (n,) per prediction: experiences, then unseen sets."""
    trained_once: str = ""
    """What a single model was trained on, where that is none of the test sets."""

    stated: bool = True
    """Whether the file says what its models were trained on."""

    @property
    def sets(self) -> list[str]:
        """All test sets."""
        return [*self.experiences, *self.unseen]


def arrange(predictions: Predictions, given: Sequence[str] = ()) -> Order:
    """The order of a file.

    Names are experiences in the order in which ``trained_on`` first has them, numbers count from 0. Test sets that
    nothing was trained on are unseen, unless there is one model alone and its training set is not tested (or not
    known): then all test sets are experiences, of which R has the last row alone.

    Args:
        predictions: Of all files.
        given: The experiences in order, where the user states them; else the format's, or as above.

    Raises:
        UsageError: ``given`` lacks an experience that a model was trained on, or has one twice.
        DataError: Some predictions say what the model was trained on, and others do not.
    """
    if len(set(given)) < len(given):
        raise UsageError(f"an experience is given twice: {', '.join(given)}")
    trained, tested = _distinct(predictions.trained_on), _distinct(predictions.tested_on)
    models = [name for name in trained if name and not _is_untrained(name)]
    if "" in trained and len(trained) > 1:
        raise DataError("some rows have no trained_on and others do: write it in all of them, or in none")
    known = list(given or predictions.experiences)
    if all(map(_NUMBER.fullmatch, [*models, *tested])) and models and not predictions.experiences:
        return _by_number(predictions, known, models, tested)
    once = models[0] if len(models) == 1 and models[0] not in (known or tested) else ""
    experiences = known or (models if models and not once else tested)
    if wrong := next((name for name in models if name not in experiences and name != once), None):
        raise unknown("experience that a model was trained on (--experience)", wrong, experiences)
    last = len(experiences) - 1
    unseen = [name for name in tested if name not in experiences]
    places = {name: place for place, name in enumerate([*experiences, *unseen])}
    row = {
        name: scores.UNTRAINED if _is_untrained(name) else last if name in ("", once) else places[name]
        for name in trained
    }
    models_of, sets_of = _numbers(predictions.trained_on, row), _numbers(predictions.tested_on, places)
    return Order(experiences, unseen, models_of, sets_of, once, stated="" not in trained)


def _by_number(predictions: Predictions, given: list[str], models: list[str], tested: list[str]) -> Order:
    last = max(map(int, models))
    if given and last >= len(given):
        raise UsageError(
            f"a model was trained on experience {last}, counted from 0, and --experience names {len(given)}"
        )
    experiences = given or [str(number) for number in range(last + 1)]
    further = sorted({int(name) for name in tested if int(name) >= len(experiences)})
    if wrong := next((name for name in tested if int(name) < 0), None):
        raise DataError(f"tested_on is {wrong}: experiences count from 0")
    unseen = [str(number) for number in further]
    places = {name: int(name) for name in tested if int(name) < len(experiences)}
    places |= {name: len(experiences) + further.index(int(name)) for name in tested if name not in places}
    row = {name: scores.UNTRAINED if _is_untrained(name) else int(name) for name in _distinct(predictions.trained_on)}
    return Order(experiences, unseen, _numbers(predictions.trained_on, row), _numbers(predictions.tested_on, places))


def _is_untrained(name: str) -> bool:
    return name.lower() == UNTRAINED or name == str(scores.UNTRAINED)


def _distinct(names: np.ndarray) -> list[str]:
    """In the order in which they are first met."""
    return list(dict.fromkeys(names.tolist()))


def _numbers(names: np.ndarray, places: dict[str, int]) -> np.ndarray:
    return np.array([places[name] for name in names.tolist()], dtype=np.int16)

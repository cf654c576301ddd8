"""Judge files with a checkpoint: find faces, let the detector predict, and say what that allows to be said."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dfbench.data.prepare.faces import FaceDetector
from dfbench.data.prepare.media import Facts
from dfbench.errors import DataError, DfbenchError
from dfbench.evaluation import outliers
from dfbench.files import sha256_of
from dfbench.plugins import Registry
from dfbench.publish.predict.faces import Face
from dfbench.publish.predict.judgement import Judgement
from dfbench.publish.predict.looking import Options, Recipe, Seen, look, refusal
from dfbench.publish.predict.verdict import calibration_of, judge, probabilities, together
from dfbench.publish.zoo.calibration import BANK_KEY, Features, heads_of
from dfbench.publish.zoo.checkpoint import LocatedEntry, load_located
from dfbench.publish.zoo.entry import CheckpointEntry
from dfbench.publish.zoo.predictor import Predictor
from dfbench.runs.environment import choose_device

MARGIN = 1.3
"""Of the crops, for a checkpoint that states none: that of ``dfbench data prepare``."""


@dataclass
class JudgedFace:
    """A face with what is said of it.

    Attributes:
        face: The face.
        judgement: What is said of it.
        scores: float32, P(fake) of each look.
        probabilities: Calibrated P(fake) of each look; None without calibration.
        far: bool, which looks are too far from the training data; None where it is not measured.
    """

    face: Face
    judgement: Judgement
    scores: np.ndarray
    probabilities: np.ndarray | None
    far: np.ndarray | None


@dataclass(frozen=True)
class Scores:
    """What the checkpoint says of some looks.

    Attributes:
        scores: float32 (n,), P(fake).
        far: bool (n,), which looks are too far from the training data; None where that is not measured.
    """

    scores: np.ndarray
    far: np.ndarray | None

    def part(self, start: int, stop: int) -> Scores:
        """Those of consecutive looks."""
        return Scores(self.scores[start:stop], None if self.far is None else self.far[start:stop])


@dataclass
class Answer:
    """What is said of a file.

    Attributes:
        path: The file.
        judgement: What is said of it as a whole.
        facts: Of the picture or video; None where it could not be opened.
        faces: Judged faces, the most prominent first.
        left_out: Faces that were not judged because there are too many.
        looked_at: Frames that were searched.
        seconds: Wall time.
        error: What is wrong with the file; empty where it was judged.
    """

    path: Path
    judgement: Judgement
    facts: Facts | None = None
    faces: list[JudgedFace] = field(default_factory=list)
    left_out: int = 0
    looked_at: int = 0
    seconds: float = 0.0
    error: str = ""

    @property
    def notes(self) -> list[str]:
        """What a reader should know of the file, in words."""
        notes = [self.facts.note] if self.facts is not None and self.facts.note else []
        if self.left_out:
            notes.append(f"{self.left_out} more faces were not judged")
        return notes


class Judge:
    """A checkpoint and a face detector that judge file after file.

    Args:
        located: The checkpoint, with its files on this machine.
        registry: What is installed.
        faces: Finds faces.
        device: ``auto``, ``cpu``, ``cuda``, …

    Raises:
        DataError: The checkpoint is damaged, or has more than two classes.
    """

    def __init__(self, located: LocatedEntry, registry: Registry, faces: FaceDetector, device: str = "auto") -> None:
        self.entry: CheckpointEntry = located.entry
        if len(self.entry.classes) != 2:
            raise DataError(f"{self.entry.name} distinguishes {len(self.entry.classes)} classes, not real from fake")
        self.predictor = Predictor(load_located(located, registry), choose_device(device))
        self.faces = faces
        self._heads = heads_of(self.predictor)
        self._bank = training_features(located)

    @property
    def recipe(self) -> Recipe:
        """How the checkpoint wants faces to be cut."""
        stated = self.entry.input
        clip = stated.unit[0] if stated.unit else 0
        return Recipe(self.entry.name, clip, stated.crop_margin or MARGIN, stated.picture_size)

    def judge(self, path: Path, options: Options) -> Answer:
        """What is said of a file; whatever is wrong with it is part of the answer."""
        start = time.perf_counter()
        try:
            seen = look(path, self.recipe, self.faces, options)
            answer = self.answer(path, seen, self.score(pixels_of(seen)))
        except DfbenchError as error:
            if not isinstance(error, DataError):  # the face detector or a plugin: the same for every file
                raise
            answer = refused(path, refusal(error, path))
        except Exception as error:
            answer = refused(path, refusal(error, path))
        answer.seconds = time.perf_counter() - start
        return answer

    def score(self, looks: Sequence[np.ndarray]) -> Scores:
        """Predict looks, of one file or of several together, in the batches of an evaluation.

        Args:
            looks: uint8 (H, W, 3) each, or (T, H, W, 3) for a checkpoint of clips, cut as :attr:`recipe` says.
        """
        if not looks:
            return Scores(np.empty(0, np.float32), None)
        caught = Features()
        with caught.of(self._heads):
            scores = np.asarray(self.predictor.predict(list(looks)))
        return Scores(scores, self._far(caught, len(looks)))

    def answer(self, path: Path, seen: Seen, scores: Scores) -> Answer:
        """What is said of a file whose looks were scored, those of the first face first."""
        found = seen.found
        answer = Answer(path, Judgement("inconclusive"), seen.facts, left_out=found.left_out, looked_at=found.looked_at)
        start = 0
        for face in found.faces:
            mine = scores.part(start, start + len(face.looks))
            start += len(face.looks)
            calibrated = probabilities(mine.scores, calibration_of(self.entry))
            judgement = judge(self.entry, mine.scores, mine.far, face.side)
            answer.faces.append(JudgedFace(face, judgement, mine.scores, calibrated, mine.far))
        answer.judgement = together([face.judgement for face in answer.faces], found.looked_at)
        return answer

    def _far(self, caught: Features, count: int) -> np.ndarray | None:
        """Which looks are further from the training data than the threshold; None where that cannot be measured."""
        familiarity = self.entry.decision.familiarity
        if familiarity is None or self._bank is None or not caught.parts:
            return None
        features = np.concatenate(caught.parts)
        if features.shape != (count, self._bank.shape[1]):
            return None
        return np.asarray(outliers.distances(features, self._bank, familiarity.neighbour) > familiarity.threshold)


def pixels_of(seen: Seen) -> list[np.ndarray]:
    """The crops of all faces, those of the first one first."""
    return [each.pixels for face in seen.found.faces for each in face.looks]


def refused(path: Path, judgement: Judgement) -> Answer:
    """The answer on a file that could not be looked at."""
    return Answer(path, judgement, error=judgement.reason)


def judge_all(
    judge: Judge, paths: Sequence[Path], options: Options, progress: Callable[[int, int, str], None] | None = None
) -> Iterator[Answer]:
    """The answers, in order; ``progress`` receives (files done, files, name of the next)."""
    for number, path in enumerate(paths):
        if progress is not None:
            progress(number, len(paths), f"judging {path.name}")
        yield judge.judge(path, options)
    if progress is not None:
        progress(len(paths), len(paths), "judging")


def identity(entry: CheckpointEntry) -> dict[str, Any]:
    """What a reader must know of the model, as JSON holds it."""
    calibration = calibration_of(entry)
    return {
        "name": entry.name,
        "detector": entry.detector,
        "weights_sha256": entry.weights.sha256,
        "scope": entry.training.scope,
        "trained_on": entry.training.benchmark,
        "experiences": list(entry.training.experiences),
        "strategy": entry.training.strategy,
        "data_fingerprint": entry.training.fingerprint,
        "calibration": None if calibration is None else calibration.model_dump(mode="json"),
        "intended_use": entry.intended_use,
        "limits": entry.limits,
    }


def document(answer: Answer) -> dict[str, Any]:
    """An answer as JSON holds it; figures are rounded to six digits."""
    facts = None if answer.facts is None else dataclasses.asdict(answer.facts)
    return {
        "file": str(answer.path),
        **_judgement(answer.judgement),
        "media": facts,
        "frames_looked_at": answer.looked_at,
        "notes": answer.notes,
        "faces": [_face(each) for each in answer.faces],
        "seconds": round(answer.seconds, 3),
    }


def _judgement(judgement: Judgement) -> dict[str, Any]:
    return {
        "verdict": judgement.verdict,
        "reason": judgement.reason,
        "code": judgement.code,
        "values": dict(judgement.values),
        "score": _rounded(judgement.score),
        "probability": _rounded(judgement.probability),
        "unfamiliar": _rounded(judgement.strange),
    }


def _face(judged: JudgedFace) -> dict[str, Any]:
    looks = []
    for number, each in enumerate(judged.face.looks):
        looks.append(
            {
                "frame": each.frames[0],
                "frames": len(each.frames),
                "seconds": _rounded(each.seconds),
                "box": list(each.where),
                "score": _rounded(float(judged.scores[number])),
                "probability": None if judged.probabilities is None else _rounded(float(judged.probabilities[number])),
                "unfamiliar": None if judged.far is None else bool(judged.far[number]),
            }
        )
    return {**_judgement(judged.judgement), "side": round(judged.face.side, 1), "looks": looks}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def training_features(located: LocatedEntry) -> np.ndarray | None:
    """The training features of a checkpoint, float32 (n, d).

    Raises:
        DataError: The file is damaged or not the one of the entry.
    """
    familiarity = located.entry.decision.familiarity
    if familiarity is None:
        return None
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = located.folder / familiarity.bank
    stated = next(file for file in located.entry.files if file.path == familiarity.bank)
    try:
        if sha256_of(path) != stated.sha256:
            raise DataError(f"{path}: not the file that {located.entry.name} names (sha256)")
        bank = load_file(path)[BANK_KEY]
    except (OSError, SafetensorError, KeyError) as error:
        raise DataError(f"{path}: no training features ({' '.join(str(error).split())})") from error
    if bank.ndim != 2 or not len(bank) or not np.isfinite(bank).all():
        raise DataError(f"{path}: training features of shape {bank.shape}")
    return np.asarray(bank, np.float32)

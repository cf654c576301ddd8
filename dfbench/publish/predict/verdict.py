"""From the scores of a face to a verdict that admits doubt, and from faces to that of a file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dfbench.evaluation.calibration import Platt
from dfbench.publish.predict.faces import SMALLEST
from dfbench.publish.predict.judgement import Judgement
from dfbench.publish.zoo.entry import Calibration, CheckpointEntry


def probabilities(scores: np.ndarray, calibration: Calibration | None) -> np.ndarray | None:
    """Calibrated P(fake), float64 (n,); None without calibration."""
    return None if calibration is None else Platt(calibration.slope, calibration.intercept)(scores)


def calibration_of(entry: CheckpointEntry) -> Calibration | None:
    """The calibration of a checkpoint, if it has one."""
    return entry.decision.calibration if isinstance(entry.decision.calibration, Calibration) else None


def judge(entry: CheckpointEntry, scores: np.ndarray, far: np.ndarray | None, side: float) -> Judgement:
    """What is said of one face.

    Args:
        entry: The checkpoint.
        scores: P(fake) of each look, (n,), n ≥ 1.
        far: bool (n,), which looks are too far from the training data; None: not measured.
        side: Of the face, in pixels.

    Returns:
        ``likely fake`` or ``likely real`` only where the checkpoint was trained on deepfakes, is calibrated, and the
        face is large and like enough to what it knows.
    """
    calibration = calibration_of(entry)
    calibrated = probabilities(scores, calibration)
    score = float(scores.mean())
    p = None if calibrated is None else float(calibrated.mean())
    strange = None if far is None else float(far.mean())

    def unsure(code: str, reason: str, **values: float | str) -> Judgement:
        return Judgement("inconclusive", reason, score, p, strange, code, values)

    if entry.training.scope != "deepfakes":
        code = "laboratory" if entry.training.scope == "laboratory" else "scope_not_stated"
        return unsure(code, _laboratory(entry), model=entry.name, trained_on=entry.training.benchmark)
    if side < SMALLEST:
        reason = f"the face is {side:.0f} pixels wide; at least {SMALLEST} are needed"
        return unsure("small_face", reason, side=round(side), needed=SMALLEST)
    if calibration is None or p is None:
        reason = "this model is not calibrated, so its score is no probability (dfbench zoo calibrate)"
        return unsure("not_calibrated", reason)
    if strange is not None and strange > 0.5:
        return unsure("unfamiliar", "the face is unlike those that this model was trained on")
    if calibration.real_below <= p <= calibration.fake_above:
        return unsure("in_between", "the score is in the range in which this model is wrong too often")
    return Judgement("likely fake" if p > calibration.fake_above else "likely real", "", score, p, strange)


def _laboratory(entry: CheckpointEntry) -> str:
    what = "a laboratory" if entry.training.scope == "laboratory" else "data that are not stated to be deepfakes"
    return (
        f"a demonstration: {entry.name} was trained on {what} ({entry.training.benchmark}) and cannot judge real "
        "pictures; use a model trained on deepfakes (--model)"
    )


def together(faces: Sequence[Judgement], looked_at: int) -> Judgement:
    """What is said of a file: fake if one face is, real if all are.

    Args:
        faces: The judgements of its faces.
        looked_at: Frames that were searched.
    """
    if not faces:
        many = "the picture" if looked_at == 1 else f"{looked_at} frames"
        return Judgement("no face found", f"no face was found in {many}", code="no_face", values={"frames": looked_at})
    for verdict in ("likely fake", "inconclusive", "likely real"):
        mine = [face for face in faces if face.verdict == verdict]
        if mine:
            return max(mine, key=lambda face: (face.probability or 0, face.score or 0))
    raise AssertionError("a face has one of three verdicts")

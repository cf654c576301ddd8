"""A logistic regression that tries to tell reals from fakes by what is not in the face, and when it succeeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

LIMIT = 0.7
"""AUC from which on such a classifier explains what detectors reach across data sets (Xception trained on
FaceForensics++ has .737 on Celeb-DF v2 in DeepfakeBench, NeurIPS 2023, table 3)."""

SURE = 4.0
"""Standard errors that an AUC must lie above chance to count: in few samples chance alone passes :data:`LIMIT`."""

ENOUGH = 20
"""Independent samples of each class below which no AUC is computed."""

FOLDS = 5

Row = Mapping[str, float | str]
"""Features of one sample: numbers, and words that are compared as they are."""


def tells_apart(auc: float, negatives: int, positives: int) -> bool:
    """Whether an AUC says that two groups differ: at least :data:`LIMIT`, and :data:`SURE` standard errors above ½.

    Args:
        auc: in [0, 1].
        negatives: independent samples of the one group.
        positives: of the other.
    """
    return auc >= LIMIT and auc - 0.5 >= SURE * chance_error(negatives, positives)


def chance_error(negatives: int, positives: int) -> float:
    """Standard error of the AUC of two groups that do not differ (Mann and Whitney, 1947)."""
    return math.sqrt((negatives + positives + 1) / (12 * negatives * positives))


def cross_validated(rows: Sequence[Row], labels: np.ndarray, groups: np.ndarray) -> float | None:
    """The AUC of predictions for samples that the regression was not fitted on; None where there are too few.

    Args:
        rows: features of the n samples.
        labels: 0 and 1, (n,).
        groups: names, (n,); samples of one group are in one fold.
    """
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

    if min(independent(labels, groups)) < ENOUGH:
        return None
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    scores = cross_val_predict(_model(), rows, labels, groups=groups, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(labels, scores))


def fitted(rows: Sequence[Row], labels: np.ndarray, tests: Sequence[Row], test_labels: np.ndarray) -> float:
    """The AUC on tests of a regression that was fitted on other samples; both have both classes."""
    from sklearn.metrics import roc_auc_score

    scores = _model().fit(rows, labels).predict_proba(tests)[:, 1]
    return float(roc_auc_score(test_labels, scores))


def independent(labels: np.ndarray, groups: np.ndarray) -> tuple[int, int]:
    """How many groups have a sample of label 0, and of label 1."""
    zero, one = (len(set(groups[labels == label].tolist())) for label in (0, 1))
    return zero, one


def single(rows: Sequence[Row], labels: np.ndarray) -> list[tuple[str, float]]:
    """Features by how well each tells the classes apart on its own, best first; words by their share of fakes."""
    from sklearn.metrics import roc_auc_score

    found = []
    for column in dict.fromkeys(name for row in rows for name in row):
        values = [row.get(column, 0.0) for row in rows]
        if any(isinstance(value, str) for value in values):
            shares = {word: labels[[value == word for value in values]].mean() for word in set(values)}
            numbers = np.array([shares[value] for value in values])
        else:
            numbers = np.array(values, float)
        auc = float(roc_auc_score(labels, numbers))
        found.append((column, max(auc, 1 - auc)))
    return sorted(found, key=lambda pair: -pair[1])


def _model():  # type: ignore[no-untyped-def]  # scikit-learn has no types
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(
        DictVectorizer(sparse=False), StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000)
    )

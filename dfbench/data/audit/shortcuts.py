"""Can reals and fakes be told apart without looking at them? A logistic regression on what the headers say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from dfbench.data.audit.media import Facts
from dfbench.data.audit.result import SHOWN, Check
from dfbench.data.prepare.item import Item

LIMIT = 0.7
"""AUC from which on headers alone explain what detectors reach across data sets (Xception trained on FaceForensics++
has .737 on Celeb-DF v2 in DeepfakeBench, NeurIPS 2023, table 3)."""

ENOUGH = 20
"""Independent reals and fakes below which no AUC is computed."""

FOLDS = 5


def shortcuts(items: Sequence[Item], facts: Mapping[str, Facts]) -> Check:
    """The cross-validated AUC of all header facts together, over the whole set and for each method.

    A real and its fakes are in one fold, so that a pair's own size or length tells nothing about its partner.
    """
    name = "shortcuts"
    known = [item for item in items if item.video in facts]
    reals = [item for item in known if not item.label]
    measured: dict[str, float] = {}
    methods = sorted({item.method for item in known if item.label})
    for title, fakes in {"all fakes": None, **{method: method for method in methods}}.items():
        part = reals + [item for item in known if item.label and fakes in (None, item.method)]
        if (auc := _auc(part, facts)) is not None:
            measured[title] = auc
    if not measured:
        return Check(name, "not checked", detail=f"fewer than {ENOUGH} reals or {ENOUGH} fakes")
    bad = {title: auc for title, auc in measured.items() if auc >= LIMIT}
    figures = f"AUC of headers alone {measured['all fakes']:.3f}" if "all fakes" in measured else "AUC of headers alone"
    if not bad:
        return Check(name, "passed", 0, f"{figures}, at most {max(measured.values()):.3f} for a method")
    examples = [f"{title}: {auc:.3f}" for title, auc in sorted(bad.items(), key=lambda pair: -pair[1])]
    worst = reals + [item for item in known if item.label]
    examples[SHOWN - 3 :] = [f"{column} alone: {auc:.3f}" for column, auc in _single(worst, facts)[:3]]
    return Check(name, "failed", len(bad), f"{figures}: from {LIMIT} on they tell the classes apart", tuple(examples))


def _row(facts: Facts) -> dict[str, float | str]:
    """Features of one item: words for what is a name, logarithms for what is a size."""
    pixels = facts.width * facts.height * facts.frames
    return {
        "container": facts.container, "codec": facts.codec, "layout": facts.layout,
        "resolution": f"{facts.width}×{facts.height}",
        "width": math.log(facts.width), "height": math.log(facts.height), "frames": math.log(facts.frames),
        "rate": facts.rate, "bytes": math.log1p(facts.bytes), "bytes a pixel": math.log(max(facts.bytes, 1) / pixels),
    }  # fmt: skip


def _auc(items: Sequence[Item], facts: Mapping[str, Facts]) -> float | None:
    """The AUC over cross-validated predictions; None where there are too few."""
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    labels, groups = np.array([item.label for item in items]), np.array([item.pair or item.video for item in items])
    if any(len(set(groups[labels == label].tolist())) < ENOUGH for label in (0, 1)):
        return None
    rows = [_row(facts[item.video]) for item in items]
    model = make_pipeline(
        DictVectorizer(sparse=False), StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000)
    )
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    scores = cross_val_predict(model, rows, labels, groups=groups, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(labels, scores))


def _single(items: Sequence[Item], facts: Mapping[str, Facts]) -> list[tuple[str, float]]:
    """Features by how well each tells the classes apart on its own, best first; words by their share of fakes."""
    from sklearn.metrics import roc_auc_score

    labels = np.array([item.label for item in items])
    rows = [_row(facts[item.video]) for item in items]
    found = []
    for column in rows[0]:
        values = [row[column] for row in rows]
        if isinstance(values[0], str):
            shares = {word: labels[[value == word for value in values]].mean() for word in set(values)}
            numbers = np.array([shares[value] for value in values])
        else:
            numbers = np.array(values, float)
        auc = float(roc_auc_score(labels, numbers))
        found.append((column, max(auc, 1 - auc)))
    return sorted(found, key=lambda pair: -pair[1])

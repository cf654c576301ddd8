"""A recorded file of scores and the AUCs that scikit-learn prints for it: ``python -m tests.publish.imports.recorded``.

A linear classifier of scikit-learn learns three pairs of handwritten digits one after another (the odd digit is the
"fake"), with its own loop and without dfbench, and forgets. ``printed.json`` holds R by ``sklearn.metrics``.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

FOLDER = Path(__file__).parent / "recorded"
PAIRS = {"zero-one": (0, 1), "two-three": (2, 3), "four-five": (4, 5)}
COLUMNS = ("trained_on", "tested_on", "sample", "label", "score", "logit")


def main() -> None:
    """Write both files."""
    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.linear_model import SGDClassifier
    from sklearn.metrics import roc_auc_score

    pictures, digits = load_digits(return_X_y=True)
    noisy = pictures / 16 + np.random.default_rng(0).normal(0, 0.5, pictures.shape)
    rows = {name: np.flatnonzero(np.isin(digits, pair)) for name, pair in PAIRS.items()}
    model = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.05, random_state=0)
    lines, printed = [], {}
    for trained, chosen in rows.items():
        model.partial_fit(noisy[chosen[60:]], digits[chosen[60:]] % 2, classes=[0, 1])
        for tested, others in rows.items():
            test = others[:60]
            truth, logits = digits[test] % 2, model.decision_function(noisy[test])
            scores = 1 / (1 + np.exp(-logits))
            printed[f"{trained} {tested}"] = f"{roc_auc_score(truth, scores):.4f}"
            for row, label, score, logit in zip(test, truth, scores, logits, strict=True):
                lines.append([trained, tested, f"digit-{row:04d}", label, f"{score:.9g}", f"{logit:.9g}"])
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / "scores.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *lines])
    (FOLDER / "printed.json").write_text(json.dumps(printed, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""AUC, on each forgery family, of features that know nothing about faces.

    python -m dfbench.forge.shortcuts --split val

A benchmark whose fakes show in a few averages would measure nothing. For each family and each trivial feature, a
logistic regression is fitted on the training identities; the table shows its AUC on another split.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import cv2
import numpy as np

from dfbench.forge import render

RADIAL_BINS = 18


def mean_colour(image: np.ndarray) -> np.ndarray:
    """Mean and spread of each channel: (6,)."""
    return np.concatenate([image.mean(axis=(0, 1)), image.std(axis=(0, 1))])


def thumbnail(image: np.ndarray) -> np.ndarray:
    """The picture in 8×8 pixels: (192,)."""
    return cv2.resize(image, (8, 8), interpolation=cv2.INTER_AREA).astype(float).ravel()


def jpeg_size(image: np.ndarray) -> np.ndarray:
    """Size in bytes as a JPEG of quality 75 and of 95: (2,)."""
    return np.array(
        [len(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]) for quality in (75, 95)],
        float,
    )


def blockiness(image: np.ndarray) -> np.ndarray:
    """Mean step over each of the eight column and eight row positions of a JPEG block: (16,)."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(float)
    across, down = np.abs(np.diff(grey, axis=1)).mean(axis=0), np.abs(np.diff(grey, axis=0)).mean(axis=1)
    return np.concatenate([[steps[phase::8].mean() for phase in range(8)] for steps in (across, down)])


def high_frequency(image: np.ndarray) -> np.ndarray:
    """Log energy of the Laplacian, of the whole frame and of its middle: (2,)."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(float)
    energy = cv2.Laplacian(grey, cv2.CV_64F) ** 2
    quarter = len(grey) // 4
    return np.log1p([energy.mean(), energy[quarter:-quarter, quarter:-quarter].mean()])


def radial_spectrum(image: np.ndarray) -> np.ndarray:
    """Log power averaged over rings of the 2-D spectrum, centre to corner: (18,)."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(float)
    power = np.abs(np.fft.fftshift(np.fft.fft2(grey))) ** 2
    y, x = np.indices(grey.shape)
    radius = np.hypot(y - grey.shape[0] // 2, x - grey.shape[1] // 2)
    ring = np.minimum((radius / (radius.max() + 1e-9) * RADIAL_BINS).astype(int), RADIAL_BINS - 1)
    return np.log(np.bincount(ring.ravel(), power.ravel()) / np.bincount(ring.ravel()) + 1e-6)


FEATURES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    f.__name__: f for f in (mean_colour, thumbnail, jpeg_size, blockiness, high_frequency, radial_spectrum)
}


def features(identity: str, family: str) -> list[tuple[str, int, dict[str, np.ndarray]]]:
    """The split, the label and all features of each frame of one person in one family."""
    return [
        (row["split"], row["label"], {name: f(np.ascontiguousarray(image)) for name, f in FEATURES.items()})
        for row, image in render.render(identity, family)
    ]


def table(family: str, people: list[str], split: str, workers: int = 1) -> dict[str, float]:
    """AUC of each trivial feature on one family.

    Args:
        family: the forgery family.
        people: identities to render; those of the train split fit the regression.
        split: the split that is scored.
        workers: number of processes.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    with ProcessPoolExecutor(workers) as pool:
        frames = [f for chunk in pool.map(partial(features, family=family), people, chunksize=8) for f in chunk]
    result = {}
    for name in FEATURES:
        parts = {
            part: (
                np.array([f[2][name] for f in frames if f[0] == part]),
                [f[1] for f in frames if f[0] == part],
            )
            for part in ("train", split)
        }
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(*parts["train"])
        result[name] = float(roc_auc_score(parts[split][1], model.decision_function(parts[split][0])))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m dfbench.forge.shortcuts", description=__doc__.split("\n")[0])
    parser.add_argument("--split", choices=["val", "test"], default="val")
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    people = [*render.identities("train"), *render.identities(args.split)]
    print(f"| family | {' | '.join(name.replace('_', ' ') for name in FEATURES)} |")
    print("|---" * (len(FEATURES) + 1) + "|")
    for family in (*render.families(), *render.held_out()):
        scores = table(family, people, args.split, args.workers)
        print(f"| {family} | {' | '.join(f'{score:.2f}' for score in scores.values())} |", flush=True)


if __name__ == "__main__":
    main()

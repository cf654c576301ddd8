"""AUC of a checkpoint on real data that it was never trained, tuned or chosen on: ``python -m perf.outside MODEL``.

``--crops DIR``: face crops with a ``manifest.csv`` (columns path, label, source, method, video). A source is measured
by picture, and by video (the mean over its pictures) where it has some. ``--videos DIR``: a tree of FaceForensics++;
faces are found and cropped as ``dfbench predict`` does, and a video's score is the mean over its most prominent face.
What is not there is skipped, with the reason. With few videos an AUC says little: n stands next to it, and the share of
all ways to call as many videos fake that reach as much (a permutation test).
"""

from __future__ import annotations

import argparse
import csv
import itertools
import math
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from dfbench.data.pictures import read_picture
from dfbench.evaluation.detection import auc
from dfbench.plugins import registry
from dfbench.publish.predict.face_detectors import face_detector
from dfbench.publish.predict.looking import Options
from dfbench.publish.predict.run import Judge
from dfbench.publish.zoo.checkpoint import load_located
from dfbench.publish.zoo.predictor import Predictor
from dfbench.publish.zoo.resolve import fetch, resolve
from dfbench.runs.environment import choose_device
from perf import results

SWAPS = ("Deepfakes", "FaceSwap")
REAL = ("original", "original_sequences")
AT_ONCE = 64


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a name of the zoo, an entry's file, or a run's folder")
    parser.add_argument("--crops", type=Path, help="folder of face crops with manifest.csv")
    parser.add_argument("--videos", type=Path, help="folder of FaceForensics++ videos")
    parser.add_argument("--frames", type=int, default=32, help="frames of a video that are looked at")
    results.add_json(parser)
    arguments, began = parser.parse_args(), results.load()
    located = fetch(resolve(arguments.model, registry()))
    entry = located.entry
    found: dict[str, Any] = {
        "name": "outside",
        "model": entry.name,
        "weights_sha256": entry.weights.sha256,
        "trained_on": entry.training.benchmark,
    }
    if arguments.crops is None or not (arguments.crops / "manifest.csv").is_file():
        print("crops: skipped, no manifest.csv (--crops DIR)")
    else:
        predictor = Predictor(load_located(located, registry()), choose_device("cpu"))
        found["crops"] = of_crops(predictor, arguments.crops)
    if arguments.videos is None or not arguments.videos.is_dir():
        print("videos: skipped, no such folder (--videos DIR)")
    else:
        judge = Judge(located, registry(), face_detector("mtcnn", "cpu").make(), "cpu")
        found["videos"] = of_videos(judge, arguments.videos, Options(arguments.frames))
    for part in ("crops", "videos"):
        for name, figures in found.get(part, {}).items():
            shown = ", ".join(f"{key} {value}" for key, value in figures.items())
            print(f"{part}: {name}: {shown}")
    results.report(found, arguments.json, began)


def of_crops(predictor: Predictor, folder: Path) -> dict[str, dict[str, Any]]:
    """Source → figures; within a source of several forgeries each against all of its reals, and the swaps together."""
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    scores: list[float] = []
    for start in range(0, len(rows), AT_ONCE):
        pictures = [read_picture(folder / row["path"]) for row in rows[start : start + AT_ONCE]]
        scores += np.asarray(predictor.predict(pictures)).tolist()
    table: dict[str, dict[str, Any]] = {}
    for source in sorted({row["source"] for row in rows}):
        mine = [(row, score) for row, score in zip(rows, scores, strict=True) if row["source"] == source]
        reals = [(row["video"], score) for row, score in mine if row["label"] == "0"]
        fakes: dict[str, list[tuple[str, float]]] = defaultdict(list)
        for row, score in mine:
            if row["label"] == "1":
                fakes[row["method"]].append((row["video"], score))
        table |= _table(source, reals, fakes)
    return table


def of_videos(judge: Judge, folder: Path, options: Options) -> dict[str, dict[str, Any]]:
    """Method → figures by video; the folder below which a video lies names its method."""
    reals: list[tuple[str, float]] = []
    fakes: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for path in sorted(folder.rglob("*.mp4")):
        answer = judge.judge(path, options)
        if not answer.faces:
            print(f"videos: {path.name}: {answer.error or 'no face found'}")
            continue
        looks = [(path.name, float(score)) for score in answer.faces[0].scores]
        if any(part in REAL for part in path.parts):
            reals += looks
        else:
            fakes[path.parts[path.parts.index("manipulated_sequences") + 1]] += looks
    return _table("ffpp", reals, fakes)


def _table(
    source: str, reals: list[tuple[str, float]], fakes: dict[str, list[tuple[str, float]]]
) -> dict[str, dict[str, Any]]:
    parts = {source: list(itertools.chain(*fakes.values()))}
    if len(fakes) > 1:
        parts |= {f"{source} {method}": found for method, found in sorted(fakes.items())}
        if any(method in SWAPS for method in fakes):
            parts[f"{source} swaps"] = [each for method in SWAPS for each in fakes.get(method, [])]
    return {name: figures(reals, found) for name, found in parts.items()}


def figures(reals: Iterable[tuple[str, float]], fakes: Iterable[tuple[str, float]]) -> dict[str, Any]:
    """AUC by picture, and by video where several pictures are of one.

    Args:
        reals: video and score of each picture.
        fakes: likewise.
    """
    sides = (list(reals), list(fakes))
    every = [[score for _, score in side] for side in sides]
    means = [_means(side) for side in sides]
    result = {"auc": _auc(*every), "reals": len(every[0]), "fakes": len(every[1])}
    if [len(side) for side in means] != [len(side) for side in every]:
        result |= {"video_auc": _auc(*means), "real_videos": len(means[0]), "fake_videos": len(means[1])}
        if math.comb(len(means[0]) + len(means[1]), len(means[0])) <= 20_000:
            result["by_chance"] = by_chance(*means)
    return result


def by_chance(reals: list[float], fakes: list[float]) -> float:
    """The share of all ways to call as many videos fake whose AUC is at least this one: a permutation test."""
    scores, count = np.array(reals + fakes), len(fakes)
    reached = _exact(reals, fakes)
    ways = []
    for chosen in itertools.combinations(range(len(scores)), count):
        labels = np.zeros(len(scores), int)
        labels[list(chosen)] = 1
        ways.append(auc(labels, scores) >= reached - 1e-9)
    return round(float(np.mean(ways)), 3)


def _means(side: list[tuple[str, float]]) -> list[float]:
    by_video: dict[str, list[float]] = defaultdict(list)
    for video, score in side:
        by_video[video].append(score)
    return [float(np.mean(scores)) for scores in by_video.values()]


def _exact(reals: list[float], fakes: list[float]) -> float:
    return auc(np.repeat([0, 1], [len(reals), len(fakes)]), np.array(reals + fakes))


def _auc(reals: list[float], fakes: list[float]) -> float:
    return round(_exact(reals, fakes), 4)


if __name__ == "__main__":
    main()

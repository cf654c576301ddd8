"""How often inputs that a checkpoint does not know are recognised: ``python -m perf.familiarity``.

Shares of pictures whose features lie further from the training data than the checkpoint's threshold, under which 95 %
of its validation data lie: its own test pictures, the same made worse, drawings and noise without a face, and
photographs where they are available (``--crops DIR``: face crops of real data; CIFAR-10 under ``$DFBENCH_DATA``).
Pictures are shown whole, without a search for faces: a file without a face never comes so far in ``dfbench predict``.
"""

from __future__ import annotations

import argparse
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw

from dfbench.data.pictures import SUFFIXES, read_picture
from dfbench.evaluation import outliers
from dfbench.forge import pack, render
from dfbench.plugins import registry
from dfbench.publish.predict.run import training_features
from dfbench.publish.zoo.calibration import Features, heads_of
from dfbench.publish.zoo.checkpoint import load_located
from dfbench.publish.zoo.predictor import Predictor
from dfbench.publish.zoo.resolve import resolve
from dfbench.runs.environment import choose_device
from perf import results

MOST = 400


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="simple_cnn-replay-forge5")
    parser.add_argument("--crops", type=Path, help="folder of face crops of real data")
    results.add_json(parser)
    arguments, began = parser.parse_args(), results.load()
    located = resolve(arguments.model, registry())
    predictor = Predictor(load_located(located, registry()), choose_device("cpu"))
    familiarity, bank = located.entry.decision.familiarity, training_features(located)
    if familiarity is None or bank is None:
        raise SystemExit(f"{arguments.model} has no training features (dfbench zoo calibrate)")
    table = {}
    for name, pictures in sets(arguments.crops).items():
        caught = Features()
        with caught.of(heads_of(predictor)):
            predictor.predict(pictures)
        far = outliers.distances(np.concatenate(caught.parts), bank, familiarity.neighbour) > familiarity.threshold
        table[name] = {"far": round(float(far.mean()), 4), "pictures": len(pictures)}
        print(f"{name:45} {far.mean():6.1%}  of {len(pictures)}")
    results.report({"name": "familiarity", "model": arguments.model, "sets": table}, arguments.json, began)


def sets(crops: Path | None) -> dict[str, list[np.ndarray]]:
    """Name → pictures, uint8 (H, W, 3)."""
    own = list(test_pictures())
    rng = np.random.default_rng(0)
    changes: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "test pictures": lambda picture: picture,
        "test pictures, JPEG quality 20": lambda picture: jpeg(picture, 20),
        "test pictures, JPEG quality 5": lambda picture: jpeg(picture, 5),
        "test pictures, blurred (sigma 3 pixels)": lambda picture: cv2.GaussianBlur(picture, (0, 0), 3),
        "test pictures, noise (sigma 40)": lambda p: np.clip(p + rng.normal(0, 40, p.shape), 0, 255).astype(np.uint8),
    }
    found = {name: [change(picture) for picture in own] for name, change in changes.items()}
    found["drawings of faces"] = [drawing(rng) for _ in range(MOST)]
    found["noise"] = list(rng.integers(0, 256, (MOST, 112, 112, 3), dtype=np.uint8))
    if crops is not None:
        files = sorted(path for path in crops.rglob("*") if path.suffix.lower() in SUFFIXES)
        found["face crops of real data"] = [read_picture(files[i]) for i in rng.permutation(len(files))[:MOST]]
    if (data := os.environ.get("DFBENCH_DATA")) and (Path(data) / "cifar10").is_dir():
        from dfbench.runs.prepare import open_stream

        stream = open_stream("cifar10-ni10", registry(), Path(data))
        pixels = stream.pixels(None)
        found["CIFAR-10 (no faces)"] = list(pixels.fetch(stream.experiences[0].rows["test"][:MOST]).numpy())
    return found


def test_pictures() -> Iterator[np.ndarray]:
    """Real and forged pictures of test people, all families."""
    people = pack.identities("test")
    for number in range(MOST // 2):
        family = render.families()[number % 5]
        for _, pixels in render.render(people[(number // 5) % len(people)], family, (2,)):
            yield pixels


def drawing(rng: np.random.Generator) -> np.ndarray:
    """A face of flat colours and lines."""
    colour = [tuple(int(v) for v in rng.integers(60, 256, 3)) for _ in range(3)]
    image = Image.new("RGB", (112, 112), colour[0])
    pen = ImageDraw.Draw(image)
    x, y, r = (int(v) for v in (rng.integers(50, 62), rng.integers(50, 62), rng.integers(30, 46)))
    pen.ellipse((x - r, y - r, x + r, y + r), fill=colour[1], outline="black", width=2)
    for side in (-1, 1):
        pen.ellipse((x + side * r // 2 - 4, y - 10, x + side * r // 2 + 4, y - 2), fill="black")
    pen.arc((x - r // 2, y, x + r // 2, y + r // 2), 0, 180, fill=colour[2], width=3)
    return np.asarray(image)


def jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    """The picture through JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


if __name__ == "__main__":
    main()

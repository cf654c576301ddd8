"""Miniature trees of the data sets that the packaged protocols use: true names, each video and picture its own."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from dfbench.data.prepare.sources.dfd import actor_splits
from dfbench.data.prepare.sources.ffpp import official_pairs
from dfbench.data.prepare.sources.split import by_hash
from tests.data.prepare.films import write_video

FRAMES, SIDE = 20, 48
SPLITS = ("train", "val", "test")
PAIRS = [
    tuple(pair) for split, count in (("train", 2), ("val", 1), ("test", 1)) for pair in official_pairs()[split][:count]
]
METHODS = {"FF-DF": "Deepfakes", "FF-F2F": "Face2Face", "FF-FS": "FaceSwap", "FF-NT": "NeuralTextures"}
DF40 = ("sd2.1", "mcnet", "blendface", "StyleGAN3")
CDDB_PLAIN = ("gaugan", "biggan", "imle", "deepfake", "crn", "wild", "whichfaceisreal", "san")
CDDB_CLASSES = ("cyclegan", "glow", "stargan_gf", "stylegan")


def pattern(name: str) -> np.ndarray:
    """A picture that no other name has."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    return cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)


def write(root: Path, path: str) -> None:
    """A video or a picture, by the suffix."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    base = pattern(path)
    if path.endswith(".mp4"):
        write_video(root / path, [np.roll(base, frame, axis=1) for frame in range(FRAMES)])
    else:
        Image.fromarray(base).save(root / path)


def write_json(root: Path, path: str, value: Any) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(json.dumps(value))


@cache
def people(prefix: str, names: tuple[str, ...], each: int = 3) -> dict[str, list[str]]:
    """Split → so many people that the rule of hashes puts there."""
    found: dict[str, list[str]] = {split: [] for split in SPLITS}
    for name in names:
        side = found[by_hash(f"{prefix}/{name}")]
        side += [name] * (len(side) < each)
    return found


IDS = tuple(f"id{n}" for n in range(60))


def swaps(prefix: str, names: tuple[str, ...]) -> list[tuple[str, str]]:
    """Pairs of people of one split, both ways."""
    return [pair for side in people(prefix, names).values() for pair in itertools.permutations(side, 2)]


def ffpp(root: Path) -> None:
    for a, b in PAIRS:
        for name in (a, b):
            write(root, f"original_sequences/youtube/c23/videos/{name}.mp4")
        for method, name in itertools.product(METHODS.values(), (f"{a}_{b}", f"{b}_{a}")):
            write(root, f"manipulated_sequences/{method}/c23/videos/{name}.mp4")


def dfd(root: Path) -> None:
    for split in SPLITS:
        actors = [actor for actor, side in actor_splits().items() if side == split][:3]
        for actor in actors:
            write(root, f"original_sequences/actors/c23/videos/{actor}__hugging.mp4")
        for target, source in itertools.permutations(actors, 2):
            folder = "manipulated_sequences/DeepFakeDetection/c23/videos"
            write(root, f"{folder}/{target}_{source}__hugging__ABCD{target}{source}.mp4")


def celeb_df(root: Path) -> None:
    for name in itertools.chain(*people("celeb-df", IDS).values()):
        write(root, f"Celeb-real/{name}_0000.mp4")
    for target, source in swaps("celeb-df", IDS):
        write(root, f"Celeb-synthesis/{target}_{source}_0000.mp4")
    for number in range(2):
        write(root, f"YouTube-real/{number:05d}.mp4")
    (root / "List_of_testing_videos.txt").write_text("1 YouTube-real/00001.mp4\n")


def dfdc(root: Path) -> None:
    for part in (0, 1, 40, 45):
        made = {f"real{part}{n}.mp4": {"label": "REAL"} for n in range(2)}
        made |= {f"fake{part}{n}.mp4": {"label": "FAKE", "original": f"real{part}{n % 2}.mp4"} for n in range(5)}
        for file in made:
            write(root, f"dfdc_train_part_{part}/{file}")
        write_json(root, f"dfdc_train_part_{part}/metadata.json", made)


def dfdc_preview(root: Path) -> None:
    listing = {}
    for actor in range(8):
        part = {"set": "train" if actor < 6 else "test", "target_id": actor}
        listing[f"original_videos/{actor}/{actor}_A_001.mp4"] = part | {"label": "real", "swapped_id": None}
        other = actor ^ 1
        method = "method_B" if actor > 3 else "method_A"
        listing[f"{method}/{actor}/{actor}_A/{other}_{actor}_A_001.mp4"] = part | {"label": "fake", "swapped_id": other}
    for file in listing:
        write(root, file)
    write_json(root, "dataset.json", listing)


def ffiw(root: Path) -> None:
    for side, split, number in itertools.product(("source", "target"), SPLITS, range(3)):
        write(root, f"{side}/{split}/{number:05d}.mp4")


def kodf(root: Path) -> None:
    names = tuple(f"{n:03d}" for n in range(60))
    for person, number in itertools.product(itertools.chain(*people("kodf", names).values()), range(2)):
        write(root, f"original_videos/{person}/{person}_{number:03d}.mp4")
    for code, (target, source) in itertools.product((1, 3), swaps("kodf", names)):
        write(root, f"synthesized_videos/{target}/{target}_{source}_{code}_0001.mp4")


def cddb(root: Path) -> None:
    places = [f"{name}/{{}}/{{}}" for name in CDDB_PLAIN] + [f"{name}/{{}}/horse/{{}}" for name in CDDB_CLASSES]
    for place, part, kind, number in itertools.product(places, ("train", "val"), ("0_real", "1_fake"), range(3)):
        write(root, f"{place.format(part, kind)}/{number}.png")


def _sequence(root: Path, folder: str) -> str:
    for number in (0, 10):
        write(root, f"{folder}/{number:03d}.png")
    return folder


def _entries(root: Path, label: str, folders: Iterable[str]) -> dict[str, Any]:
    return {
        folder.rsplit("/", 1)[1]: {"label": label, "frames": [f"{_sequence(root, folder)}/000.png"]}
        for folder in folders
    }


def df40(root: Path) -> None:
    for a, b in PAIRS:
        for name in (a, b):
            _sequence(root, f"FaceForensics++/original_sequences/youtube/c23/frames/{name}")
        place = "DF40" if (a, b) == PAIRS[-1] else "DF40_train"
        for method in DF40:
            for name in (a, b) if method in ("sd2.1", "StyleGAN3") else (f"{a}_{b}", f"{b}_{a}"):
                _sequence(root, f"{place}/{method}/ff/frames/{name}")


def deepfakebench(root: Path) -> None:
    _bench_ffpp(root)
    _bench_celeb(root, "Celeb-DF-v1", "CelebDFv1")
    _bench_celeb(root, "Celeb-DF-v2", "CelebDFv2")
    parts = {"train": range(3), "val": range(3, 5), "test": range(3, 5)}
    for name, labels in {"DFDCP": ("DFDCP_Real", "DFDCP_FakeA"), "DFDC": ("DFDC_Real", "DFDC_Fake")}.items():
        found = {label: {part: _entries(root, label, [f"{name}/{label}/frames/v{n}" for n in numbers])
                         for part, numbers in parts.items()} for label in labels}  # fmt: skip
        write_json(root, f"dataset_json/{name}.json", {name: found})
    actors = {"DFD_real": [f"FaceForensics++/original_sequences/actors/c23/frames/{n:02d}__hugging" for n in (1, 2)],
              "DFD_fake": [f"FaceForensics++/manipulated_sequences/DeepFakeDetection/c23/frames/{a}__hugging__ABCD1234"
                           for a in ("01_02", "02_01")]}  # fmt: skip
    found = {
        label: {part: {"c23": _entries(root, label, folders)} for part in SPLITS} for label, folders in actors.items()
    }
    write_json(root, "dataset_json/DeepFakeDetection.json", {"DeepFakeDetection": found})


def _bench_ffpp(root: Path) -> None:
    split = {name: s for s in SPLITS for a, b in official_pairs()[s] for name in (a, b)}
    found: dict[str, Any] = {}
    for label, method in {"FF-real": None, **METHODS}.items():
        found[label] = {part: {} for part in SPLITS}
        for (a, b), level in itertools.product(PAIRS, ("c23", "c40")):
            base = f"manipulated_sequences/{method}" if method else "original_sequences/youtube"
            names = (f"{a}_{b}", f"{b}_{a}") if method else (a, b)
            folders = [f"FaceForensics++/{base}/{level}/frames/{name}" for name in names]
            found[label][split[a]].setdefault(level, {}).update(_entries(root, label, folders))
    write_json(root, "dataset_json/FaceForensics++.json", {"FaceForensics++": found})


def _bench_celeb(root: Path, name: str, label: str) -> None:
    """With DeepfakeBench's mistakes: the listed videos are in training too, and YouTube-real is lost."""
    reals = [f"{name}/Celeb-real/frames/{one}_0000" for one in itertools.chain(*people("celeb-df", IDS).values())]
    fakes = [f"{name}/Celeb-synthesis/frames/{a}_{b}_0000" for a, b in swaps("celeb-df", IDS)]
    found = {f"{label}_{kind}": {part: _entries(root, label, folders[: None if part == "train" else 3])
                                 for part in SPLITS}
             for kind, folders in (("real", reals), ("fake", fakes))}  # fmt: skip
    write_json(root, f"dataset_json/{name}.json", {name: found})
    for number in range(2):
        _sequence(root, f"{name}/YouTube-real/frames/{number:05d}")
    listed = [f"1 Celeb-real/{Path(real).name}.mp4" for real in reals[:3]] + ["1 YouTube-real/00001.mp4"]
    listed += [f"0 Celeb-synthesis/{Path(fake).name}.mp4" for fake in fakes[:3]]
    (root / name / "List_of_testing_videos.txt").write_text("\n".join(listed) + "\n")


TREES: dict[str, Callable[[Path], None]] = {
    "ffpp": ffpp, "dfd": dfd, "celeb-df-v2": celeb_df, "dfdc": dfdc, "dfdc-preview": dfdc_preview, "ffiw": ffiw,
    "kodf": kodf, "cddb": cddb, "df40": df40, "deepfakebench": deepfakebench,
}  # fmt: skip
"""Name of a data set → what writes its tree."""

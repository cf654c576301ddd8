"""Scores of videos whose faces are cut out already, as the solution was submitted to the challenge."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import nn

from dfbench import DataError, StorageError
from dfbench_dfdc3.config import DFDC3Config
from dfbench_dfdc3.inference import NOTHING_SEEN, plan, pool, sampled
from dfbench_dfdc3.networks import Ensemble, channels_last, frame_network, over_time
from dfbench_dfdc3.predicting import probabilities_of
from dfbench_dfdc3.rates import rate_of
from dfbench_dfdc3.snapshots import body_of, load_converted
from dfbench_dfdc3.views import views

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
NUMBER = re.compile(r"(\d+)(?!.*\d)")


@dataclass(frozen=True)
class Video:
    """A video to score.

    Attributes:
        name: of its folder, as it is to stand in the result.
        tracks: the sampled frames of each track that is long enough, as files.
    """

    name: str
    tracks: tuple[tuple[Path, ...], ...]


def find_videos(
    folders: Iterable[Path], rates: dict[str, float] | float, where: str, config: DFDC3Config
) -> list[Video]:
    """The videos in some folders: each subfolder is one, its frames in it or in one folder per track.

    Args:
        folders: folders of videos.
        rates: frames per second of all videos, or of each.
        where: the file of the rates, for errors.
        config: says how short a track may be.

    Returns:
        The videos by name. One without a frame has no track.

    Raises:
        DataError: a folder holds something else, a name occurs twice, a track has gaps, a frame is not a picture or
            a video has no frame rate.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        inside = _inside(folder)
        if pictures := [path for path in inside if _is_picture(path)]:
            raise DataError(f"{folder}: holds pictures ({pictures[0].name}): name the folder of its video's folder")
        videos = [path for path in inside if path.is_dir()]
        if not videos:
            raise DataError(f"{folder}: holds no folder; each video needs one, with the frames of a face in it")
        for path in videos:
            if other := found.get(path.name):
                raise DataError(f"{other} and {path}: two videos of one name")
            found[path.name] = path
    return [
        Video(name, tuple(_sampled_tracks(path, rate_of(name, rates, where), config)))
        for name, path in sorted(found.items())
    ]


def _sampled_tracks(video: Path, rate: float, config: DFDC3Config) -> Iterator[tuple[Path, ...]]:
    for frames in _tracks(video):
        track = tuple(frames[index] for index in sampled(len(frames), rate))
        if len(track) >= config.shortest:
            for look in plan(len(track)):
                _check(track[look.frame])
            yield track


def _tracks(video: Path) -> Iterator[list[Path]]:
    """The frames of each track of a video, in order."""
    inside = _inside(video)
    folders = [path for path in inside if path.is_dir()]
    if folders and any(_is_picture(path) for path in inside):
        raise DataError(f"{video}: holds frames and folders; put the frames of each track into a folder")
    for folder in folders or [video]:
        if folders and any(path.is_dir() for path in _inside(folder)):
            raise DataError(f"{folder}: a track's folder holds frames, and this one holds folders")
        yield _in_order([path for path in _inside(folder) if _is_picture(path)])


def _in_order(frames: list[Path]) -> list[Path]:
    numbers: dict[int, Path] = {}
    for path in frames:
        match = NUMBER.search(path.stem)
        if match is None:
            raise DataError(f"{path}: a frame's name ends with its number, such as 0012.png")
        number = int(match[1])
        if number in numbers:
            raise DataError(f"{numbers[number]} and {path}: two frames of one number")
        numbers[number] = path
    ordered = sorted(numbers)
    for before, after in itertools.pairwise(ordered):
        if after != before + 1:
            raise DataError(
                f"{numbers[after]}: frame {before + 1} is missing before it; a track has every frame from its first to "
                "its last (number thinned frames without gaps, and give their rate)"
            )
    return [numbers[number] for number in ordered]


def load_network(weights: Path) -> nn.Module:
    """The ensemble of a converted checkpoint, in eval mode, on a GPU if there is one.

    Raises:
        DataError: the file is none that ``dfbench dfdc3 convert`` made.
        UsageError: timm does not have the body that it names.
    """
    config, body = DFDC3Config.model_validate({}), body_of(weights)
    a, b, c = (frame_network(body) for _ in range(3))
    model = Ensemble(a, b, over_time(c, config.sequence), (config.frames, config.frames, config.sequence))
    load_converted(model, weights)
    return channels_last(model).eval().to("cuda" if torch.cuda.is_available() else "cpu")


@torch.no_grad()
def score(model: nn.Module, video: Video, config: DFDC3Config) -> float:
    """P(fake) of a video: all looks at all of its tracks pooled at once; ½ without a track.

    Raises:
        DataError: a frame cannot be decoded.
    """
    device = next(model.parameters()).device
    seen = []
    for track in video.tracks:
        looks = plan(len(track))
        pictures = {look.frame: _read(track[look.frame]) for look in looks}
        x = views(lambda index, kept=pictures: [kept[i] for i in index], looks, config.height, config.width)  # type: ignore[misc]
        seen.append(probabilities_of(model, x.to(device), looks))
    return float(pool(torch.cat(seen, dim=1))) if seen else NOTHING_SEEN


def write_scores(path: Path, scores: dict[str, float]) -> None:
    """Write a file of ``filename,label`` lines, whole or not at all.

    Raises:
        StorageError: it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([("filename", "label"), *((name, f"{value:.7g}") for name, value in scores.items())])
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(text.getvalue(), encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror})") from None


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: not a folder of videos' folders ({error.strerror})") from None


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURES and path.is_file()


def _check(path: Path) -> None:
    """Look at the beginning of a picture, so that most damaged ones are found before anything is scored."""
    try:
        with Image.open(path):
            pass
    except Exception as error:  # PIL raises nearly anything on damaged files
        raise DataError(f"{path}: not a picture ({type(error).__name__})") from None


def _read(path: Path) -> torch.Tensor:
    """One frame: uint8 (1, H, W, 3), RGB, upright."""
    try:
        with Image.open(path) as picture:
            return torch.from_numpy(np.array(ImageOps.exif_transpose(picture).convert("RGB")))[None]
    except Exception as error:
        raise DataError(f"{path}: cannot be decoded ({type(error).__name__})") from None

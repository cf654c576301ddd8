"""The crops of DeepfakeBench (Yan et al., NeurIPS 2023): its JSON files, its folders, and not its mistakes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from dfbench.data.prepare.item import Item
from dfbench.data.prepare.sources.celeb_df import LIST, listed_labels, people
from dfbench.data.prepare.sources.contract import About, DataSet, Scan
from dfbench.data.prepare.sources.ffpp import ORIGINALS, official_splits
from dfbench.data.prepare.sources.option_types import Compression
from dfbench.data.prepare.sources.split import agreed, by_hash
from dfbench.data.prepare.sources.tree import Tree, some
from dfbench.errors import unknown

JSON_FOLDERS = ("dataset_json", "preprocessing/dataset_json", "../dataset_json", "../preprocessing/dataset_json")
METHODS = {
    "FF-DF": "Deepfakes", "FF-F2F": "Face2Face", "FF-FS": "FaceSwap", "FF-NT": "NeuralTextures",
    "FF-FH": "FaceShifter", "FF-SH": "FaceShifter", "DFD_fake": "DeepFakeDetection",
}  # fmt: skip
PRIORITY = ("test", "train", "val")
"""Of several splits that the JSON gives one video the first counts."""


@dataclass
class Crops:
    """A folder of crops, and what the JSON files say of it."""

    folder: Path
    label: int
    method: str
    splits: set[str] = field(default_factory=set)


class DeepfakeBench(DataSet):
    """The crops that DeepfakeBench publishes or makes, with its ``dataset_json``."""

    name = "deepfakebench"
    about = About(
        title="DeepfakeBench's crops",
        access="links at https://github.com/SCLBD/DeepfakeBench",
        licence="CC BY-NC 4.0 for its own files; the crops under the terms of their data sets",
        counts="those of FaceForensics++, DFD, Celeb-DF, DFDC, DFDC preview, DeeperForensics-1.0, UADFV",
        citation="Yan et al., DeepfakeBench: A Comprehensive Benchmark of Deepfake Detection, NeurIPS 2023 (datasets)",
        tree="""\
dataset_json/SET.json, here, in preprocessing/, or one level up
({SET: {LABEL: {SPLIT: {VIDEO: {frames: [PATH]}}}}})
SET/…/frames/VIDEO/*.png""",
        splits="those of the JSON, in which a video of several splits tests, or else trains; official ones for "
        "FaceForensics++. splits=identity: Celeb-DF by person, as for celeb-df-v2 (its list has people in both parts)",
        names="those of its sets",
        traps=(
            "in its JSON files Celeb-DF's test videos are in training too, and one of the two folders of reals is "
            "lost: they are taken out, and read from the folders",
            "DFD, UADFV and DeeperForensics-1.0 have the same videos in training, validation and test: they test only",
            "DeeperForensics-1.0's reals there are the actors that lend their faces: its targets are taken instead",
            "paths with backslashes and home folders are resolved below the root",
            "the pictures are face crops: no face is looked for",
        ),
    )

    def read(
        self,
        root: Path,
        *,
        sets: list[str] | None = None,
        compression: Compression = "c23",
        splits: Literal["json", "identity"] = "json",
    ) -> Scan:
        """The sequences of some JSON files.

        Args:
            root: the folder of the data sets' folders.
            sets: names of JSON files; without it all whose crops are there.
            compression: where a set has several.
            splits: those of the JSON, or Celeb-DF's by person.
        """
        tree = Tree(self.name, root)
        where = next((root / place for place in JSON_FOLDERS if (root / place).is_dir()), None)
        if where is None:
            raise tree.error(f"no dataset_json in {root}, in {root}/preprocessing, or one level up")
        files = {path.stem: path for path in sorted(where.glob("*.json"))}
        if not files:
            raise tree.error(f"{where} has no JSON files")
        for name in sets or ():
            if name not in files:
                raise unknown(f"set of {where}", name, files)
        found, missing, notes = _Found(tree), [], []
        for name in sets or files:
            known = len(found.sequences)
            gone = found.add(tree.json(files[name]), files[name], compression)
            if sets or len(found.sequences) > known:
                missing += gone
            elif gone:
                notes.append(f"without {name}: none of its {len(gone)} videos is here")
        notes += found.repair()
        items = [found.item(sequence) for sequence in found.sequences.values()]
        if splits == "identity":
            items, crossing = _celeb_by_person(items)
            notes += [f"{crossing} fakes left out that show people of two splits"] if crossing else []
        return Scan(items, missing, notes)


def _celeb_by_person(items: list[Item]) -> tuple[list[Item], int]:
    """Celeb-DF's sequences split as ``celeb-df-v2 --option splits=identity`` does, and how many were left out."""
    kept = []
    for item in items:
        if item.source is None or not item.source.startswith("Celeb-DF"):
            kept.append(item)
        elif side := agreed(map(by_hash, people(item))):
            kept.append(replace(item, split=side))
    return kept, len(items) - len(kept)


class _Found:
    """The sequences of all JSON files by their folder."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.sequences: dict[Path, Crops] = {}
        self._dropped = 0

    def add(self, content: dict[str, Any], file: Path, compression: str) -> list[str]:
        """Add what a JSON file names; returns the videos whose crops are not there."""
        gone = []
        for name, split, video, frames in _videos(content, compression):
            label, method = self._label(name, file)
            if not frames:
                continue
            folder = self._locate(frames[0])
            if folder is None:
                gone.append(f"{name}/{video}")
                continue
            sequence = self.sequences.setdefault(folder, Crops(folder, label, method))
            if sequence.label != label:
                raise self.tree.error(f"{file}: {folder} is real and fake")
            sequence.splits.add(split)
        return gone

    def _label(self, name: str, file: Path) -> tuple[int, str]:
        if name in METHODS:
            return 1, METHODS[name]
        if name.lower().endswith("real"):
            return 0, "real"
        if "fake" in name.lower():
            return 1, name
        raise self.tree.error(f"{file}: the label {name!r} is neither a real nor a fake one")

    def _locate(self, frame: str) -> Path | None:
        """The folder of a frame: the longest end of its path that is below the root."""
        parts = [part for part in PurePosixPath(frame.replace("\\", "/")).parts if part not in ("/", "..")]
        starts = [self._dropped, *range(len(parts) - 1)]
        for start in starts:
            folder = self.tree.root.joinpath(*parts[start:-1])
            if start < len(parts) - 1 and folder.is_dir():
                self._dropped = start
                return folder
        return None

    def repair(self) -> list[str]:
        """Undo what the JSON files get wrong; returns a line for each kind."""
        notes = []
        several = sum(len(sequence.splits) > 1 for sequence in self.sequences.values())
        if several:
            notes.append(f"{several} videos are in several splits of the JSON: kept in the first of {some(PRIORITY)}")
        actors = [folder for folder in self.sequences if "source_videos" in folder.parts]
        for folder in actors:
            del self.sequences[folder]
        if actors:
            notes.append(f"{len(actors)} source_videos of DeeperForensics-1.0 left out: they are not its reals")
            self._add_targets()
        added = sum(self._add_celeb(base) for base in sorted(self._celeb_bases()))
        if added:
            notes.append(f"{added} reals of Celeb-DF added that the JSON lacks")
        return notes

    def _add_targets(self) -> None:
        """The reals of DeeperForensics-1.0, which are originals of FaceForensics++, in their fakes' splits."""
        for fake in [s for s in self.sequences.values() if "manipulated_videos" in s.folder.parts]:
            place = self.tree.root / "FaceForensics++" / ORIGINALS / "c23/frames" / fake.folder.name[:3]
            if place.is_dir():
                self.sequences.setdefault(place, Crops(place, 0, "real", set(fake.splits)))

    def _celeb_bases(self) -> set[Path]:
        parents = (folder.parents[2] for folder in self.sequences if "Celeb-synthesis" in folder.parts)
        return {base for base in parents if base.name.startswith("Celeb-DF")}

    def _add_celeb(self, base: Path) -> int:
        """Reals of one Celeb-DF that are on disk and not in the JSON."""
        places = [f for name in ("Celeb-real", "YouTube-real") for f in sorted((base / name / "frames").glob("*/"))]
        lost = [place for place in places if place not in self.sequences]
        if not lost:
            return 0
        if not (base / LIST).is_file():
            raise self.tree.error(
                f"{len(lost)} reals of {base} are not in the JSON, and without {base / LIST} their split is unknown"
            )
        tested = listed_labels(self.tree, base / LIST)
        for place in lost:
            split = "test" if f"{place.parents[1].name}/{place.name}" in tested else "train"
            self.sequences[place] = Crops(place, 0, "real", {split})
        return len(lost)

    def item(self, sequence: Crops) -> Item:
        """What is known of a sequence; its person and its partner are in the name where the set is a known one."""
        folder, parts = sequence.folder, sequence.folder.parts
        stem, split = folder.name, next(s for s in PRIORITY if s in sequence.splits)
        identity, partner = None, None
        if match := re.fullmatch(r"(\d{3})(_\d{3})?", stem):
            identity = match[1]
            split = official_splits().get(stem, split)
            if match[2]:
                partner = self._partner(parts, ("original_sequences", "youtube"), match[1])
        elif match := re.fullmatch(r"(id\d+)(_id\d+)?_(\d+)", stem):
            identity = match[1]
            partner = self._partner(parts, ("Celeb-real",), f"{match[1]}_{match[3]}") if match[2] else None
        elif match := re.fullmatch(r"(\d\d)(_\d\d)?__(.+?)(__\w{8})?", stem):
            identity = match[1]
            partner = (
                self._partner(parts, ("original_sequences", "actors"), f"{match[1]}__{match[3]}") if match[2] else None
            )
        name = self.tree.name(folder)
        source = parts[len(self.tree.root.parts)]
        return Item(
            folder, name, sequence.label, split, sequence.method, identity, partner, None, "frames", True, source
        )

    def _partner(self, parts: tuple[str, ...], inside: tuple[str, ...], stem: str) -> str | None:
        """The real sequence of this name in the same set, if it is there."""
        for folder in self._reals.get(stem, ()):
            if set(inside) <= set(folder.parts) and folder.parts[len(self.tree.root.parts)] in parts:
                return self.tree.name(folder)
        return None

    @cached_property
    def _reals(self) -> dict[str, list[Path]]:
        """Folders of reals by their last name; used once all are known."""
        found: dict[str, list[Path]] = {}
        for crops in self.sequences.values():
            if not crops.label:
                found.setdefault(crops.folder.name, []).append(crops.folder)
        return found


def _videos(content: dict[str, Any], compression: str) -> Iterator[tuple[str, str, str, list[str]]]:
    """(label name, split, video, paths of frames) of a JSON file, of one compression where there are several."""
    for labels in content.values():
        for name, splits in labels.items():
            for split, videos in splits.items():
                levels = {"raw", "c23", "c40"} & set(videos)
                for video, entry in (videos.get(compression, {}) if levels else videos).items():
                    if isinstance(entry, dict) and isinstance(entry.get("frames"), list):
                        yield name, split, video, entry["frames"]

"""Pictures in folders: ``train|val|test / real|fake / …``, or anywhere with a manifest CSV."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dfbench.data.pictures import SUFFIXES, VIDEOS, Inspection, inspect_picture, read_bytes, read_picture
from dfbench.data.samples import Samples, printable
from dfbench.data.sources.manifest import read_manifest
from dfbench.errors import DataError

SPLIT_FOLDERS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
CLASS_FOLDERS = {
    "real": 0, "0_real": 0, "original": 0, "0": 0,
    "fake": 1, "1_fake": 1, "manipulated": 1, "1": 1,
}  # fmt: skip


class FolderSource:
    """A data set as a tree of picture files.

    Without a manifest the tree is ``root/{train,val,test}/{real,fake}/…/picture``; other usual
    names are recognised (:data:`SPLIT_FOLDERS`, :data:`CLASS_FOLDERS`, upper or lower case).
    A folder below the class is one video; a picture that lies in the class folder itself is a video
    of its own. With ``subfolder: method`` the folder names the forgery method instead.

    Args:
        root: the folder.
        manifest: a CSV with columns ``path,label`` and optionally ``source, method,
            identity, video, frame, pair, split, width, height, sha256``; paths are relative to ``root``
            (see :mod:`dfbench.data.sources.manifest`).
        subfolder: the meaning of a folder below the class.
    """

    def __init__(
        self,
        root: Path | None,
        *,
        manifest: str | None = None,
        subfolder: Literal["video", "method"] = "video",
    ) -> None:
        if root is None:
            raise DataError("source 'folder' needs a root")
        self.root = Path(root)
        self.manifest = manifest
        self.subfolder = subfolder
        self.notes: list[str] = []

    def samples(self) -> Samples:
        """The table; a sample's name is its path relative to the root, with forward slashes.

        Raises:
            DataError: there is no split or class folder, or the manifest is bad.
        """
        self.notes = []
        if self.manifest is not None:
            return read_manifest(self.root, self.root / self.manifest)
        return Samples.from_rows(self._rows())

    def read(self, sample: str) -> np.ndarray:
        """Pixels of one picture: uint8 (H, W, 3), RGB."""
        return read_picture(self.root / sample, sample)

    def inspect(self, sample: str) -> Inspection:
        """SHA-256 of the file and size of the picture."""
        return inspect_picture(read_bytes(self.root / sample, sample), sample)

    def stamp(self, sample: str) -> str:
        """Size and time of the file; empty where it cannot be read."""
        try:
            status = (self.root / sample).stat()
        except OSError:
            return ""
        return f"{status.st_size}:{status.st_mtime_ns}"

    def _rows(self) -> Iterator[dict[str, Any]]:
        ignored: Counter[str] = Counter()
        found = False
        for split_folder, split in _known_folders(self.root, SPLIT_FOLDERS):
            for class_folder, label in _known_folders(split_folder, CLASS_FOLDERS):
                found = True
                others: Counter[str] = Counter()
                folders = list(_pictures(class_folder, others))
                _check_videos(class_folder, bool(folders), others)
                ignored += others
                for folder, pictures in folders:
                    yield from self._folder_rows(class_folder, folder, pictures, split, label)
        if not found:
            raise DataError(
                f"{self.root}: no pictures in the layout {{train,val,test}}/{{real,fake}}/; "
                "arrange them like this, or list them in a manifest (manifest: FILE.csv)"
            )
        if ignored:
            kinds = ", ".join(f"{count} {printable(suffix)}" for suffix, count in ignored.most_common(5))
            self.notes.append(f"{self.root}: {ignored.total()} files that are not pictures ignored ({kinds})")

    def _folder_rows(
        self, class_folder: Path, folder: Path, pictures: list[str], split: str, label: int
    ) -> Iterator[dict[str, Any]]:
        """One row per picture of one folder, in natural order: 10 comes after 9."""
        below = folder.relative_to(class_folder).as_posix()
        kind = ("real", "fake")[label]
        for frame, picture in enumerate(pictures):
            is_video = below != "." and self.subfolder == "video"
            parent = "" if below == "." else f"{below}/"
            yield {
                "sample": (folder / picture).relative_to(self.root).as_posix(),
                "label": label,
                "method": below if below != "." and not is_video else kind,
                "video": f"{kind}/{below}" if is_video else f"{split}/{kind}/{parent}{picture}",
                "frame": frame if is_video else 0,
                "split": split,
            }


def _known_folders(parent: Path, names: dict[str, Any]) -> Iterator[tuple[Path, Any]]:
    """Sub-folders whose lower-case name is in ``names``, with its value, in a fixed order."""
    try:
        children = sorted(parent.iterdir())
    except OSError as error:
        raise DataError(f"{parent}: cannot be read ({error.strerror or error})") from None
    found: dict[Any, Path] = {}
    for child in children:
        if child.name.lower() in names and child.is_dir():
            meaning = names[child.name.lower()]
            if meaning in found:  # their videos would have one name
                raise DataError(f"{parent}: {found[meaning].name} and {child.name} mean the same; merge or rename one")
            found[meaning] = child
            yield child, meaning


def _check_videos(class_folder: Path, has_pictures: bool, others: Mapping[str, int]) -> None:
    """Refuse a class that has videos instead of pictures."""
    videos = {suffix: count for suffix, count in others.items() if suffix in VIDEOS}
    if videos and not has_pictures:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in videos.items())
        raise DataError(
            f"{class_folder}: videos ({kinds}) and no pictures; frames are needed: extract those of each video "
            "into a folder of its own here, as VIDEO/0001.png"
        )


def _pictures(top: Path, ignored: Counter[str]) -> Iterator[tuple[Path, list[str]]]:
    """Folders at and below ``top`` with their pictures; each real folder once, even if links form a loop."""
    seen: set[tuple[int, int]] = set()
    for folder, subfolders, files in os.walk(top, followlinks=True, onerror=_unreadable):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            subfolders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        visible = [name for name in files if not name.startswith(".")]  # ._x are AppleDouble files
        pictures = [name for name in visible if Path(name).suffix.lower() in SUFFIXES]
        ignored.update(Path(n).suffix.lower() or "without suffix" for n in visible if n not in set(pictures))
        if pictures:
            yield Path(folder), sorted(pictures, key=_natural)


def _unreadable(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot be read ({error.strerror or error})")


def _natural(name: str) -> list[Any]:
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name)]

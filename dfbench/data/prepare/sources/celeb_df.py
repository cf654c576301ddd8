"""Celeb-DF, both versions (Li et al., CVPR 2020): swaps of celebrities' interviews."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

from dfbench.data.prepare.item import Item
from dfbench.data.prepare.sources.contract import About, DataSet, Scan
from dfbench.data.prepare.sources.option_types import Ratio, Share
from dfbench.data.prepare.sources.split import agreed, by_hash, thinned, with_val
from dfbench.data.prepare.sources.tree import Tree, some, videos

FOLDERS = {"Celeb-real": 0, "YouTube-real": 0, "Celeb-synthesis": 1}
LIST = "List_of_testing_videos.txt"
LINE = re.compile(r"([01])\s+((?:Celeb-real|YouTube-real|Celeb-synthesis)/(?:.*/)?([^/]+)\.mp4)")


def listed_labels(tree: Tree, listing: Path) -> dict[str, int]:
    """The listed test videos as ``folder/name`` → label in our convention, whose inverse the list has."""
    labels = {}
    for number, line in tree.lines(listing):
        match = LINE.fullmatch(line.replace("\\", "/"))
        if match is None:
            raise tree.error(f"{listing}, line {number}: {line[:80]!r} is not LABEL FOLDER/FILE.mp4")
        labels[f"{match[2].split('/')[0]}/{match[3]}"] = 1 - int(match[1])
    return labels


def _about(version: int, counts: str, listed: int) -> About:
    return About(
        title=f"Celeb-DF v{version}",
        access="form at https://github.com/yuezunli/celeb-deepfakeforensics",
        licence="Celeb-DF terms of use: research only, no redistribution",
        counts=counts,
        citation="Li et al., Celeb-DF: A Large-scale Challenging Dataset for DeepFake Forensics, CVPR 2020",
        tree=f"""\
Celeb-real/idA_NNNN.mp4
Celeb-synthesis/idA_idB_NNNN.mp4   (A's video with B's face)
YouTube-real/NNNNN.mp4
{LIST}   (lines: LABEL FOLDER/FILE)
A folder videos/ within each of the three is accepted.""",
        splits=f"splits=official: the {listed} listed videos test, the others train; val=SHARE makes this share of "
        "the people in training, by the SHA-256 of their id, the validation set. The list is not drawn by person: "
        "'data audit' names the people that are in both parts. splits=identity: people by the SHA-256 of "
        "'celeb-df/idA' (test below .15, validation below .30), a YouTube video by its name, alike in both "
        "versions; a swap between people of two splits is left out",
        names="a fake is idA_idB_NNNN, an original idA_NNNN",
        traps=(
            "in the list 1 is real and 0 is fake: the other way round than everywhere else",
            "others leave the listed test videos in the training set, or lose one of the two folders of reals",
        ),
    )


class CelebDF(DataSet):
    """What both versions share.

    Attributes:
        listed: how many lines the published list of testing videos has.
    """

    listed: int

    def read(
        self,
        root: Path,
        *,
        splits: Literal["official", "identity"] = "official",
        val: Share = 0.0,
        fakes_per_real: Ratio = None,
    ) -> Scan:
        """All three folders.

        Args:
            root: the folder that has ``Celeb-real``.
            splits: the official list of testing videos, or by person.
            val: with the official list, the share of people that validate.
            fakes_per_real: keep at most so many fakes for each real of a split.
        """
        tree = Tree(self.name, root)
        *_, listing = tree.need(*FOLDERS, LIST)
        listed = listed_labels(tree, listing)
        items, strange = [], []
        for folder, label in FOLDERS.items():
            inner = root / folder / "videos" if (root / folder / "videos").is_dir() else root / folder
            for path in videos(inner):
                item = self._item(tree, folder, inner, path, label)
                if item is None:
                    strange.append(f"{folder}/{path.name}")
                else:
                    items.append(item)
        key = {item.video: f"{item.video.split('/')[0]}/{item.path.stem}" for item in items}
        missing = sorted(f"{name}.mp4" for name in set(listed) - set(key.values()))
        notes = [f"{len(strange)} files left out whose names are not the set's: {some(strange)}"] if strange else []
        if len(listed) != self.listed:
            notes.append(f"{LIST} names {len(listed)} videos, the published one {self.listed}")
        items, crossing = _split(items, {video for video in key if key[video] in listed}, splits, val)
        notes += [f"{crossing} fakes left out that show people of two splits"] if crossing else []
        evidence = {item.video: listed[key[item.video]] for item in items if key[item.video] in listed}
        return Scan(thinned(items, fakes_per_real), missing, notes, evidence)

    def _item(self, tree: Tree, folder: str, inner: Path, path: Path, label: int) -> Item | None:
        parts = path.stem.split("_")
        if folder == "YouTube-real":
            person, partner = None, None
        elif folder == "Celeb-real" and re.fullmatch(r"id\d+_\d+", path.stem):
            person, partner = parts[0], None
        elif folder == "Celeb-synthesis" and re.fullmatch(r"id\d+_id\d+_\d+", path.stem):
            real = tree.root / "Celeb-real" / ("videos" if inner.name == "videos" else "")
            person, partner = parts[0], tree.name(real / f"{parts[0]}_{parts[2]}.mp4")
        else:
            return None
        return Item(path, tree.name(path), label, "train", folder if label else "real", person, partner, None)


def people(item: Item) -> list[str]:
    """Everybody in a video: one name for a real, two for a swap, the video's own where nobody is named."""
    ids = [part for part in item.path.stem.split("_") if part.startswith("id")]
    return [f"celeb-df/{name}" for name in ids or [item.path.stem]]


def _split(items: list[Item], tested: set[str], splits: str, val: float) -> tuple[list[Item], int]:
    """The items with their splits, and how many were left out."""
    if splits == "official":
        official = [replace(item, split="test" if item.video in tested else "train") for item in items]
        return with_val(official, val, people)
    sides = {item.video: agreed(map(by_hash, people(item))) for item in items}
    kept = [replace(item, split=side) for item in items if (side := sides[item.video]) is not None]
    return kept, len(items) - len(kept)


class CelebDFv1(CelebDF):
    """Celeb-DF, first version."""

    name, listed = "celeb-df-v1", 100
    about = _about(1, "158 celebrity and 250 YouTube reals, 795 fakes; test 38 real, 62 fake", listed)


class CelebDFv2(CelebDF):
    """Celeb-DF v2."""

    name, listed = "celeb-df-v2", 518
    about = _about(2, "590 celebrity and 300 YouTube reals, 5639 fakes; test 178 real, 340 fake", listed)

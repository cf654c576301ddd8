"""FakeAVCeleb v1.2 (Khalid et al., NeurIPS 2021): fakes of celebrities' speech, of video, audio or both."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from dfbench.data.prepare.item import Item
from dfbench.data.prepare.sources.contract import About, DataSet, Scan
from dfbench.data.prepare.sources.option_types import Ratio
from dfbench.data.prepare.sources.split import agreed, by_hash, thinned
from dfbench.data.prepare.sources.tree import Tree, folders, some, videos

FOLDERS = {"RealVideo-RealAudio": 0, "RealVideo-FakeAudio": 0, "FakeVideo-RealAudio": 1, "FakeVideo-FakeAudio": 1}
HEADER = ["source", "target1", "target2", "method", "category", "type", "race", "gender"]


class FakeAVCeleb(DataSet):
    """FakeAVCeleb, for detectors that look at the pictures alone."""

    name = "fakeavceleb"
    about = About(
        title="FakeAVCeleb v1.2",
        access="form at https://github.com/DASH-Lab/FakeAVCeleb",
        licence="FakeAVCeleb terms of use: research only, no redistribution",
        counts="500 real videos, 19 500 fakes",
        citation="Khalid et al., FakeAVCeleb: A Novel Audio-Video Multimodal Deepfake Dataset, NeurIPS 2021 (datasets)",
        tree="""\
{RealVideo,FakeVideo}-{RealAudio,FakeAudio}/RACE/GENDER/idNNNNN/*.mp4
meta_data.csv   (source,target1,target2,method,category,type,race,gender,
                 file,folder)""",
        splits="none official. splits=identity: by the SHA-256 of 'fakeavceleb/idNNNNN' (test below .15, validation "
        "below .30); a fake whose two people are in different splits is left out. splits=test: everything tests",
        names="a fake names two people and its method",
        traps=(
            "the pictures of RealVideo-FakeAudio are real, and those of RealVideo-RealAudio once more: they are left "
            "out unless audio_fakes=true, and then they are reals",
            "the lengths of real and fake differ, so no pairs are given",
        ),
    )

    def read(
        self,
        root: Path,
        *,
        splits: Literal["identity", "test"] = "identity",
        audio_fakes: bool = False,
        fakes_per_real: Ratio = None,
    ) -> Scan:
        """The videos of the tree, with the methods that ``meta_data.csv`` gives them.

        Args:
            root: the folder that has ``meta_data.csv``.
            splits: by person, or everything for testing.
            audio_fakes: with real videos whose speech is fake, as reals.
            fakes_per_real: keep at most so many fakes for each real of a split.
        """
        tree = Tree(self.name, root)
        wanted = [folder for folder in FOLDERS if audio_fakes or folder != "RealVideo-FakeAudio"]
        listing, *_ = tree.need("meta_data.csv", *wanted)
        listed = {place: row for place, row in _metadata(tree, listing).items() if place.split("/")[0] in wanted}
        found = {
            path.relative_to(root).as_posix(): path
            for folder in wanted
            for below in folders(root / folder)
            for path in videos(below)
        }
        items, labels, unlisted, crossing = [], {}, [], 0
        for place, path in found.items():
            row = listed.get(place)
            if row is None:
                unlisted.append(place)
                continue
            people = [name for name in (row["source"], row["target1"]) if name.startswith("id")]
            sides = (by_hash(f"{self.name}/{person}") for person in people)
            split = "test" if splits == "test" else agreed(sides)
            if split is None:
                crossing += 1
                continue
            label, video = FOLDERS[place.split("/")[0]], tree.name(path)
            labels[video] = int(row["type"].startswith("FakeVideo"))
            items.append(Item(path, video, label, split, row["method"] if label else "real", row["source"], None, None))
        notes = [f"{crossing} fakes left out that show people of two splits"] if crossing else []
        notes += [f"{len(unlisted)} files left out that meta_data.csv lacks: {some(unlisted)}"] if unlisted else []
        return Scan(thinned(items, fakes_per_real), sorted(set(listed) - set(found)), notes, labels)


def _metadata(tree: Tree, listing: Path) -> dict[str, dict[str, str]]:
    """Path relative to the root → the first eight columns. The header lacks a name for the last of ten columns."""
    rows: dict[str, dict[str, str]] = {}
    for number, row in tree.csv(listing):
        if number == 1:
            if row[: len(HEADER)] != HEADER:
                raise tree.error(f"{listing}: the first line does not begin with {','.join(HEADER)}")
            continue
        if len(row) < 10:
            raise tree.error(f"{listing}, line {number}: {len(row)} cells, not 10")
        folder = row[9].replace("\\", "/").removeprefix("FakeAVCeleb/").strip("/")
        rows[f"{folder}/{row[8]}"] = dict(zip(HEADER, row, strict=False))
    return rows

"""The Deepfake Detection Challenge's data set (Dolhansky et al., 2020)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from dfbench.data.prepare.item import Item
from dfbench.data.prepare.sources.contract import About, DataSet, Scan
from dfbench.data.prepare.sources.option_types import Ratio
from dfbench.data.prepare.sources.split import thinned
from dfbench.data.prepare.sources.tree import Tree, some, videos

PART = re.compile(r"dfdc_train_part_(\d+)")
PARTS = 50
VAL, TEST = range(40, 45), range(45, 50)
LABELS = {"REAL": 0, "FAKE": 1}


class Dfdc(DataSet):
    """DFDC: the fifty training parts, and the released test set."""

    name = "dfdc"
    about = About(
        title="Deepfake Detection Challenge (DFDC)",
        access="https://ai.meta.com/datasets/dfdc, or the competition's page on Kaggle",
        licence="DFDC dataset licence: research only, no redistribution",
        counts="19 154 real and 100 000 fake training videos in 50 parts, about 470 GB; released test set 5000, "
        "half fake",
        citation="Dolhansky et al., The DeepFake Detection Challenge (DFDC) Dataset, arXiv:2006.07397",
        tree="""\
dfdc_train_part_N/*.mp4           (N: 0 to 49; also below train/)
dfdc_train_part_N/metadata.json   ({FILE: {label, original}}; REAL or FAKE)
test/*.mp4, test/labels.csv       (for test=released; also test/videos/*.mp4)""",
        splits="the metadata names no actor, so whole parts are kept together: 0–39 train, 40–44 validate, 45–49 test. "
        "test=released: the released test set tests instead, and parts 45–49 train",
        traps=(
            "five fakes for each real: fakes_per_real=1 balances them",
            "a fake's original is named in the metadata: it is its pair, frame by frame",
            "in the released test set no originals are named",
        ),
    )

    def read(self, root: Path, *, test: Literal["parts", "released"] = "parts", fakes_per_real: Ratio = None) -> Scan:
        """The parts that are there, and the released test set if it is asked for.

        Args:
            root: the folder that has the parts, or has them below ``train``.
            test: what tests: the last parts, or the released test set.
            fakes_per_real: keep at most so many fakes for each real of a split.
        """
        tree = Tree(self.name, root)
        parts = {
            int(match[1]): folder
            for place in (root / "train", root)
            for folder in (place.iterdir() if place.is_dir() else ())
            if (match := PART.fullmatch(folder.name)) and folder.is_dir()
        }
        if not parts:
            tree.need("dfdc_train_part_0|train/dfdc_train_part_0")
        without = [str(parts[n] / "metadata.json") for n in sorted(parts) if not (parts[n] / "metadata.json").is_file()]
        if without:
            raise tree.error(f"missing: {some(without)}; without it the labels of a part are not known")
        scans = [_part(tree, parts[number], _split(number, test)) for number in sorted(parts)]
        if test == "released":
            scans.append(_released(tree))
        notes = [note for scan in scans for note in scan.notes]
        if len(parts) < PARTS:
            notes.insert(0, f"{len(parts)} of {PARTS} parts are here: {some(map(str, sorted(parts)))}")
        return Scan(
            thinned([item for scan in scans for item in scan.items], fakes_per_real),
            [name for scan in scans for name in scan.missing],
            notes,
            {video: label for scan in scans for video, label in scan.labels.items()},
        )


def _split(part: int, test: str) -> str:
    return "val" if part in VAL else "test" if part in TEST and test == "parts" else "train"


def _part(tree: Tree, folder: Path, split: str) -> Scan:
    """One part; the labels' second source is whether an original is named."""
    entries = tree.json(folder / "metadata.json")
    found = {path.name: path for path in videos(folder)}
    items, labels = [], {}
    for file, entry in sorted(entries.items()):
        label = LABELS.get(str(entry.get("label"))) if isinstance(entry, dict) else None
        if label is None:
            raise tree.error(f"{folder / 'metadata.json'}: {file}: the label is neither REAL nor FAKE")
        if file in found:
            video, original = tree.name(found[file]), entry.get("original")
            partner = tree.name(folder / original) if original else None
            labels[video] = int(bool(original))
            method = "DFDC" if label else "real"
            items.append(Item(found[file], video, label, split, method, None, partner if label else None, None))
    where = folder.relative_to(tree.root).as_posix()
    unlisted = sorted(set(found) - set(entries))
    notes = [f"{where}: {len(unlisted)} videos left out that metadata.json lacks: {some(unlisted)}"] if unlisted else []
    return Scan(items, [f"{where}/{file}" for file in sorted(set(entries) - set(found))], notes, labels)


def _released(tree: Tree) -> Scan:
    (listing,) = tree.need("test/labels.csv")
    folder = tree.root / ("test/videos" if (tree.root / "test/videos").is_dir() else "test")
    found = {path.name: path for path in videos(folder)}
    items, missing = [], []
    for number, row in tree.csv(listing):
        if row[:2] == ["filename", "label"]:
            continue
        if len(row) < 2 or row[1] not in ("0", "1"):
            raise tree.error(f"{listing}, line {number}: not FILE,LABEL with a label of 0 or 1")
        file, label = row[0], int(row[1])
        if file not in found:
            missing.append(f"test/{file}")
            continue
        items.append(
            Item(found[file], tree.name(found[file]), label, "test", "DFDC" if label else "real", None, None, None)
        )
    return Scan(items, missing)

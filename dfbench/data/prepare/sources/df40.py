"""DF40 (Yan et al., NeurIPS 2024): crops of forty methods on the videos of FaceForensics++ and Celeb-DF."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from dfbench.data.prepare.item import Item
from dfbench.data.prepare.sources.celeb_df import LIST, listed_labels
from dfbench.data.prepare.sources.contract import About, DataSet, Scan
from dfbench.data.prepare.sources.ffpp import ORIGINALS, official_splits
from dfbench.data.prepare.sources.tree import Tree, folders, pictures, some
from dfbench.errors import unknown

REALS = f"FaceForensics++/{ORIGINALS}/c23/frames"
CELEB = "Celeb-DF-v2"
DERIVED = {"landmarks", "masks", "mask"}
"""Folders next to the frames that hold no crops."""


class Df40(DataSet):
    """DF40's published crops, one domain at a time."""

    name = "df40"
    about = About(
        title="DF40",
        access="form and links at https://github.com/YZY-stack/DF40; reals from DeepfakeBench's crops, linked there",
        licence="CC BY-NC 4.0; the reals under the terms of FaceForensics++ and Celeb-DF",
        counts="40 methods, about 140 GB of crops",
        citation="Yan et al., DF40: Toward Next-Generation Deepfake Detection, NeurIPS 2024 (datasets)",
        tree=f"""\
DF40_train/METHOD/ff/…/VIDEO/*.png   (training fakes)
DF40/METHOD/{{ff,cdf}}/…/VIDEO/*.png   (test fakes)
DF40/METHOD/{{fake,real}}/…   (nine methods have reals of their own)
{REALS}/NNN/*.png
{CELEB}/{{Celeb-real,YouTube-real}}/frames/VIDEO/*.png   (for domain=cdf)
{CELEB}/{LIST}   (for domain=cdf)""",
        splits="domain=ff: DF40_train trains and DF40 tests, and people who validate in FaceForensics++'s official "
        "lists validate; a fake that the two assign differently is left out; reals by the official lists. "
        "domain=cdf and domain=own: everything tests, with the reals of Celeb-DF's list of testing videos",
        names="those of its sets",
        traps=(
            "the download has fakes only, for 31 of the methods: the reals are those of FaceForensics++ and Celeb-DF",
            "the pictures are face crops: no face is looked for",
        ),
    )

    def read(self, root: Path, *, domain: Literal["ff", "cdf", "own"] = "ff", methods: list[str] | None = None) -> Scan:
        """The sequences of some methods, and their reals.

        Args:
            root: the folder that has ``DF40``.
            domain: made of FaceForensics++, of Celeb-DF, or the methods with reals of their own.
            methods: names of methods' folders; without it all of the domain.
        """
        tree = Tree(self.name, root)
        places = {"ff": ("DF40_train", "DF40")}.get(domain, ("DF40",))
        inner = "fake" if domain == "own" else domain
        tree.need(*places)
        here = sorted({path.parent.name for place in places for path in (root / place).glob(f"*/{inner}")})
        if not here:
            raise tree.error(f"{root} has no folder {' or '.join(places)}/METHOD/{inner}")
        for method in methods or ():
            if method not in here:
                raise unknown(f"method of domain {domain} in {root}", method, here)
        fakes = [
            (item, place)
            for place in places
            for method in methods or here
            for item in _sequences(tree, root / place / method / inner, 1, method)
        ]
        if domain == "ff":
            return _ff(tree, fakes)
        items = [item for item, _ in fakes]
        if domain == "own":
            for method in methods or here:
                tree.need(f"DF40/{method}/real")
                items += _sequences(tree, root / "DF40" / method / "real", 0, "real")
            return Scan(items)
        tree.need(f"{CELEB}/Celeb-real", f"{CELEB}/YouTube-real", f"{CELEB}/{LIST}")
        tested = listed_labels(tree, root / CELEB / LIST)
        found = {
            f"{folder}/{item.path.name}": item
            for folder in ("Celeb-real", "YouTube-real")
            for item in _sequences(tree, root / CELEB / folder, 0, "real")
        }
        reals = {name for name in tested if not name.startswith("Celeb-synthesis")}
        missing = [f"{CELEB}/{name}" for name in sorted(reals - set(found))]
        return Scan(items + [found[name] for name in sorted(reals & set(found))], missing)


def _sequences(tree: Tree, folder: Path, label: int, method: str) -> Iterator[Item]:
    """Folders of frames below a folder; pictures that lie in it, or in its ``frames``, are items of their own."""
    for below in folders(folder):
        if DERIVED & set(below.relative_to(folder).parts):
            continue
        found = pictures(below)
        if below in (folder, folder / "frames"):
            yield from (Item(p, tree.name(p), label, "test", method, None, None, None, "picture", True) for p in found)
        elif found:
            yield Item(below, tree.name(below), label, "test", method, None, None, None, "frames", True)


def _ff(tree: Tree, fakes: list[tuple[Item, str]]) -> Scan:
    """The domain of FaceForensics++: splits by folder and by the official lists, which must agree."""
    (real_folder,) = tree.need(REALS)
    official, items, contrary = official_splits(), [], 0
    for item, place in fakes:
        name = re.fullmatch(r"(\d{3})(_\d{3})?", item.path.stem)
        by_folder, by_list = "train" if place == "DF40_train" else "test", official.get(name[1]) if name else None
        if by_list not in (None, "val", by_folder):
            contrary += 1
            continue
        swap = name[1] if name and name[2] else None
        partner = f"{REALS}/{swap}" if swap else None
        items.append(replace(item, split=by_list or by_folder, identity=name[1] if name else None, pair=partner))
    reals = {item.path.name: item for item in _sequences(tree, real_folder, 0, "real")}
    missing = [f"{REALS}/{name}" for name in sorted(set(official) - set(reals)) if "_" not in name]
    items += [replace(item, split=official[name], identity=name) for name, item in reals.items() if name in official]
    notes = [f"{contrary} fakes left out whose folder and official split differ"] if contrary else []
    if strange := sorted(set(reals) - set(official)):
        notes.append(f"{len(strange)} reals left out that no official list names: {some(strange)}")
    return Scan(items, missing, notes)

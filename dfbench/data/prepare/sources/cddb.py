"""CDDB, the Continual Deepfake Detection Benchmark (Li et al., WACV 2023): pictures of twelve generators."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from dfbench.data.prepare.item import Item
from dfbench.data.prepare.sources.contract import About, DataSet, Scan
from dfbench.data.prepare.sources.option_types import Share
from dfbench.data.prepare.sources.picture_folders import SPLITS, class_items, with_picture_val
from dfbench.data.prepare.sources.tree import Tree, some

Generator = Literal[
    "gaugan", "biggan", "cyclegan", "imle", "deepfake", "crn", "wild", "glow", "stargan_gf", "stylegan",
    "whichfaceisreal", "san",
]  # fmt: skip
CLASSES = {"0_real": 0, "1_fake": 1}


class Cddb(DataSet):
    """CDDB: each generator is a method, and a source with reals of its own."""

    name = "cddb"
    about = About(
        title="CDDB, A Continual Deepfake Detection Benchmark",
        access="https://coral79.github.io/CDDB_web",
        licence="the terms that its authors state with the download; the sets that it gathers have their own",
        counts="12 sources of 440 (san) to 16 800 pictures",
        citation="Li et al., A Continual Deepfake Detection Benchmark: Dataset, Methods, and Essentials, WACV 2023",
        tree="""\
SOURCE/{train,val}/[CLASS/]{0_real,1_fake}/*.png
SOURCE: gaugan, biggan, cyclegan, imle, deepfake (FaceForensics++), crn, wild,
glow, stargan_gf, stylegan, whichfaceisreal, san
CLASS: only in cyclegan, glow, stargan_gf and stylegan""",
        splits="official: train trains, val is the test set; val=SHARE makes this share of the training pictures, by "
        "the SHA-256 of 'cddb/NAME', the validation set",
        names="each generator has a numbering of its own",
        traps=(
            "the pictures are used whole: no face is looked for",
            "each source has reals of its own: the column source says whose, and where: {source: gaugan} takes them",
        ),
    )

    def read(self, root: Path, *, methods: list[Generator] | None = None, val: Share = 0.0) -> Scan:
        """The pictures of some sources.

        Args:
            root: the folder that has the sources.
            methods: these sources must be there; without it those that are there.
            val: the share of training pictures that validate.
        """
        tree = Tree(self.name, root)
        known = list(get_args(Generator))
        here = [name for name in methods or known if (root / name).is_dir()]
        if methods or not here:
            tree.need(*(methods or known))
        items: list[Item] = []
        for name in here:
            tree.need(*(f"{name}/{part}" for part in SPLITS))
            for part, split in SPLITS.items():
                places = _class_places(root / name / part)
                if not places:
                    raise tree.error(f"{root / name / part} has no folders 0_real and 1_fake")
                for place in places:
                    items += (replace(item, source=name) for item in class_items(tree, place, CLASSES, split, name))
        absent = [name for name in known if name not in here] if methods is None else []
        notes = [f"without {some(absent)}: no such folders"] if absent else []
        return Scan(with_picture_val(items, val, self.name), (), notes)


def _class_places(folder: Path) -> list[Path]:
    """The folders that have 0_real and 1_fake: the folder itself, or those a level below."""
    places = [folder, *sorted(entry for entry in folder.iterdir() if entry.is_dir())]
    return [place for place in places if all((place / name).is_dir() for name in CLASSES)]

"""GenImage (Zhu et al., NeurIPS 2023) and sets arranged like it: ``GENERATOR/…/{train,val}/{ai,nature}``."""

from __future__ import annotations

from pathlib import Path

from dfbench.data.prepare.item import Item
from dfbench.data.prepare.sources.contract import About, DataSet, Scan
from dfbench.data.prepare.sources.option_types import Share
from dfbench.data.prepare.sources.picture_folders import SPLITS, class_items, with_picture_val
from dfbench.data.prepare.sources.tree import Tree
from dfbench.errors import unknown

CLASSES = {"nature": 0, "ai": 1}


class GenImage(DataSet):
    """Folders of generators, each with its own reals."""

    name = "genimage"
    about = About(
        title="GenImage, and folders like it",
        access="https://github.com/GenImage-Dataset/GenImage",
        licence="the terms that its authors state with the download; the real pictures are ImageNet's, under its terms",
        counts="1.35 million generated pictures of eight generators, 1.33 million real ones",
        citation="Zhu et al., GenImage: A Million-Scale Benchmark for Detecting AI-Generated Image, NeurIPS 2023",
        tree="""\
GENERATOR/[FOLDER/]{train,val}/{ai,nature}/*""",
        splits="official: train trains, val is the test set; val=SHARE makes this share of the training pictures, by "
        "the SHA-256 of 'genimage/NAME', the validation set",
        names="those of ImageNet, and those of each generator",
        traps=(
            "the pictures are used whole: no face is looked for",
            "in GenImage reals and fakes differ in format and size, which alone can tell them apart: 'data audit' "
            "measures it",
        ),
    )

    def read(self, root: Path, *, methods: list[str] | None = None, val: Share = 0.0) -> Scan:
        """The pictures of some generators.

        Args:
            root: the folder that has the generators, or a generator's own.
            methods: names of generators' folders; without it all of them.
            val: the share of training pictures that validate.
        """
        tree = Tree(self.name, root)
        places: dict[str, list[Path]] = {}
        for pattern in ("train", "*/train", "*/*/train"):
            for train in sorted(root.glob(pattern)):
                if all((train / name).is_dir() for name in CLASSES):
                    below = train.relative_to(root).parts
                    places.setdefault(below[0] if len(below) > 1 else root.name, []).append(train.parent)
        if not places:
            tree.need("GENERATOR/train/ai", "GENERATOR/train/nature")
        for name in methods or ():
            if name not in places:
                raise unknown(f"generator in {root}", name, places)
        items: list[Item] = []
        for name in methods or places:
            for place in places[name]:
                inside = place.relative_to(root).as_posix()
                tree.need(*(f"{inside}/{part}/{kind}" for part in SPLITS for kind in CLASSES))
                for part, split in SPLITS.items():
                    items += class_items(tree, place / part, CLASSES, split, name)
        return Scan(with_picture_val(items, val, self.name))

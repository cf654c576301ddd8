"""What CDDB and GenImage share: folders of whole pictures, of which the validation folder is the published test set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from dfbench.data.prepare.item import Item
from dfbench.data.prepare.sources.split import with_val
from dfbench.data.prepare.sources.tree import Tree, folders, pictures

SPLITS = {"train": "train", "val": "test"}


def class_items(tree: Tree, folder: Path, classes: dict[str, int], split: str, method: str) -> Iterator[Item]:
    """The pictures at any depth below the class folders of one split, each an item that is used whole.

    Args:
        tree: names are relative to it.
        folder: the one that has the class folders.
        classes: their names → label.
        split: of the items.
        method: of the fakes.
    """
    for name, label in classes.items():
        for below in folders(folder / name):
            found = pictures(below)
            stems = Counter(path.stem for path in found)
            for path in found:  # a.png and a.jpg are two pictures
                video = tree.name(path) if stems[path.stem] == 1 else path.relative_to(tree.root).as_posix()
                yield Item(path, video, label, split, method if label else "real", None, None, None, "picture", True)


def with_picture_val(items: list[Item], share: float, data_set: str) -> list[Item]:
    """Make a share of the training pictures, by the hash of their names, the validation set."""
    kept, _ = with_val(items, share, lambda item: [f"{data_set}/{item.video}"])
    return kept

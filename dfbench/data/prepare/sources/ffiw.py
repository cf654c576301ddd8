"""FFIW-10K, Face Forensics in the Wild (Zhou et al., CVPR 2021): several people in view, one of them swapped."""

from __future__ import annotations

from pathlib import Path

from dfbench.data.prepare.item import Item
from dfbench.data.prepare.sources.contract import About, DataSet, Scan
from dfbench.data.prepare.sources.tree import Tree, some, videos

LABELS = {"source": 0, "target": 1}
RELEASES = {
    "train": ("{0}/train", "FFIW10K-v1-release/{0}/train"),
    "val": ("{0}/val", "FFIW10K-v1-release/{0}/val"),
    "test": (
        "{0}/test", "FFIW10K-v1-release-test/{0}/test", "FFIW10K-v1-release-test/{0}",
        "../FFIW10K-v1-release-test/{0}/test", "../FFIW10K-v1-release-test/{0}",
    ),
}  # fmt: skip
"""Split → where its videos may be, with ``source`` or ``target`` for {0}; the test set is a download of its own."""


class Ffiw(DataSet):
    """FFIW-10K: the release and the test release."""

    name = "ffiw"
    about = About(
        title="FFIW-10K, Face Forensics in the Wild",
        access="form at https://github.com/tfzhou/FFIW",
        licence="the terms that its authors state with the download; no redistribution",
        counts="10 000 real and 10 000 fake videos: about 8000, 250 and 1738 of each train, validate and test",
        citation="Zhou et al., Face Forensics in the Wild, CVPR 2021",
        tree="""\
source/{train,val}/*.mp4   (real; here or in FFIW10K-v1-release/)
target/{train,val}/*.mp4   (fake)
{source,target}/test/*.mp4, or the test release, here or next to this folder:
FFIW10K-v1-release-test/{source,target}/*.mp4""",
        splits="official: the folders train, val and test",
        traps=(
            "several faces are in view and one is forged: a video's label is not every face's",
            "nobody is named, so people cannot be compared over splits",
        ),
    )

    def read(self, root: Path) -> Scan:
        """The videos of the splits that are there.

        Args:
            root: the release's folder, or the one that has it.
        """
        tree = Tree(self.name, root)
        tree.need("source|FFIW10K-v1-release/source|FFIW10K-v1-release-test/source")
        items, notes = [], []
        for split, patterns in RELEASES.items():
            places = {side: _first(root, patterns, side) for side in LABELS}
            absent = [side for side, place in places.items() if place is None]
            if len(absent) == len(LABELS):
                notes.append(f"without {split}: no folders source/{split} and target/{split}")
                continue
            if absent:
                raise tree.error(f"{root} has one class of {split} only: {absent[0]}/{split} is missing")
            for side, place in places.items():
                assert place is not None
                method = "FFIW" if LABELS[side] else "real"
                items += [Item(p, f"{side}/{split}/{p.stem}", LABELS[side], split, method, None, None, None)
                          for p in videos(place)]  # fmt: skip
        masks = [item.video for item in items if _is_mask(item)]
        if masks:
            notes.append(f"{len(masks)} mask videos left out: {some(masks)}")
        return Scan([item for item in items if not _is_mask(item)], (), notes)


def _is_mask(item: Item) -> bool:
    return "mask" in item.path.stem.lower()


def _first(root: Path, patterns: tuple[str, ...], side: str) -> Path | None:
    places = (root / pattern.format(side) for pattern in patterns)
    return next((place.resolve() if ".." in place.parts else place for place in places if videos(place)), None)

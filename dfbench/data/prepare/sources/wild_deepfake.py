"""WildDeepfake (Zi et al., ACM MM 2020): faces of deepfakes from the internet, as sequences of crops."""

from __future__ import annotations

from pathlib import Path

from dfbench.data.prepare.item import Item
from dfbench.data.prepare.sources.contract import About, DataSet, Scan
from dfbench.data.prepare.sources.option_types import Share
from dfbench.data.prepare.sources.split import with_val
from dfbench.data.prepare.sources.tree import Tree, folders, pictures, some

FOLDERS = {"real_train": (0, "train"), "real_test": (0, "test"), "fake_train": (1, "train"), "fake_test": (1, "test")}


class WildDeepfake(DataSet):
    """WildDeepfake, its archives unpacked where they lie."""

    name = "wild-deepfake"
    about = About(
        title="WildDeepfake",
        access="form at https://github.com/OpenTAI/wild-deepfake",
        licence="the terms that its authors state with the download; no redistribution",
        counts="7314 sequences of face crops, from 707 videos",
        citation="Zi et al., WildDeepfake: A Challenging Real-World Dataset for Deepfake Detection, ACM MM 2020",
        tree="""\
{real,fake}_{train,test}/N.tar.gz, each unpacked next to itself:
{real,fake}_{train,test}/N/{real,fake}/SEQUENCE/*.png""",
        splits="official: the folder's name, train or test; val=SHARE makes the sequences of this share of the "
        "training archives, by the SHA-256 of 'wild-deepfake/FOLDER/N', the validation set",
        traps=(
            "the pictures are face crops: no face is looked for",
            "nobody is named, and all sequences of one archive are kept in one split",
        ),
    )

    def read(self, root: Path, *, val: Share = 0.0) -> Scan:
        """All sequences of the four folders.

        Args:
            root: the folder that has ``real_train``.
            val: the share of training archives that validate.
        """
        tree = Tree(self.name, root)
        tree.need(*FOLDERS)
        items, packed = [], []
        for folder, (label, split) in FOLDERS.items():
            packed += [path for path in sorted((root / folder).glob("*.tar.gz")) if not _unpacked(path).is_dir()]
            for sequence in folders(root / folder):
                if pictures(sequence):
                    name = tree.name(sequence)
                    method = "WildDeepfake" if label else "real"
                    items.append(Item(sequence, name, label, split, method, None, None, None, "frames", True))
        if packed:
            raise tree.error(
                f"{len(packed)} archives are not unpacked: {some(str(path) for path in packed)}; "
                "unpack each where it lies: for f in */*.tar.gz; do tar -xf $f -C ${f%/*}; done"
            )
        kept, _ = with_val(items, val, lambda item: [f"{self.name}/{'/'.join(item.video.split('/')[:2])}"])
        return Scan(kept)


def _unpacked(archive: Path) -> Path:
    return archive.with_name(archive.name.removesuffix(".tar.gz"))

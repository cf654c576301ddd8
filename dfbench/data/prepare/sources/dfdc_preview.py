"""The preview of the Deepfake Detection Challenge's data set (Dolhansky et al., 2019)."""

from __future__ import annotations

from pathlib import Path

from dfbench.data.pictures import VIDEOS
from dfbench.data.prepare.item import Item
from dfbench.data.prepare.sources.contract import About, DataSet, Scan
from dfbench.data.prepare.sources.option_types import Ratio, Share
from dfbench.data.prepare.sources.split import thinned, with_val
from dfbench.data.prepare.sources.tree import Tree

LABELS = {"real": 0, "fake": 1}
FOLDERS = {"original_videos": 0, "method_A": 1, "method_B": 1}


class DfdcPreview(DataSet):
    """DFDCP: the three folders and their ``dataset.json``."""

    name = "dfdc-preview"
    about = About(
        title="DFDC preview (DFDCP)",
        access="https://ai.meta.com/datasets/dfdc",
        licence="DFDC dataset licence: research only, no redistribution",
        counts="1131 real (855 train, 276 test), 4119 fake (3618 train, 501 test)",
        citation="Dolhansky et al., The Deepfake Detection Challenge (DFDC) Preview Dataset, arXiv:1910.08854",
        tree="""\
dataset.json   ({PATH: {label, set, target_id, swapped_id, …}})
original_videos/ACTOR/*.mp4
method_A/ACTOR/…/*.mp4
method_B/ACTOR/…/*.mp4""",
        splits="official: 'set' in dataset.json, train or test; val=SHARE makes this share of the training actors, by "
        "the SHA-256 of 'dfdc-preview/ID', the validation set, without swaps between actors of both",
        traps=("others validate on the test set",),
    )

    def read(self, root: Path, *, val: Share = 0.0, fakes_per_real: Ratio = None) -> Scan:
        """The videos that ``dataset.json`` names.

        Args:
            root: the folder that has ``dataset.json``.
            val: the share of training actors that validate.
            fakes_per_real: keep at most so many fakes for each real of a split.
        """
        tree = Tree(self.name, root)
        listing, *_ = tree.need("dataset.json", *FOLDERS)
        items, labels, missing, people = [], {}, [], {}
        for file, entry in sorted(tree.json(listing).items()):
            path, folder = root / file, file.split("/")[0]
            if (
                not isinstance(entry, dict)
                or entry.get("label") not in LABELS
                or entry.get("set") not in ("train", "test")
            ):
                raise tree.error(f"{listing}: {file}: no label real or fake and set train or test")
            if folder not in FOLDERS or ".." in path.parts or path.suffix.lower() not in VIDEOS:
                raise tree.error(f"{listing}: {file} is not a video in {', '.join(FOLDERS)}")
            if not path.is_file():
                missing.append(file)
                continue
            label, video = LABELS[entry["label"]], tree.name(path)
            labels[video] = FOLDERS[folder]
            ids = [str(entry[key]) for key in ("target_id", "swapped_id") if entry.get(key) is not None]
            people[video] = [f"{self.name}/{name}" for name in ids or [video]]
            method = folder if label else "real"
            items.append(Item(path, video, label, entry["set"], method, ids[0] if ids else None, None, None))
        kept, crossing = with_val(items, val, lambda item: people[item.video])
        notes = [f"{crossing} fakes left out that show a training and a validation actor"] if crossing else []
        return Scan(thinned(kept, fakes_per_real), missing, notes, labels)

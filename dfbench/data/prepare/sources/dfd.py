"""DeepFakeDetection, Google and Jigsaw's set in the tree of FaceForensics++ (2019): actors in 16 scenes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from dfbench.data.prepare.item import Item
from dfbench.data.prepare.sources.contract import About, DataSet, Scan
from dfbench.data.prepare.sources.option_types import Compression, Ratio
from dfbench.data.prepare.sources.split import agreed, dealt, thinned
from dfbench.data.prepare.sources.tree import Tree, some, videos

ACTORS = [f"{number:02d}" for number in range(1, 29)]
REAL = re.compile(r"(\d\d)__.+")
FAKE = re.compile(r"(\d\d)_(\d\d)__(.+)__\w+")


def actor_splits() -> dict[str, str]:
    """The 28 actors' splits: 16 train, 6 validate, 6 test, in the order of the SHA-256 of ``dfd/NN``."""
    splits = dealt([f"dfd/{actor}" for actor in ACTORS], val=6, test=6)
    return {actor: splits[f"dfd/{actor}"] for actor in ACTORS}


class DeepFakeDetection(DataSet):
    """DFD, one compression at a time."""

    name = "dfd"
    about = About(
        title="DeepFakeDetection (DFD), Google and Jigsaw",
        access="the form and download script of FaceForensics++, https://github.com/ondyari/FaceForensics",
        licence="FaceForensics terms of use: research only, no redistribution",
        counts="363 real videos of 28 actors, 3068 fakes",
        citation="Dufour, Gully: Contributing Data to Deepfake Detection Research, Google AI Blog 2019",
        tree="""\
original_sequences/actors/{raw,c23,c40}/videos/NN__scene.mp4
manipulated_sequences/DeepFakeDetection/{raw,c23,c40}/videos/NAME.mp4
manipulated_sequences/DeepFakeDetection/masks/videos/NAME.mp4   (optional)
NAME: TT_SS__scene__XXXXXXXX   (target_source)""",
        splits="none official. splits=identity: 16, 6 and 6 of the 28 actors, in the order of the SHA-256 of 'dfd/NN'; "
        "a fake whose two actors are in different splits is left out. splits=test: everything tests, for a set that "
        "is never trained on",
        names="a fake is TT_SS__scene__XXXXXXXX, an original NN__scene",
        traps=(
            "others use the whole set for training, validation and test at once",
            "several people are often in view, and the forged face is not always the largest: the masks tell",
        ),
    )

    def read(
        self,
        root: Path,
        *,
        compression: Compression = "c23",
        splits: Literal["identity", "test"] = "identity",
        fakes_per_real: Ratio = None,
    ) -> Scan:
        """The actors' videos and the swaps of one compression.

        Args:
            root: the folder that has ``original_sequences``.
            compression: which of the three copies.
            splits: by actor, or everything for testing.
            fakes_per_real: keep at most so many fakes for each real of a split.
        """
        tree = Tree(self.name, root)
        real_folder, fake_folder = tree.need(
            f"original_sequences/actors/{compression}/videos",
            f"manipulated_sequences/DeepFakeDetection/{compression}/videos",
        )
        masks = root / "manipulated_sequences/DeepFakeDetection/masks/videos"
        of = actor_splits() if splits == "identity" else dict.fromkeys(ACTORS, "test")
        items, strange, crossing = [], [], 0
        for path in videos(real_folder):
            if (match := REAL.fullmatch(path.stem)) and match[1] in of:
                items.append(Item(path, tree.name(path), 0, of[match[1]], "real", match[1], None, None))
            else:
                strange.append(path.name)
        for path in videos(fake_folder):
            match = FAKE.fullmatch(path.stem)
            if match is None or match[1] not in of or match[2] not in of:
                strange.append(path.name)
                continue
            target, source, scene = match.groups()
            split = agreed((of[target], of[source]))
            if split is None:
                crossing += 1
                continue
            partner = tree.name(real_folder / f"{target}__{scene}.mp4")
            mask = masks / path.name if (masks / path.name).is_file() else None
            items.append(Item(path, tree.name(path), 1, split, "DeepFakeDetection", target, partner, mask))
        notes = [f"{len(strange)} files left out whose names have no actors: {some(strange)}"] if strange else []
        notes += [f"{crossing} fakes left out that show actors of two splits"] if crossing else []
        return Scan(thinned(items, fakes_per_real), (), notes)

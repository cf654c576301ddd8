"""KoDF (Kwon et al., ICCV 2021): Korean people, six ways of forging. Read as far as its layout is public."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from dfbench.data.prepare.item import Item
from dfbench.data.prepare.sources.contract import About, DataSet, Scan
from dfbench.data.prepare.sources.option_types import Ratio
from dfbench.data.prepare.sources.split import agreed, by_hash, thinned
from dfbench.data.prepare.sources.tree import Tree, some, videos_below

REAL = re.compile(r"(.+)_[^_]+")
FAKE = re.compile(r"([^_]+)_([^_]+)_([^_]+)_[^_]+")
METHODS = {"1": "dfl", "2": "dffs", "3": "fsgan", "4": "fo", "5": "audio-driven"}


class KoDF(DataSet):
    """KoDF: originals and syntheses, at any depth below their two folders."""

    name = "kodf"
    about = About(
        title="KoDF, the Korean DeepFake Detection Dataset",
        access="form at https://github.com/deepbrainai-research/kodf; within Korea https://aihub.or.kr/aidata/8005",
        licence="KoDF terms of use: research only, no redistribution",
        counts="62 166 real videos of 403 people, 175 776 fakes",
        citation="Kwon et al., KoDF: A Large-scale Korean DeepFake Detection Dataset, ICCV 2021",
        tree="""\
original_videos/…/PERSON_NNN.mp4
synthesized_videos/…/TARGET_SOURCE_CODE_NNNN.mp4
CODE: 1 dfl, 2 dffs, 3 fsgan, 4 fo, 5 audio-driven""",
        splits="none official. splits=identity: by the SHA-256 of 'kodf/PERSON' (test below .15, validation below "
        ".30); a fake whose two people are in different splits is left out. splits=test: everything tests",
        names="a fake is TARGET_SOURCE_CODE_NNNN, an original PERSON_NNN",
        traps=("the layout is public in parts only: files with other names are left out, with a note",),
    )

    def read(
        self,
        root: Path,
        *,
        splits: Literal["identity", "test"] = "identity",
        fakes_per_real: Ratio = None,
    ) -> Scan:
        """The videos whose names say who is seen.

        Args:
            root: the folder that has ``original_videos``.
            splits: by person, or everything for testing.
            fakes_per_real: keep at most so many fakes for each real of a split.
        """
        tree = Tree(self.name, root)
        originals, syntheses = tree.need("original_videos", "synthesized_videos")
        items, strange, crossing = [], [], 0
        for folder, label, pattern in ((originals, 0, REAL), (syntheses, 1, FAKE)):
            for path in videos_below(folder):
                match = pattern.fullmatch(path.stem)
                method = METHODS.get(match[3]) if match and label else "real"
                if match is None or method is None:
                    strange.append(path.name)
                    continue
                people = match.groups()[:2] if label else (match[1],)
                sides = (by_hash(f"{self.name}/{person}") for person in people)
                split = "test" if splits == "test" else agreed(sides)
                if split is None:
                    crossing += 1
                    continue
                items.append(Item(path, tree.name(path), label, split, method, match[1], None, None))
        notes = (
            [f"{len(strange)} files left out whose names do not say who is seen: {some(strange)}"] if strange else []
        )
        notes += [f"{crossing} fakes left out that show people of two splits"] if crossing else []
        return Scan(thinned(items, fakes_per_real), (), notes)

"""DeeperForensics-1.0 (Jiang et al., CVPR 2020): 100 actors' faces in the originals of FaceForensics++."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from dfbench.data.prepare.item import Item
from dfbench.data.prepare.sources.contract import About, DataSet, Scan
from dfbench.data.prepare.sources.ffpp import ORIGINALS, official_splits
from dfbench.data.prepare.sources.tree import Tree, some, videos

Variant = Literal[
    "end_to_end", "reenact_postprocess", "end_to_end_random_level",
    "end_to_end_level_1", "end_to_end_level_2", "end_to_end_level_3", "end_to_end_level_4", "end_to_end_level_5",
    "end_to_end_mix_2_distortions", "end_to_end_mix_3_distortions", "end_to_end_mix_4_distortions",
]  # fmt: skip
NAME = re.compile(r"(\d{3})_([MW]\d+)")


class DeeperForensics(DataSet):
    """DeeperForensics-1.0 with its reals, which are those of FaceForensics++."""

    name = "deeper-forensics"
    about = About(
        title="DeeperForensics-1.0",
        access="form at https://github.com/EndlessSora/DeeperForensics-1.0; the reals from FaceForensics++",
        licence="DeeperForensics-1.0 terms of use: research only, no redistribution",
        counts="1000 fakes in each of 11 variants, about 119 GB; reals: the 1000 originals of FaceForensics++",
        citation="Jiang et al., DeeperForensics-1.0: A Large-Scale Dataset for Real-World Face Forgery Detection, "
        "CVPR 2020",
        tree="""\
manipulated_videos/VARIANT/TTT_ACTOR.mp4   (target_actor)
lists/splits/{train,val,test}.txt          (one file name a line)
original_sequences/youtube/c23/videos/TTT.mp4, here or in ffpp=FOLDER
VARIANT: end_to_end, reenact_postprocess, end_to_end_random_level,
end_to_end_level_{1..5}, end_to_end_mix_{2,3,4}_distortions""",
        splits="splits=official: the set's own lists, in which no actor is in two splits; a real is in its fake's "
        "split. splits=ffpp: the target's split in FaceForensics++, for streams that have both sets",
        names="a fake is TTT_ACTOR, an original TTT",
        traps=(
            "the reals are the c23 originals of FaceForensics++, not source_videos: those actors lend their faces only",
            "others use all of source_videos as reals, in training, validation and test at once",
            "the official lists and those of FaceForensics++ put the same real into different splits",
        ),
    )

    def read(
        self,
        root: Path,
        *,
        variants: list[Variant] | None = None,
        splits: Literal["official", "ffpp"] = "official",
        ffpp: Path | None = None,
    ) -> Scan:
        """The fakes of some variants, and their targets as reals.

        Args:
            root: the folder that has ``manipulated_videos``.
            variants: ``end_to_end`` without it.
            splits: the set's own, or those of FaceForensics++.
            ffpp: the root of FaceForensics++; without it this root, or ``FaceForensics++`` next to it.
        """
        tree = Tree(self.name, root)
        wanted = variants or ["end_to_end"]
        tree.need(*(f"manipulated_videos/{variant}" for variant in wanted))
        targets = {path.stem: path for path in videos(self._originals(tree, ffpp))}
        of = _official(tree) if splits == "official" else {}
        items, missing, strange, expected = [], [], [], set(of)
        reals: dict[str, str] = {}
        for variant in wanted:
            found = {path.stem: path for path in videos(root / "manipulated_videos" / variant)}
            missing += [f"manipulated_videos/{variant}/{name}.mp4" for name in sorted(expected - set(found))]
            for name, path in found.items():
                match = NAME.fullmatch(name)
                split = of.get(name) if splits == "official" else official_splits().get(name[:3])
                if match is None or split is None:
                    strange.append(f"{variant}/{path.name}")
                    continue
                target = match[1]
                partner = f"{ORIGINALS}/c23/videos/{target}"
                items.append(Item(path, tree.name(path), 1, split, variant, target, partner, None))
                reals[target] = split
        missing += [f"{ORIGINALS}/c23/videos/{target}.mp4" for target in sorted(set(reals) - set(targets))]
        items += [
            Item(targets[target], f"{ORIGINALS}/c23/videos/{target}", 0, split, "real", target, None, None)
            for target, split in reals.items()
            if target in targets
        ]
        notes = [f"{len(strange)} files left out that no list names: {some(strange)}"] if strange else []
        return Scan(items, missing, notes)

    def _originals(self, tree: Tree, ffpp: Path | None) -> Path:
        """The folder of the reals."""
        places = [ffpp.expanduser().absolute()] if ffpp else [tree.root, tree.root.parent / "FaceForensics++"]
        for place in places:
            if (place / ORIGINALS / "c23/videos").is_dir():
                return place / ORIGINALS / "c23/videos"
        looked = some(str(place / ORIGINALS / "c23/videos") for place in places)
        raise tree.error(
            f"no reals: looked for {looked}; they are the c23 originals of FaceForensics++, not source_videos: "
            "give its folder as ffpp=FOLDER"
        )


def _official(tree: Tree) -> dict[str, str]:
    """File name without suffix → split, of the set's own lists."""
    listings = tree.need(*(f"lists/splits/{split}.txt" for split in ("train", "val", "test")))
    return {Path(line).stem: listing.stem for listing in listings for _, line in tree.lines(listing)}

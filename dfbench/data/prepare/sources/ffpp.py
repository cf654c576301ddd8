"""FaceForensics++ (Rössler et al., ICCV 2019): 1000 originals and five manipulations of each."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal, get_args

from dfbench.data.prepare.item import Item
from dfbench.data.prepare.sources.contract import About, DataSet, Scan
from dfbench.data.prepare.sources.option_types import Compression, Ratio
from dfbench.data.prepare.sources.split import thinned
from dfbench.data.prepare.sources.tree import Tree, some, videos
from dfbench.documents import read_json

Method = Literal["Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter"]
ORIGINALS = "original_sequences/youtube"
MANIPULATED = "manipulated_sequences"


@functools.cache
def official_pairs() -> dict[str, list[list[str]]]:
    """The official splits: ``train``, ``val``, ``test`` → 360, 70 and 70 pairs of originals."""
    pairs: dict[str, list[list[str]]] = read_json(Path(__file__).with_name("ffpp_splits.json"))
    return pairs


@functools.cache
def official_splits() -> dict[str, str]:
    """Split of each of the 1000 originals (``"000"`` to ``"999"``), and of each fake (``"071_054"``, ``"054_071"``)."""
    splits: dict[str, str] = {}
    for split, pairs in official_pairs().items():
        for a, b in pairs:
            splits |= dict.fromkeys((a, b, f"{a}_{b}", f"{b}_{a}"), split)
    return splits


class FaceForensics(DataSet):
    """FaceForensics++, one compression at a time."""

    name = "ffpp"
    about = About(
        title="FaceForensics++",
        access="form at https://github.com/ondyari/FaceForensics; its download script makes this tree",
        licence="FaceForensics terms of use: research only, no redistribution",
        counts="1000 real videos, 1000 fakes a method",
        citation="Rössler et al., FaceForensics++: Learning to Detect Manipulated Facial Images, ICCV 2019",
        tree="""\
original_sequences/youtube/{raw,c23,c40}/videos/NNN.mp4
manipulated_sequences/METHOD/{raw,c23,c40}/videos/TTT_SSS.mp4
manipulated_sequences/METHOD/masks/videos/TTT_SSS.mp4   (optional)
TTT_SSS: target_source
METHOD: Deepfakes, Face2Face, FaceSwap, NeuralTextures, FaceShifter""",
        splits="official: 360, 70 and 70 pairs of originals, shipped with dfbench; both fakes of a pair, a_b and b_a, "
        "are in the pair's split",
        names="a fake is TTT_SSS, an original NNN",
        traps=(
            "the fakes of one pair by several methods have one file name; their names here have the method's folder, "
            "so that their scores are not averaged as one video",
            "a fake shows the target's video, frame by frame: that original is its pair and its identity",
            "where several faces are seen the forged one need not be the largest: the masks tell",
        ),
    )

    def read(
        self,
        root: Path,
        *,
        compression: Compression = "c23",
        methods: list[Method] | None = None,
        fakes_per_real: Ratio = None,
    ) -> Scan:
        """The originals and fakes of one compression.

        Args:
            root: the folder that has ``original_sequences``.
            compression: which of the three copies.
            methods: these must be there; without it those that are there.
            fakes_per_real: keep at most so many fakes for each real.
        """
        tree = Tree(self.name, root)
        tree.need(ORIGINALS)
        places = {"real": f"{ORIGINALS}/{compression}/videos"}
        places |= {m: f"{MANIPULATED}/{m}/{compression}/videos" for m in methods or get_args(Method)}
        if not (root / places["real"]).is_dir():
            here = [level for level in get_args(Compression) if (root / ORIGINALS / level / "videos").is_dir()]
            raise tree.error(f"{root / places['real']} is missing; compression: {some(here) or 'none'} is there")
        absent = [method for method, place in places.items() if not (root / place).is_dir()]
        if methods or len(absent) == len(places) - 1:
            tree.need(*places.values())
        notes = [f"without {some(absent)}: no such folder with {compression}"] if absent else []
        splits, items, missing = official_splits(), [], []
        for method, place in places.items():
            if method in absent:
                continue
            found = {path.stem: path for path in videos(root / place)}
            expected = {name for name in splits if ("_" in name) == (method != "real")}
            missing += [f"{place}/{name}.mp4" for name in sorted(expected - set(found))]
            if strange := sorted(set(found) - expected):
                notes.append(f"{place}: {len(strange)} files left out that no official list names: {some(strange)}")
            items += [
                _item(tree, found[name], method, compression, splits[name]) for name in sorted(expected & set(found))
            ]
        return Scan(thinned(items, fakes_per_real), missing, notes)


def _item(tree: Tree, path: Path, method: str, compression: str, split: str) -> Item:
    target = path.stem[:3]
    if method == "real":
        return Item(path, tree.name(path), 0, split, "real", target, None, None)
    mask = tree.root / MANIPULATED / method / "masks/videos" / path.name
    original = f"{ORIGINALS}/{compression}/videos/{target}"
    return Item(path, tree.name(path), 1, split, method, target, original, mask if mask.is_file() else None)

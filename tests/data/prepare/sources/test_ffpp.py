"""FaceForensics++: official pairs, both directions, masks, compressions; and its reals in DeeperForensics-1.0."""

from __future__ import annotations

import os
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from dfbench.data.prepare.opening import data_set
from dfbench.data.prepare.sources.ffpp import official_pairs, official_splits
from dfbench.errors import DataError, UsageError
from tests.data.prepare.sources.conftest import Grow, by_name, splits

FFPP, DEEPER = data_set("ffpp"), data_set("deeper-forensics")
REAL, FAKE = "original_sequences/youtube/{}/videos/{}.mp4", "manipulated_sequences/{}/{}/videos/{}.mp4"
TRAIN, VAL, TEST = ("071", "054"), tuple(official_pairs()["val"][0]), tuple(official_pairs()["test"][0])


def tree(grow: Grow, *methods: str, compression: str = "c23", pairs: tuple[tuple[str, ...], ...] = ()) -> Path:
    """Originals and fakes, both directions, of a pair of each split."""
    pairs = pairs or (TRAIN, VAL, TEST)
    names = [REAL.format(compression, name) for pair in pairs for name in pair]
    names += [FAKE.format(m, compression, f"{x}_{y}") for m in methods for a, b in pairs for x, y in ((a, b), (b, a))]
    return grow(*names)


def test_the_official_splits_are_360_70_and_70_disjoint_pairs() -> None:
    people = {split: {name for pair in pairs for name in pair} for split, pairs in official_pairs().items()}
    assert {split: len(names) for split, names in people.items()} == {"train": 720, "val": 140, "test": 140}
    assert len(set().union(*people.values())) == 1000
    assert len(official_splits()) == 2000


def test_labels_splits_identities_and_pairs_in_both_directions(grow: Grow) -> None:
    items = by_name(FFPP.items(tree(grow, "Deepfakes")))
    assert len(items) == 12
    for split, (a, b) in (("train", TRAIN), ("val", VAL), ("test", TEST)):
        for target, fake in ((a, f"{a}_{b}"), (b, f"{b}_{a}")):
            assert (items[target].label, items[fake].label) == (0, 1)
            assert items[target].split == items[fake].split == split
            assert items[target].identity == items[fake].identity == target
            assert items[fake].pair == items[target].video
            assert items[target].pair is None
            assert (items[target].method, items[fake].method) == ("real", "Deepfakes")
    assert items["071"].path.is_absolute()
    assert items["071"].video == "original_sequences/youtube/c23/videos/071"


def test_the_fakes_of_one_pair_by_four_methods_are_four_videos(grow: Grow) -> None:
    """DeepfakeBench averages the scores of the four as one video."""
    methods = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures")
    items = FFPP.items(tree(grow, *methods))
    same = [item for item in items if item.path.stem == "071_054"]
    assert {item.method for item in same} == set(methods)
    assert len({item.video for item in same}) == 4
    assert len({item.pair for item in same}) == 1


def test_masks_are_found_where_they_are(grow: Grow) -> None:
    root = tree(grow, "FaceSwap")
    grow("manipulated_sequences/FaceSwap/masks/videos/071_054.mp4")
    items = by_name(FFPP.items(root))
    assert items["071_054"].mask == root / "manipulated_sequences/FaceSwap/masks/videos/071_054.mp4"
    assert items["054_071"].mask is None


def test_one_compression_at_a_time(grow: Grow) -> None:
    root = tree(grow, "Deepfakes", compression="c40")
    assert {item.path.parts[-3] for item in FFPP.items(root, compression="c40")} == {"c40"}
    with pytest.raises(DataError, match="c23/videos is missing; compression: c40 is there"):
        FFPP.items(root)
    with pytest.raises(UsageError, match=r"option compression: .*'raw', 'c23' or 'c40'.*got 'c30'"):
        FFPP.items(root, compression="c30")
    with pytest.raises(UsageError, match="did you mean 'compression'"):
        FFPP.items(root, compresion="c40")


def test_methods_are_chosen_by_name_and_what_is_missing_is_named(grow: Grow) -> None:
    root = tree(grow, "Deepfakes", "FaceSwap")
    assert {i.method for i in FFPP.items(root, methods=["FaceSwap"])} == {"real", "FaceSwap"}
    with pytest.raises(UsageError, match="methods"):
        FFPP.items(root, methods=["Faceswap"])
    with pytest.raises(DataError, match="lacks manipulated_sequences/Face2Face/c23/videos and has"):
        FFPP.items(root, methods=["Deepfakes", "Face2Face"])
    scan = FFPP.scan(root)
    assert "without Face2Face, NeuralTextures, FaceShifter" in scan.notes[0]


def test_half_a_download_says_which_files_are_missing(grow: Grow) -> None:
    scan = FFPP.scan(tree(grow, "Deepfakes"))
    assert len(scan.missing) == 994 + 994
    assert "original_sequences/youtube/c23/videos/087.mp4" in scan.missing
    assert "manipulated_sequences/Deepfakes/c23/videos/087_081.mp4" in scan.missing


def test_a_swap_that_is_in_no_official_pair_is_left_out(grow: Grow) -> None:
    """Its two people could be in two splits."""
    root = tree(grow, "Deepfakes")
    grow(FAKE.format("Deepfakes", "c23", "071_003"))
    scan = FFPP.scan(root)
    assert "071_003" not in by_name(scan.items)
    assert any("071_003" in note for note in scan.notes)


def test_a_wrong_root_is_said_with_what_was_found_and_where_the_right_one_is(grow: Grow, tmp_path: Path) -> None:
    root = tree(grow, "Deepfakes")
    with pytest.raises(DataError, match=f"lacks original_sequences/youtube and has set; is {root} the root"):
        FFPP.items(tmp_path)
    with pytest.raises(DataError, match=f"is {root} the root"):
        FFPP.items(root / "manipulated_sequences")
    with pytest.raises(DataError, match="does not exist"):
        FFPP.items(tmp_path / "nowhere")


def test_fewer_fakes_are_the_same_ones_every_time(grow: Grow) -> None:
    root = tree(grow, "Deepfakes", "FaceSwap")
    kept = FFPP.items(root, fakes_per_real=1)
    assert Counter((i.split, i.label) for i in kept) == {(s, n): 2 for s in ("train", "val", "test") for n in (0, 1)}
    assert kept == FFPP.items(root, fakes_per_real=1)


def test_apple_doubles_and_texts_are_no_videos(grow: Grow) -> None:
    root = tree(grow, "Deepfakes")
    before = len(FFPP.items(root))
    grow("original_sequences/youtube/c23/videos/._071.mp4", texts={"original_sequences/youtube/c23/videos/n.txt": "x"})
    assert len(FFPP.items(root)) == before


def test_the_real_videos_of_the_mini_download_are_read(shared_data: Path, tmp_path: Path) -> None:
    """Real trees have holes: a fake keeps the name of a partner that is not there."""
    if not (shared_data / "ffpp-mini.tar").is_file():
        pytest.skip("no ffpp-mini.tar")
    with tarfile.open(shared_data / "ffpp-mini.tar") as archive:
        archive.extractall(tmp_path, filter="data")
    items = by_name(FFPP.items(tmp_path / "ffpp"))
    assert sorted(items) == ["004", "004_982", "519", "519_515", "634", "634_660", "750_743"]
    assert items["519_515"].pair == items["519"].video
    assert items["750_743"].pair == "original_sequences/youtube/c23/videos/750"
    assert {os.path.exists(item.path) for item in items.values()} == {True}


# --- DeeperForensics-1.0 ------------------------------------------------------------------------------


def deeper(grow: Grow, **extra: str) -> Path:
    lists = {"train": "071_M004.mp4\n", "val": "054_W101.mp4\n", "test": "087_M101.mp4\n"} | extra
    return grow(
        *(f"manipulated_videos/end_to_end/{line.strip()}" for line in lists.values()),
        "source_videos/M004/light_up/happy/camera_front/M004_light_up_happy_camera_front.mp4",
        texts={f"lists/splits/{split}.txt": text for split, text in lists.items()},
    )


def originals(grow: Grow, root: Path) -> None:
    grow(*(REAL.format("c23", name) for name in ("071", "054", "087", "081")), root=root)


def test_the_reals_of_deeper_forensics_are_the_targets_of_its_fakes(grow: Grow, tmp_path: Path) -> None:
    """Not ``source_videos``, as in DeepfakeBench, nor all of FaceForensics++."""
    root = deeper(grow)
    with pytest.raises(DataError, match=r"no reals: looked for .*not source_videos"):
        DEEPER.items(root)
    originals(grow, tmp_path / "FaceForensics++")
    items = by_name(DEEPER.items(root))
    assert {name for name, item in items.items() if not item.label} == {"071", "054", "087"}
    assert splits(items.values()) == {
        "071": "train", "071_M004": "train", "054": "val", "054_W101": "val", "087": "test", "087_M101": "test",
    }  # fmt: skip
    assert items["071_M004"].pair == items["071"].video
    assert items["071_M004"].identity == "071"
    elsewhere = tmp_path / "elsewhere"
    originals(grow, elsewhere)
    assert by_name(DEEPER.items(root, ffpp=str(elsewhere)))["071"].path.is_relative_to(elsewhere)


def test_deeper_forensics_can_be_split_as_face_forensics(grow: Grow, tmp_path: Path) -> None:
    originals(grow, tmp_path / "FaceForensics++")
    root = deeper(grow)
    assert splits(DEEPER.items(root, splits="ffpp"))["087_M101"] == official_splits()["087"] == "train"


def test_deeper_forensics_names_what_is_missing(grow: Grow, tmp_path: Path) -> None:
    root = deeper(grow)
    originals(grow, tmp_path / "FaceForensics++")
    (root / "manipulated_videos/end_to_end/054_W101.mp4").unlink()
    assert DEEPER.scan(root).missing == ["manipulated_videos/end_to_end/054_W101.mp4"]
    with pytest.raises(DataError, match="lacks manipulated_videos/reenact_postprocess"):
        DEEPER.items(root, variants=["reenact_postprocess"])
    (root / "lists/splits/val.txt").unlink()
    with pytest.raises(DataError, match=r"lacks lists/splits/val\.txt"):
        DEEPER.items(root)

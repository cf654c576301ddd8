"""Sets of pictures, CDDB and GenImage, and DeepfakeBench's crops with the mistakes of its JSON files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from dfbench.data.prepare.opening import data_set
from dfbench.data.prepare.sources.ffpp import official_pairs
from dfbench.errors import DataError, UsageError
from tests.data.prepare.sources.conftest import Grow, by_name, splits

CDDB, GENIMAGE, BENCH = data_set("cddb"), data_set("genimage"), data_set("deepfakebench")


# --- CDDB and GenImage -------------------------------------------------------------------------------


def cddb(grow: Grow) -> Path:
    """A source without, and one with the level of classes."""
    places = ["gaugan/{}/{}", "cyclegan/{}/horse/{}", "cyclegan/{}/zebra/{}"]
    return grow(*(f"{place.format(part, kind)}/{n}.png" for place in places for part in ("train", "val")
                  for kind in ("0_real", "1_fake") for n in range(4)))  # fmt: skip


def test_cddb_s_val_is_the_test_set_with_and_without_classes(grow: Grow) -> None:
    scan = CDDB.scan(cddb(grow))
    assert Counter((i.label, i.split) for i in scan.items) == {(n, s): 12 for n in (0, 1) for s in ("train", "test")}
    assert Counter(i.method for i in scan.items) == {"real": 24, "gaugan": 8, "cyclegan": 16}
    assert {(i.kind, i.cropped) for i in scan.items} == {("picture", True)}
    assert "without biggan, imle, deepfake, crn, … (10 in all)" in scan.notes[0]
    assert scan.items[0].video == "cyclegan/train/horse/0_real/0"


def test_cddb_can_validate_on_training_pictures(grow: Grow) -> None:
    root = cddb(grow)
    counts = Counter(item.split for item in CDDB.items(root, val=0.5))
    assert counts["test"] == 24
    assert 0 < counts["val"] < 24


def test_cddb_names_sources_and_folders_that_are_missing(grow: Grow) -> None:
    root = cddb(grow)
    assert {item.method for item in CDDB.items(root, methods=["gaugan"])} == {"real", "gaugan"}
    with pytest.raises(DataError, match="lacks wild and has cyclegan, gaugan"):
        CDDB.items(root, methods=["gaugan", "wild"])
    with pytest.raises(UsageError, match="methods"):
        CDDB.items(root, methods=["stargan"])
    grow("san/train/0_real/1.png", "san/val/0_real/1.png", "san/val/1_fake/1.png")
    with pytest.raises(DataError, match="san/train has no folders 0_real and 1_fake"):
        CDDB.items(root)


def test_two_pictures_of_one_name_are_two(grow: Grow) -> None:
    root = cddb(grow)
    grow("gaugan/train/0_real/0.jpg")
    names = [i.video for i in CDDB.items(root, methods=["gaugan"]) if i.video.startswith("gaugan/train/0_real/0")]
    assert names == ["gaugan/train/0_real/0.jpg", "gaugan/train/0_real/0.png"]


@pytest.mark.parametrize("place", ["{}/imagenet_ai_0419_{}/", "{}/"])
def test_genimage_has_a_method_for_each_generator(grow: Grow, place: str) -> None:
    root = grow(*(f"{place.format(g, g)}{part}/{kind}/{n}.png" for g in ("biggan", "adm") for part in ("train", "val")
                  for kind in ("ai", "nature") for n in range(2)))  # fmt: skip
    items = GENIMAGE.items(root)
    assert Counter((i.method, i.split) for i in items) == {
        ("real", "train"): 4, ("real", "test"): 4, ("biggan", "train"): 2, ("biggan", "test"): 2,
        ("adm", "train"): 2, ("adm", "test"): 2,
    }  # fmt: skip
    assert all(item.label == ("/ai/" in item.video) for item in items)
    assert {item.method for item in GENIMAGE.items(root, methods=["adm"])} == {"real", "adm"}
    assert len(GENIMAGE.items(root / "adm")) == 8
    with pytest.raises(UsageError, match=r"unknown generator in .*'bigan': did you mean 'biggan'"):
        GENIMAGE.items(root, methods=["bigan"])


def test_genimage_without_one_of_its_folders(grow: Grow) -> None:
    root = grow("adm/train/ai/1.png", "adm/train/nature/1.png", "adm/val/ai/1.png")
    with pytest.raises(DataError, match="lacks adm/val/nature"):
        GENIMAGE.items(root)


# --- DeepfakeBench -----------------------------------------------------------------------------------

A, B = official_pairs()["train"][0]
C, D = official_pairs()["test"][0]


def entries(label: str, folders: Iterable[str], path: str = "{}/000.png") -> dict[str, Any]:
    return {folder.rsplit("/", 1)[-1]: {"label": label, "frames": [path.format(folder)]} for folder in folders}


def crops(grow: Grow, *folders: str) -> Path:
    return grow(*(f"{folder}/{n:03}.png" for folder in folders for n in (0, 10)))


def test_windows_paths_of_another_home_are_found_below_the_root(grow: Grow) -> None:
    real = [f"FaceForensics++/original_sequences/youtube/c23/frames/{name}" for name in (A, B, C, D)]
    fake = [f"FaceForensics++/manipulated_sequences/Deepfakes/c23/frames/{name}" for name in (f"{A}_{B}", f"{C}_{D}")]
    root = crops(grow, *real, *fake)
    windows = "C:\\Users\\somebody\\datasets\\rgb\\{}\\000.png"
    listing = {"FF-DF": {
        "FF-real": {"train": {"c23": entries("FF-real", real[:2], "/home/somebody/rgb/{}/000.png"), "c40": {}},
                    "test": {"c23": entries("FF-real", real[2:], "/home/somebody/rgb/{}/000.png")}},
        "FF-DF": {"train": {"c23": {k: v | {"frames": [f.replace("/", "\\") for f in v["frames"]]} for k, v in
                                    entries("FF-DF", fake[:1], windows).items()}},
                  "test": {"c23": entries("FF-DF", fake[1:], "./datasets/rgb/{}/000.png")}},
    }}  # fmt: skip
    grow(texts={"preprocessing/dataset_json/FF-DF.json": listing})
    scan = BENCH.scan(root)
    items = by_name(scan.items)
    assert splits(scan.items) == {A: "train", B: "train", C: "test", D: "test", f"{A}_{B}": "train", f"{C}_{D}": "test"}
    assert {name: item.label for name, item in items.items()} == {A: 0, B: 0, C: 0, D: 0, f"{A}_{B}": 1, f"{C}_{D}": 1}
    assert (items[f"{A}_{B}"].pair, items[f"{A}_{B}"].identity) == (real[0], A)
    assert items[f"{A}_{B}"].method == "Deepfakes"
    assert {(item.kind, item.cropped) for item in scan.items} == {("frames", True)}


def test_celeb_df_s_test_videos_leave_training_and_its_lost_reals_return(grow: Grow) -> None:
    fakes = [f"Celeb-DF-v2/Celeb-synthesis/frames/{name}" for name in ("id1_id2_0000", "id3_id4_0000")]
    celeb = [f"Celeb-DF-v2/Celeb-real/frames/{name}" for name in ("id1_0000", "id3_0000")]
    youtube = [f"Celeb-DF-v2/YouTube-real/frames/{name}" for name in ("00000", "00001")]
    root = crops(grow, *fakes, *celeb, *youtube)
    listing = {"Celeb-DF-v2": {
        "CelebDFv2_fake": {"train": entries("CelebDFv2_fake", fakes), "val": entries("CelebDFv2_fake", fakes[:1]),
                           "test": entries("CelebDFv2_fake", fakes[:1])},
        "CelebDFv2_real": {"train": entries("CelebDFv2_real", celeb), "val": entries("CelebDFv2_real", celeb[:1]),
                           "test": entries("CelebDFv2_real", celeb[:1])},
    }}  # fmt: skip
    grow(texts={"dataset_json/Celeb-DF-v2.json": listing})
    with pytest.raises(DataError, match=r"2 reals of .*Celeb-DF-v2 are not in the JSON, and without"):
        BENCH.items(root)
    grow(texts={"Celeb-DF-v2/List_of_testing_videos.txt": "1 YouTube-real/00001.mp4\n"})
    scan = BENCH.scan(root)
    assert splits(scan.items) == {
        "id1_0000": "test", "id1_id2_0000": "test", "00001": "test",
        "id3_0000": "train", "id3_id4_0000": "train", "00000": "train",
    }  # fmt: skip
    assert {item.label for item in scan.items if "real" in item.video} == {0}
    assert by_name(scan.items)["id1_id2_0000"].pair == celeb[0]
    assert "2 videos are in several splits of the JSON: kept in the first of test, train, val" in scan.notes
    assert "2 reals of Celeb-DF added that the JSON lacks" in scan.notes


@pytest.mark.parametrize(
    ("name", "real", "fake"),
    [
        ("DeepFakeDetection", "FaceForensics++/original_sequences/actors/c23/frames/01__hugging",
         "FaceForensics++/manipulated_sequences/DeepFakeDetection/c23/frames/01_02__hugging__ABCD1234"),
        ("UADFV", "UADFV/real/frames/0001", "UADFV/fake/frames/0001_fake"),
    ],
)  # fmt: skip
def test_sets_that_train_and_test_on_the_same_videos_only_test(grow: Grow, name: str, real: str, fake: str) -> None:
    root = crops(grow, real, fake)
    parts = ("train", "val", "test")
    listing = {name: {f"{name}_real": {part: entries("real", [real]) for part in parts},
                      f"{name}_fake": {part: entries("fake", [fake]) for part in parts}}}  # fmt: skip
    grow(texts={f"dataset_json/{name}.json": listing})
    items = BENCH.items(root)
    assert [(item.split, item.label) for item in items if item.label] == [("test", 1)]
    assert {item.split for item in items} == {"test"}
    if name == "DeepFakeDetection":
        assert by_name(items)[fake.rsplit("/", 1)[1]].pair == real


def test_deeper_forensics_reals_are_the_targets_and_not_the_actors(grow: Grow) -> None:
    fake = f"DeeperForensics-1.0/manipulated_videos/end_to_end/frames/{C}_M004"
    actor = "DeeperForensics-1.0/source_videos/M004/frames/M004_light_up"
    target = f"FaceForensics++/original_sequences/youtube/c23/frames/{C}"
    root = crops(grow, fake, actor, target)
    parts = ("train", "val", "test")
    listing = {"DeeperForensics-1.0": {"DF_real": {part: entries("DF_real", [actor]) for part in parts},
                                       "DF_fake": {"test": entries("DF_fake", [fake])}}}  # fmt: skip
    grow(texts={"dataset_json/DeeperForensics-1.0.json": listing})
    scan = BENCH.scan(root)
    assert {item.video: (item.label, item.split) for item in scan.items} == {fake: (1, "test"), target: (0, "test")}
    assert any("source_videos of DeeperForensics-1.0 left out" in note for note in scan.notes)


def test_sets_whose_crops_are_not_there_are_named(grow: Grow) -> None:
    root = crops(grow, "UADFV/real/frames/0001", "UADFV/fake/frames/0001_fake")
    here = {"UADFV": {"UADFV_Real": {"test": entries("r", ["UADFV/real/frames/0001", "UADFV/real/frames/0002"])},
                      "UADFV_Fake": {"test": entries("f", ["UADFV/fake/frames/0001_fake"])}}}  # fmt: skip
    gone = {"DFDC": {"DFDC_Real": {"test": entries("r", ["DFDC/test/frames/abc"])}}}
    grow(texts={"dataset_json/UADFV.json": here, "dataset_json/DFDC.json": gone})
    scan = BENCH.scan(root)
    assert scan.missing == ["UADFV_Real/0002"]
    assert "without DFDC: none of its 1 videos is here" in scan.notes
    assert BENCH.scan(root, sets=["UADFV"]).notes == []
    with pytest.raises(DataError, match="missing: DFDC_Real/abc"):
        BENCH.items(root, sets=["DFDC"])
    with pytest.raises(UsageError, match="did you mean 'UADFV'"):
        BENCH.items(root, sets=["UADF"])


def test_a_json_with_an_unknown_label_or_both_labels(grow: Grow) -> None:
    root = crops(grow, "UADFV/real/frames/0001")
    grow(texts={"dataset_json/UADFV.json": {"UADFV": {"strange": {"test": entries("r", ["UADFV/real/frames/0001"])}}}})
    with pytest.raises(DataError, match=r"UADFV\.json: the label 'strange' is neither"):
        BENCH.items(root)
    both = {"UADFV": {kind: {"test": entries("r", ["UADFV/real/frames/0001"])} for kind in ("a_real", "a_fake")}}
    grow(texts={"dataset_json/UADFV.json": both})
    with pytest.raises(DataError, match="is real and fake"):
        BENCH.items(root)

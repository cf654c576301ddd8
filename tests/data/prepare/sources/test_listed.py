"""Data sets whose labels and splits come from lists and folders: DFDC, its preview, WildDeepfake, FFIW, DF40."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dfbench.data.prepare.opening import data_set
from dfbench.data.prepare.sources import DATA_SETS
from dfbench.data.prepare.sources.ffpp import official_pairs
from dfbench.errors import DataError, UsageError
from tests.data.prepare.sources.conftest import Grow, by_name, splits

DFDC, PREVIEW, WILD = data_set("dfdc"), data_set("dfdc-preview"), data_set("wild-deepfake")
FFIW, DF40 = data_set("ffiw"), data_set("df40")


# --- DFDC --------------------------------------------------------------------------------------------


def dfdc(grow: Grow, *parts: int, below: str = "", fakes: int = 2) -> Path:
    """Parts with a real and its fakes."""
    for part in parts:
        folder = f"{below}dfdc_train_part_{part}"
        made = {f"fake{part}{n}.mp4": {"label": "FAKE", "split": "train", "original": f"real{part}.mp4"}
                for n in range(fakes)}  # fmt: skip
        metadata = {f"real{part}.mp4": {"label": "REAL", "split": "train"}} | made
        root = grow(*(f"{folder}/{file}" for file in metadata), texts={f"{folder}/metadata.json": metadata})
    return root


@pytest.mark.parametrize("below", ["", "train/"])
def test_dfdc_keeps_whole_parts_together_and_knows_the_originals(grow: Grow, below: str) -> None:
    scan = DFDC.scan(dfdc(grow, 0, 39, 40, 44, 45, 49, below=below))
    items = by_name(scan.items)
    assert {name[4:]: item.split for name, item in items.items() if name.startswith("real")} == {
        "0": "train", "39": "train", "40": "val", "44": "val", "45": "test", "49": "test",
    }  # fmt: skip
    for name, item in items.items():
        assert item.label == name.startswith("fake")
        assert item.identity is None
        assert item.pair == (items[f"real{name[4:-1]}"].video if item.label else None)
        assert scan.labels[item.video] == item.label
    assert items["fake00"].pair == f"{below}dfdc_train_part_0/real0"
    assert scan.notes[0].startswith("6 of 50 parts are here: 0, 39, 40, 44, … (6 in all)")


def test_dfdc_s_released_test_set_can_test_instead(grow: Grow) -> None:
    root = dfdc(grow, 0, 45)
    with pytest.raises(DataError, match=r"lacks test/labels\.csv"):
        DFDC.items(root, test="released")
    grow("test/a.mp4", "test/b.mp4", texts={"test/labels.csv": "filename,label\na.mp4,0\nb.mp4,1\nc.mp4,1\n"})
    scan = DFDC.scan(root, test="released")
    assert splits(scan.items) == {
        "real0": "train", "fake00": "train", "fake01": "train", "real45": "train", "fake450": "train",
        "fake451": "train", "a": "test", "b": "test",
    }  # fmt: skip
    assert (by_name(scan.items)["a"].label, by_name(scan.items)["b"].label) == (0, 1)
    assert scan.missing == ["test/c.mp4"]
    assert not any(item.video.startswith("test/") for item in DFDC.items(root))
    grow(texts={"test/labels.csv": "filename,label\na.mp4,REAL\n"})
    with pytest.raises(DataError, match=r"labels\.csv, line 2"):
        DFDC.items(root, test="released")


def test_dfdc_names_missing_metadata_and_videos(grow: Grow) -> None:
    root = dfdc(grow, 0, 1)
    (root / "dfdc_train_part_0/real0.mp4").unlink()
    grow("dfdc_train_part_0/extra.mp4")
    scan = DFDC.scan(root)
    assert scan.missing == ["dfdc_train_part_0/real0.mp4"]
    assert any("1 videos left out that metadata.json lacks: extra.mp4" in note for note in scan.notes)
    (root / "dfdc_train_part_1/metadata.json").unlink()
    with pytest.raises(DataError, match=r"missing: .*dfdc_train_part_1/metadata\.json"):
        DFDC.items(root)
    grow(texts={"dfdc_train_part_1/metadata.json": {"real1.mp4": {"label": "real"}}})
    with pytest.raises(DataError, match=r"real1\.mp4: the label is neither REAL nor FAKE"):
        DFDC.items(root)


def test_dfdc_balances_reals_and_fakes_within_each_split(grow: Grow) -> None:
    root = dfdc(grow, 0, 1, 45, fakes=5)
    counts = Counter((item.split, item.label) for item in DFDC.items(root, fakes_per_real=1))
    assert counts == {("train", 0): 2, ("train", 1): 2, ("test", 0): 1, ("test", 1): 1}
    with pytest.raises(UsageError, match="fakes_per_real"):
        DFDC.items(root, fakes_per_real=0)


# --- DFDC preview ------------------------------------------------------------------------------------


def entry(label: str, part: str, target: int, swapped: int | None = None) -> dict[str, Any]:
    return {"label": label, "set": part, "target_id": target, "swapped_id": swapped, "augmentations": []}


def preview(grow: Grow, **more: dict[str, Any]) -> Path:
    listing = {f"original_videos/{n}/{n}_A_001.mp4": entry("real", "train", n) for n in range(20)}
    listing |= {f"method_A/{n}/{n}_A/{n + 1}_{n}_A_001.mp4": entry("fake", "train", n, n + 1) for n in range(19)}
    listing |= {
        "original_videos/90/90_A_001.mp4": entry("real", "test", 90),
        "method_B/90/90_C/91_90_C_001.mp4": entry("fake", "test", 90, 91),
    }
    return grow(*listing, texts={"dataset.json": listing | more})


def test_dfdc_preview_follows_its_list(grow: Grow) -> None:
    scan = PREVIEW.scan(preview(grow))
    items = by_name(scan.items)
    assert {name for name, split in splits(scan.items).items() if split == "test"} == {"90_A_001", "91_90_C_001"}
    assert {item.split for item in scan.items} == {"train", "test"}
    assert (items["0_A_001"].label, items["0_A_001"].method, items["0_A_001"].identity) == (0, "real", "0")
    assert (items["1_0_A_001"].label, items["1_0_A_001"].method, items["1_0_A_001"].identity) == (1, "method_A", "0")
    assert scan.labels == {item.video: item.label for item in scan.items}


def test_dfdc_preview_validates_on_training_actors_never_on_the_test_set(grow: Grow) -> None:
    """DeepfakeBench validates on the test set."""
    root = preview(grow)
    before, after = splits(PREVIEW.items(root)), PREVIEW.items(root, val=0.4)
    assert {name for name, split in before.items() if split == "test"} == {
        name for name, split in splits(after).items() if split == "test"
    }
    seen: dict[str, set[str]] = {}
    for item in after:
        for person in item.path.stem.split("_A_")[0].split("_"):
            seen.setdefault(person, set()).add(item.split)
    assert {"train", "val"} not in seen.values()
    assert {item.split for item in after} == {"train", "val", "test"}


def test_dfdc_preview_with_a_bad_list(grow: Grow) -> None:
    root = preview(grow, **{"method_A/x.mp4": entry("fake", "train", 1, 2)})
    assert PREVIEW.scan(root).missing == ["method_A/x.mp4"]
    fake = entry("fake", "train", 1)
    bad_label, bad_set = entry("FAKE", "train", 1), entry("fake", "dev", 1)
    a, outside, c = "method_A/y.mp4", "../y.mp4", "method_C/y.mp4"
    for path, bad in ((a, bad_label), (a, bad_set), (outside, fake), (c, fake)):
        with pytest.raises(DataError, match=r"dataset\.json: .*y\.mp4"):
            PREVIEW.items(preview(grow, **{path: bad}))
    grow(texts={"dataset.json": "[]"})
    with pytest.raises(DataError, match=r"dataset\.json is not a JSON object"):
        PREVIEW.items(root)


# --- WildDeepfake ------------------------------------------------------------------------------------


def wild(grow: Grow) -> Path:
    sequences = [f"{kind}_{part}/{shard}/{kind}/{sequence}" for kind in ("real", "fake") for part in ("train", "test")
                 for shard in range(6) for sequence in (3, 14)]  # fmt: skip
    return grow(*(f"{sequence}/{frame}.png" for sequence in sequences for frame in (0, 10)))


def test_wild_deepfake_has_sequences_of_crops(grow: Grow) -> None:
    items = WILD.items(wild(grow))
    assert Counter((i.label, i.split) for i in items) == {(n, s): 12 for n in (0, 1) for s in ("train", "test")}
    assert {(i.kind, i.cropped, i.identity, i.pair) for i in items} == {("frames", True, None, None)}
    assert items[0].video == "fake_test/0/fake/14"
    assert items[0].path.is_dir()


def test_wild_deepfake_validates_on_whole_archives(grow: Grow) -> None:
    items = WILD.items(wild(grow), val=0.5)
    shards: dict[str, set[str]] = {}
    for item in items:
        shards.setdefault("/".join(item.video.split("/")[:2]), set()).add(item.split)
    assert all(len(found) == 1 for found in shards.values())
    assert len(items) == 48
    assert {item.split for item in items} == {"train", "val", "test"}


def test_wild_deepfake_says_how_to_unpack_its_archives(grow: Grow) -> None:
    root = wild(grow)
    grow(texts={"real_train/6.tar.gz": "x", "real_train/5.tar.gz": "x"})
    with pytest.raises(DataError, match=r"1 archives are not unpacked: .*/real_train/6\.tar\.gz; unpack each"):
        WILD.items(root)


# --- FFIW --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("below", ["", "FFIW10K-v1-release/"])
def test_ffiw_is_split_by_its_folders(grow: Grow, below: str) -> None:
    root = grow(*(f"{below}{side}/{split}/{split}_{n}.mp4" for side in ("source", "target") for split in
                  ("train", "val") for n in range(2)), "FFIW10K-v1-release-test/source/a.mp4",
                "FFIW10K-v1-release-test/target/a.mp4", f"{below}target/train/train_0_mask.mp4")  # fmt: skip
    scan = FFIW.scan(root)
    assert Counter((i.label, i.split) for i in scan.items) == {
        (0, "train"): 2, (1, "train"): 2, (0, "val"): 2, (1, "val"): 2, (0, "test"): 1, (1, "test"): 1,
    }  # fmt: skip
    assert all(item.label == item.video.startswith("target/") for item in scan.items)
    assert "1 mask videos left out: target/train/train_0_mask" in scan.notes


def test_ffiw_s_test_release_may_lie_next_to_the_other(grow: Grow, tmp_path: Path) -> None:
    root = grow("source/train/a.mp4", "target/train/a.mp4", root=tmp_path / "FFIW10K-v1-release")
    assert any("without test" in note for note in FFIW.scan(root).notes)
    grow("source/a.mp4", "target/a.mp4", root=tmp_path / "FFIW10K-v1-release-test")
    assert {item.split for item in FFIW.items(root)} == {"train", "test"}
    grow("source/val/a.mp4", root=root)
    with pytest.raises(DataError, match="one class of val only: target/val is missing"):
        FFIW.items(root)
    with pytest.raises(
        DataError, match=r"lacks source or FFIW10K-v1-release/source or FFIW10K-v1-release-test/source and has x"
    ):
        FFIW.items(grow("x/a.mp4", root=tmp_path / "other"))


# --- DF40 --------------------------------------------------------------------------------------------

(A, B), (C, D), (E, F) = (official_pairs()[split][0] for split in ("train", "val", "test"))
REALS = "FaceForensics++/original_sequences/youtube/c23/frames"


def df40(grow: Grow) -> Path:
    crops = [f"{REALS}/{name}" for name in (A, B, C, D, E, F)]
    crops += [f"DF40_train/simswap/ff/frames/{A}_{B}", f"DF40_train/simswap/ff/frames/{C}_{D}"]
    crops += [f"DF40_train/simswap/ff/frames/{E}_{F}", f"DF40/simswap/ff/frames/{F}_{E}"]
    crops += ["DF40/simswap/cdf/frames/id1_id2_0000", "DF40/simswap/ff/landmarks/000", "DF40/vqgan/ff/fake_7"]
    crops += [f"Celeb-DF-v2/Celeb-real/frames/id{n}_0000" for n in (1, 2)]
    crops += ["Celeb-DF-v2/YouTube-real/frames/00001", "DF40/heygen/fake/clip1", "DF40/heygen/real/clip2"]
    listing = "1 Celeb-real/id1_0000.mp4\n1 YouTube-real/00001.mp4\n1 YouTube-real/00002.mp4\n0 Celeb-synthesis/x.mp4\n"
    loose = ["DF40/stargan/fake/000001.png", "DF40/stargan/real/000001.png"]
    return grow(*(f"{crop}/{n}.png" for crop in crops for n in (0, 7)), *loose,
                texts={"Celeb-DF-v2/List_of_testing_videos.txt": listing})  # fmt: skip


def test_df40_takes_its_reals_from_face_forensics_and_its_splits_agree_with_it(grow: Grow) -> None:
    scan = DF40.scan(df40(grow))
    assert splits(scan.items) == {
        A: "train", B: "train", C: "val", D: "val", E: "test", F: "test",
        f"{A}_{B}": "train", f"{C}_{D}": "val", f"{F}_{E}": "test", "fake_7": "test",
    }  # fmt: skip
    items = by_name(scan.items)
    assert {item.label for name, item in items.items() if name in (A, B, C, D, E, F)} == {0}
    assert (items[f"{A}_{B}"].method, items[f"{A}_{B}"].label, items[f"{A}_{B}"].pair) == ("simswap", 1, f"{REALS}/{A}")
    assert {(item.kind, item.cropped) for item in scan.items} == {("frames", True)}
    assert "1 fakes left out whose folder and official split differ" in scan.notes
    assert len(scan.missing) == 994


def test_df40_s_other_domains_test_only(grow: Grow) -> None:
    root = df40(grow)
    celeb = DF40.scan(root, domain="cdf")
    assert {name: item.label for name, item in by_name(celeb.items).items()} == {
        "id1_id2_0000": 1, "id1_0000": 0, "00001": 0,
    }  # fmt: skip
    assert celeb.missing == ["Celeb-DF-v2/YouTube-real/00002"]
    own = DF40.items(root, domain="own")
    assert Counter((i.label, i.kind) for i in own) == {(n, k): 1 for n in (0, 1) for k in ("frames", "picture")}
    assert {item.split for item in [*celeb.items, *own]} == {"test"}
    assert {item.method for item in DF40.items(root, domain="own", methods=["heygen"])} == {"heygen", "real"}


def test_df40_names_unknown_methods_and_missing_reals(grow: Grow) -> None:
    root = df40(grow)
    with pytest.raises(UsageError, match=r"method of domain ff in .*simswop.*did you mean 'simswap'"):
        DF40.items(root, methods=["simswop"])
    (root / "Celeb-DF-v2/List_of_testing_videos.txt").unlink()
    with pytest.raises(DataError, match="lacks Celeb-DF-v2/List_of_testing_videos"):
        DF40.items(root, domain="cdf")
    fakes = grow("DF40/simswap/ff/frames/x/0.png", "DF40_train/simswap/ff/frames/y/0.png", root=root.parent / "fakes")
    with pytest.raises(DataError, match="lacks FaceForensics"):
        DF40.items(fakes)


# --- All ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DATA_SETS)
def test_every_data_set_has_its_page_and_refuses_an_empty_folder(name: str, tmp_path: Path) -> None:
    found = data_set(name)
    assert found.name == name
    assert all(value for field, value in vars(found.about).items() if field != "names")
    assert max(map(len, found.about.tree.splitlines())) <= 78
    with pytest.raises(DataError, match=f"'dfbench data show {name}' prints the expected tree"):
        found.items(tmp_path)


def test_an_unknown_data_set() -> None:
    with pytest.raises(UsageError, match="unknown data set 'fpp': did you mean 'ffpp'"):
        data_set("fpp")

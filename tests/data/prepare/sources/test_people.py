"""Data sets whose file names say who is seen: DFD, Celeb-DF, FakeAVCeleb, KoDF. No person is in two splits."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

import pytest

from dfbench.data.prepare.item import Item
from dfbench.data.prepare.opening import data_set
from dfbench.data.prepare.sources.dfd import ACTORS, actor_splits
from dfbench.data.prepare.sources.split import by_hash
from dfbench.errors import DataError, UsageError
from tests.data.prepare.sources.conftest import Grow, by_name, splits

DFD, V1, V2 = data_set("dfd"), data_set("celeb-df-v1"), data_set("celeb-df-v2")
FAKEAV, KODF = data_set("fakeavceleb"), data_set("kodf")


def crossing(items: Iterable[Item], people: dict[str, tuple[str, ...]]) -> list[str]:
    """People who are seen in two splits; ``people`` by file name."""
    seen: dict[str, set[str]] = {}
    for item in items:
        for person in people[item.path.stem]:
            seen.setdefault(person, set()).add(item.split)
    return [person for person, where in seen.items() if len(where) > 1]


# --- DFD ---------------------------------------------------------------------------------------------


def dfd(grow: Grow) -> tuple[Path, dict[str, tuple[str, ...]]]:
    """A video of every actor, and a swap of each actor with some others."""
    fakes = {f"{t}_{s}__hugging__ABCD1234": (t, s) for t, s in itertools.permutations(ACTORS[::3], 2)}
    people = {f"{actor}__hugging": (actor,) for actor in ACTORS} | fakes
    root = grow(
        *(f"original_sequences/actors/c23/videos/{actor}__hugging.mp4" for actor in ACTORS),
        *(f"manipulated_sequences/DeepFakeDetection/c23/videos/{name}.mp4" for name in fakes),
    )
    return root, people


def test_dfd_keeps_both_actors_of_a_swap_in_one_split(grow: Grow) -> None:
    root, people = dfd(grow)
    scan = DFD.scan(root)
    assert crossing(scan.items, people) == []
    sizes = [list(actor_splits().values()).count(split) for split in ("train", "val", "test")]
    assert sizes == [16, 6, 6]
    fakes = [item for item in scan.items if item.label]
    agreeing = [pair for pair in people.values() if len({actor_splits()[actor] for actor in pair}) == 1]
    assert len(fakes) + len(ACTORS) == len(agreeing)
    assert f"{90 - len(fakes)} fakes left out" in scan.notes[0]
    for item in fakes:
        assert (item.label, item.method) == (1, "DeepFakeDetection")
        assert item.pair == f"original_sequences/actors/c23/videos/{item.identity}__hugging"
        assert item.identity == item.path.stem[:2]


def test_dfd_is_one_split_where_it_only_tests(grow: Grow) -> None:
    root, people = dfd(grow)
    items = DFD.items(root, splits="test")
    assert len(items) == len(people)
    assert {item.split for item in items} == {"test"}


def test_dfd_finds_the_masks_that_say_which_face_is_forged(grow: Grow) -> None:
    root, _ = dfd(grow)
    folder = "manipulated_sequences/DeepFakeDetection/masks/videos"
    name = next(item.path.name for item in DFD.items(root) if item.label)
    grow(f"{folder}/{name}")
    assert {item.path.name for item in DFD.items(root) if item.mask} == {name}


def test_dfd_without_fakes_or_with_odd_names(grow: Grow) -> None:
    root = grow("original_sequences/actors/c23/videos/01__x.mp4")
    with pytest.raises(DataError, match="lacks manipulated_sequences/DeepFakeDetection/c23/videos and has original"):
        DFD.items(root)
    folder = "manipulated_sequences/DeepFakeDetection/c23/videos"
    grow(f"{folder}/01_99__x__ABCD1234.mp4", f"{folder}/01_02.mp4", f"{folder}/01_01__x__ABCD1234.mp4")
    scan = DFD.scan(root)
    assert "2 files left out whose names have no actors: 01_02.mp4, 01_99__x__ABCD1234.mp4" in scan.notes


# --- Celeb-DF ----------------------------------------------------------------------------------------

LISTED = ["1 Celeb-real/id1_0000.mp4", "1 YouTube-real/00001.mp4", "0 Celeb-synthesis/id1_id2_0000.mp4"]


def celeb(grow: Grow, lines: Iterable[str] = LISTED, inner: str = "") -> Path:
    names = ["Celeb-real/id0_0000", "Celeb-real/id1_0000", "Celeb-real/id2_0000", "Celeb-synthesis/id0_id3_0000",
             "Celeb-synthesis/id1_id2_0000", "YouTube-real/00000", "YouTube-real/00001"]  # fmt: skip
    paths = [f"{name.split('/')[0]}/{inner}{name.split('/')[1]}.mp4" for name in names]
    return grow(*paths, texts={"List_of_testing_videos.txt": "\n".join(lines) + "\n"})


@pytest.mark.parametrize("inner", ["", "videos/"])
@pytest.mark.parametrize("version", [V1, V2], ids=lambda v: v.name)
def test_celeb_df_s_list_is_inverted_and_its_videos_only_test(grow: Grow, version: object, inner: str) -> None:
    """DeepfakeBench leaves the listed videos in training, and loses one of the two folders of reals."""
    scan = version.scan(celeb(grow, inner=inner))  # type: ignore[attr-defined]
    items = by_name(scan.items)
    assert {name: item.label for name, item in items.items()} == {
        "id0_0000": 0, "id1_0000": 0, "id2_0000": 0, "00000": 0, "00001": 0, "id0_id3_0000": 1, "id1_id2_0000": 1,
    }  # fmt: skip
    assert {name for name, split in splits(scan.items).items() if split == "test"} == {
        "id1_0000", "00001", "id1_id2_0000",
    }  # fmt: skip
    assert {name for name, item in items.items() if scan.labels.get(item.video) == 1} == {"id1_id2_0000"}
    assert all(label == next(i.label for i in scan.items if i.video == v) for v, label in scan.labels.items())
    assert items["id1_id2_0000"].pair == items["id1_0000"].video
    assert items["id1_id2_0000"].identity == items["id1_0000"].identity == "id1"
    assert items["00000"].identity is None
    assert f"names 3 videos, the published one {100 if version is V1 else 518}" in scan.notes[0]


def test_celeb_df_by_person_has_nobody_in_two_splits(grow: Grow) -> None:
    ids = [f"id{n}" for n in range(20)]
    fakes = {f"{a}_{b}_0000": (a, b) for a, b in itertools.permutations(ids, 2)}
    people = {f"{name}_0000": (name,) for name in ids} | {"00000": ("00000",)} | fakes
    root = grow(
        *(f"Celeb-real/{name}_0000.mp4" for name in ids),
        *(f"Celeb-synthesis/{name}.mp4" for name in fakes),
        "YouTube-real/00000.mp4",
        texts={"List_of_testing_videos.txt": LISTED[0]},
    )
    scan = V2.scan(root, splits="identity")
    assert crossing(scan.items, people) == []
    assert {item.split for item in scan.items} == {"train", "val", "test"}
    assert splits(scan.items)["id3_0000"] == by_hash("celeb-df/id3")
    within_training = V2.scan(root, val=0.3)
    without_tests = [item for item in within_training.items if item.split != "test"]
    assert crossing(without_tests, people) == []
    assert {item.split for item in within_training.items} == {"train", "val", "test"}


def test_celeb_df_names_listed_videos_that_are_missing(grow: Grow) -> None:
    root = celeb(grow)
    (root / "Celeb-synthesis/id1_id2_0000.mp4").unlink()
    assert V2.scan(root).missing == ["Celeb-synthesis/id1_id2_0000.mp4"]


@pytest.mark.parametrize("line", ["2 Celeb-real/id1_0000.mp4", "Celeb-real/id1_0000.mp4", "1 Other/id1_0000.mp4"])
def test_celeb_df_s_list_with_an_odd_line(grow: Grow, line: str) -> None:
    with pytest.raises(DataError, match=r"List_of_testing_videos\.txt, line 2: .* is not LABEL FOLDER/FILE"):
        V2.items(celeb(grow, [LISTED[0], line]))


def test_celeb_df_without_its_list_or_a_folder(grow: Grow) -> None:
    root = celeb(grow)
    (root / "List_of_testing_videos.txt").unlink()
    with pytest.raises(DataError, match=r"lacks List_of_testing_videos\.txt and has Celeb-real, .*YouTube-real"):
        V2.items(root)
    with pytest.raises(UsageError, match="option val"):
        V2.items(root, val=1.5)


# --- FakeAVCeleb -------------------------------------------------------------------------------------

HEADER = "source,target1,target2,method,category,type,race,gender,path,\n"
PLACE = "African/men/{}"


def fakeavceleb(grow: Grow, *people: tuple[str, str]) -> Path:
    """Each source with a real, a swap by a target, and the real with other speech."""
    rows, files = [], []
    for source, target in people:
        for kind, method, donor, file in (
            ("RealVideo-RealAudio", "real", "-", "00001.mp4"),
            ("FakeVideo-RealAudio", "faceswap", target, f"00001_{target}.mp4"),
            ("FakeVideo-FakeAudio", "wav2lip", "-", "00001_wavtolip.mp4"),
            ("RealVideo-FakeAudio", "rtvc", "-", "00001_fake.mp4"),
        ):
            folder = f"{kind}/{PLACE.format(source)}"
            rows.append(f"{source},{donor},-,{method},A,{kind},African,men,{file},FakeAVCeleb/{folder}")
            files.append(f"{folder}/{file}")
    return grow(*files, texts={"meta_data.csv": HEADER + "\n".join(rows) + "\n"})


def test_fakeavceleb_is_split_by_its_people_and_fake_speech_is_no_fake_picture(grow: Grow) -> None:
    ids = [f"id{n:05d}" for n in range(30)]
    root = fakeavceleb(grow, *zip(ids, ids[1:] + ids[:1], strict=True))
    scan = FAKEAV.scan(root)
    for item in scan.items:
        assert item.split == by_hash(f"fakeavceleb/{item.identity}")
        assert item.label == item.path.relative_to(root).parts[0].startswith("FakeVideo")
    swaps = [item for item in scan.items if item.method == "faceswap"]
    assert all(by_hash(f"fakeavceleb/{item.path.stem[6:]}") == item.split for item in swaps)
    assert 0 < len(swaps) < 30
    assert f"{30 - len(swaps)} fakes left out" in scan.notes[0]
    assert {item.method for item in scan.items} == {"real", "faceswap", "wav2lip"}
    audio = FAKEAV.items(root, audio_fakes=True, splits="test")
    assert {item.label for item in audio if item.video.startswith("RealVideo-FakeAudio")} == {0}
    assert len(audio) == 120
    assert scan.labels == {item.video: item.label for item in scan.items}


def test_fakeavceleb_says_what_is_missing_or_not_listed(grow: Grow) -> None:
    root = fakeavceleb(grow, ("id00001", "id00002"))
    (root / "RealVideo-RealAudio" / PLACE.format("id00001") / "00001.mp4").unlink()
    grow(f"FakeVideo-FakeAudio/{PLACE.format('id00001')}/other.mp4")
    scan = FAKEAV.scan(root, splits="test")
    assert scan.missing == ["RealVideo-RealAudio/African/men/id00001/00001.mp4"]
    assert "1 files left out that meta_data.csv lacks" in scan.notes[0]
    grow(texts={"meta_data.csv": HEADER + "id00001,-,-,real\n"})
    with pytest.raises(DataError, match=r"meta_data\.csv, line 2: 4 cells, not 10"):
        FAKEAV.items(root)
    (root / "meta_data.csv").unlink()
    with pytest.raises(DataError, match=r"lacks meta_data\.csv"):
        FAKEAV.items(root)


# --- KoDF --------------------------------------------------------------------------------------------


def test_kodf_reads_people_and_methods_from_the_names(grow: Grow) -> None:
    ids = [f"1000{n:02d}" for n in range(16)]
    fakes = {f"{a}_{b}_{1 + n % 5}_0001": (a, b) for n, (a, b) in enumerate(itertools.permutations(ids, 2))}
    root = grow(
        *(f"original_videos/{name}/{name}_001.mp4" for name in ids),
        *(f"synthesized_videos/20200911/{name.split('_')[0]}/{name}.mp4" for name in fakes),
        "original_videos/readme.mp4",
    )
    scan = KODF.scan(root)
    people = {f"{name}_001": (name,) for name in ids} | fakes
    assert crossing(scan.items, people) == []
    assert {item.method for item in scan.items} == {"real", "dfl", "dffs", "fsgan", "fo", "audio-driven"}
    assert any("readme.mp4" in note for note in scan.notes)
    assert len(KODF.items(root, splits="test")) == len(people)
    with pytest.raises(DataError, match="lacks synthesized_videos and has"):
        KODF.items(grow("original_videos/a_1.mp4", root=root.parent / "half"))

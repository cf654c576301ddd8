"""The audit finds a planted fault of each kind, and nothing in a clean set."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dfbench.data.audit import Audit, audit
from dfbench.data.audit.media import Facts, Files, Unreadable
from dfbench.data.audit.result import KINDS
from dfbench.data.prepare.item import Item
from tests.data.audit.conftest import PEOPLE, film, split_of, write_video


def with_one(items: Sequence[Item], video: str, **changes: object) -> list[Item]:
    """The items with one of them changed."""
    return [replace(item, **changes) if item.video == video else item for item in items]  # type: ignore[arg-type]


def failures(result: Audit) -> list[str]:
    return [check.name for check in result.failed]


@pytest.fixture(scope="module")
def clean_audit(clean: list[Item]) -> Audit:
    return audit(clean)


def test_a_clean_set_passes_every_check(clean_audit: Audit) -> None:
    assert failures(clean_audit) == []
    assert [check.name for check in clean_audit if check.status == "not checked"] == ["faces"]
    assert sorted(check.name for check in clean_audit) == sorted(KINDS)
    assert clean_audit["class balance"].detail == "real/fake: train 12/12, val 6/6, test 6/6"
    assert clean_audit.document()["clean"] is True


# --- Leaks -------------------------------------------------------------------------------------------


def test_a_person_in_two_splits(clean: list[Item]) -> None:
    result = audit(with_one(clean, "real/00", identity="p23"), frames=False)
    assert failures(result) == ["identities across splits"]
    assert result["identities across splits"].examples == ("p23 (test and train)",)


def test_a_video_in_two_splits(clean: list[Item]) -> None:
    """DeepfakeBench has the videos of three data sets in training, validation and test."""
    again = [replace(item, split="test") for item in clean if item.video == "real/00"]
    assert "videos across splits" in failures(audit([*clean, *again], frames=False))


def test_a_copy_of_a_file_in_another_split(clean: list[Item], tmp_path: Path) -> None:
    copy = shutil.copy(clean[0].path, tmp_path / "other.mp4")
    extra = Item(Path(copy), "real/other", 0, "test", "real", "somebody", None, None)
    check = audit([*clean, extra], frames=False)["videos across splits"]
    assert (check.status, check.count) == ("failed", 1)
    assert check.examples == ("real/00 (train) = real/other (test)",)
    within = replace(extra, split="train")
    assert audit([*clean, within], frames=False)["videos across splits"].status == "passed"


def test_a_link_to_a_video_of_another_split(clean: list[Item], tmp_path: Path) -> None:
    (tmp_path / "link.mp4").symlink_to(clean[0].path)
    extra = Item(tmp_path / "link.mp4", "real/link", 0, "val", "real", None, None, None)
    assert audit([*clean, extra], frames=False)["videos across splits"].status == "failed"


def test_a_fake_in_another_split_than_its_real(clean: list[Item]) -> None:
    moved = with_one(clean, "fake/00", split="test", identity=None)
    result = audit(moved, frames=False)
    assert result["pairs across splits"].examples == ("fake/00 (test) of real/00 (train)",)
    assert result["identities across splits"].status == "passed"


@pytest.mark.parametrize(
    ("codec", "size", "options", "suffix"),
    [("libx264", 96, {"crf": "30"}, "mp4"), ("libx264", 64, {}, "mp4"), ("mpeg4", 96, {}, "avi")],
)
def test_a_video_encoded_once_more_for_another_split(
    clean: list[Item], tmp_path: Path, codec: str, size: int, options: dict[str, str], suffix: str
) -> None:
    path = write_video(tmp_path / f"copy.{suffix}", film(0, False), codec=codec, size=size, **options)
    extra = Item(path, "real/copy", 0, "test", "real", "somebody", None, None)
    check = audit([*clean, extra])["near-duplicates across splits"]
    assert (check.status, check.count) == ("failed", 1)
    assert check.examples == ("real/00 (train) and real/copy (test)",)
    assert audit([*clean, replace(extra, split="train")])["near-duplicates across splits"].status == "passed"


def test_plain_frames_are_nobodys_duplicates(clean: list[Item], tmp_path: Path) -> None:
    black = [np.zeros((96, 96, 3), np.uint8)] * 6
    extra = [
        Item(write_video(tmp_path / f"{split}.mp4", black, rate=rate), split, 0, split, "real", None, None, None)
        for split, rate in (("train", 25), ("test", 30))
    ]
    assert audit([*clean, *extra])["near-duplicates across splits"].status == "passed"


def test_pictures_and_sequences_are_compared_too(clean: list[Item], tmp_path: Path) -> None:
    """One sequence of crops is stored twice, with another quality; a single picture is one of another set."""
    for name, quality in (("a", 95), ("b", 60)):
        (tmp_path / name).mkdir()
        for n, frame in enumerate(film(99, False)):
            Image.fromarray(frame).save(tmp_path / name / f"{n}.jpg", quality=quality)
    Image.fromarray(film(98, False)[0]).save(tmp_path / "p.png")
    Image.fromarray(film(98, False)[0]).resize((80, 80)).save(tmp_path / "q.png")
    extra = [
        Item(tmp_path / "a", "a", 0, "train", "real", None, None, None, "frames", True),
        Item(tmp_path / "b", "b", 0, "test", "real", None, None, None, "frames", True),
        Item(tmp_path / "p.png", "p", 0, "train", "real", None, None, None, "picture", True),
        Item(tmp_path / "q.png", "q", 0, "val", "real", None, None, None, "picture", True),
    ]
    check = audit([*clean, *extra])["near-duplicates across splits"]
    assert check.examples == ("a (train) and b (test)", "p (train) and q (val)")


# --- Labels ------------------------------------------------------------------------------------------


def test_labels_that_the_set_s_own_list_contradicts(clean: list[Item]) -> None:
    """A list in which 1 is real, read as if it were fake."""
    listed = {item.video: 1 - item.label for item in clean if item.split == "test"}
    check = audit(clean, second=listed, frames=False)["labels"]
    assert (check.status, check.count) == ("failed", 12)
    everything = {item.video: 1 - item.label for item in clean}
    assert "they look inverted" in audit(clean, second=everything, frames=False)["labels"].detail
    right = {item.video: item.label for item in clean}
    assert audit(clean, second=right, frames=False)["labels"].status == "passed"


def test_labels_that_the_folders_contradict(clean: list[Item]) -> None:
    inverted = [replace(item, label=1 - item.label, pair=None) for item in clean]
    check = audit(inverted, frames=False)["labels"]
    assert check.count == 2 * PEOPLE
    assert "they look inverted" in check.detail
    assert check.examples[0] == "real/00 is fake, by its folder real"


def test_no_label_is_contradicted_where_nothing_says_what_is_real(clean: list[Item]) -> None:
    nameless = [replace(item, video=item.video.replace("/", "-"), pair=None) for item in clean]
    assert audit(nameless, frames=False)["labels"].status == "not checked"


def test_a_split_without_one_class_or_without_anything(clean: list[Item]) -> None:
    check = audit([i for i in clean if i.label or i.split != "val"], frames=False)["class balance"]
    assert check.examples == ("val has no reals",)
    check = audit([i for i in clean if i.split != "test"], frames=False)["class balance"]
    assert check.examples == ("there is no test split",)
    only_tests = [replace(item, split="test") for item in clean]
    assert audit(only_tests, frames=False)["class balance"].status == "passed"


# --- Holes -------------------------------------------------------------------------------------------


def test_a_fake_without_its_real(clean: list[Item]) -> None:
    result = audit([item for item in clean if item.video != "real/03"], frames=False)
    assert failures(result) == ["missing partners"]
    assert result["missing partners"].examples == ("fake/03 lacks real/03",)


def test_a_fake_that_is_not_aligned_with_its_real(clean: list[Item], tmp_path: Path) -> None:
    short = write_video(tmp_path / "short.mp4", film(4, True)[:4])
    check = audit(with_one(clean, "fake/04", path=short), frames=False)["aligned pairs"]
    assert check.examples == ("fake/04: 4 frames of 96×96, its real 6 frames of 96×96",)


def test_files_of_the_lists_that_are_not_there(clean: list[Item]) -> None:
    check = audit(clean, missing=["a.mp4", "b.mp4"], frames=False)["missing files"]
    assert (check.status, check.count, check.examples) == ("failed", 2, ("a.mp4", "b.mp4"))


def test_files_that_cannot_be_read_are_named_and_the_rest_is_checked(clean: list[Item], tmp_path: Path) -> None:
    whole = clean[0].path.read_bytes()
    (tmp_path / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "nothing").mkdir()
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n")
    kinds = {"nothing": "frames", "bad": "picture"}
    broken = [
        Item(path, path.stem, 0, "train", "real", None, None, None, kinds.get(path.stem, "video"))
        for path in [*sorted(tmp_path.iterdir()), tmp_path / "absent.mp4"]
    ]
    check = audit([*clean, *broken])["unreadable files"]
    assert check.count == 6
    assert f"6 of {2 * PEOPLE + 6} cannot be read" == check.detail
    assert failures(audit([*clean, *broken])) == ["unreadable files"]


def test_sound_without_pictures_is_unreadable(tmp_path: Path) -> None:
    import av

    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(Unreadable, match="sound only"):
        Files().facts(Item(path, "sound", 0, "train", "real", None, None, None))


# --- Shortcuts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("named", "size", "rate", "options"),
    [("resolution", 64, 25, {}), ("rate", 96, 30, {}), ("bytes", 96, 25, {"crf": "40"})],
)
def test_fakes_that_their_headers_give_away(
    clean: list[Item], tmp_path: Path, named: str, size: int, rate: int, options: dict[str, str]
) -> None:
    other = []
    for n, item in enumerate(clean):
        if item.label:
            path = write_video(tmp_path / f"{n}.mp4", film(n // 2, True), size=size, rate=rate, **options)
            item = replace(item, pair=None, path=path)
        other.append(item)
    result = audit(other, frames=False)
    assert failures(result) == ["shortcuts"]
    check = result["shortcuts"]
    assert check.examples[0] == "Deepfakes: 1.000" or check.examples[0] == "all fakes: 1.000"
    assert any(
        example.startswith(f"{named} alone: 1.000") or example.startswith(f"{named} a pixel alone")
        for example in check.examples
    )


def test_one_method_that_gives_itself_away_is_found_among_others(clean: list[Item]) -> None:
    """Facts may come from elsewhere than files: a prepared set has them in its table."""

    class Table(Files):
        def facts(self, item: Item) -> Facts:
            rng = np.random.default_rng(int.from_bytes(item.video.encode(), "big") % 2**32)
            size = int(rng.integers(10_000, 90_000))
            codec = "mpeg4" if item.method == "Old" else "h264"
            return Facts("mp4", codec, "yuv420p", 640, 480, 300, 25.0, size)

    fakes = [
        replace(item, video=f"fake/{method}-{n}-{item.video}", method=method)
        for item in clean if item.label for n, method in enumerate(["New"] * 6 + ["Old"])
    ]  # fmt: skip
    check = audit([*(i for i in clean if not i.label), *fakes], media=Table(), frames=False)["shortcuts"]
    assert check.status == "failed"
    assert "Old: 1.000" in check.examples
    assert not any(example.startswith("New") for example in check.examples)


def test_too_few_videos_for_a_figure(clean: list[Item]) -> None:
    few = [item for item in clean if int(item.video[-2:]) < 6] + [item for item in clean if item.split == "test"]
    assert audit(few, frames=False)["shortcuts"].status == "not checked"


# --- How it runs -------------------------------------------------------------------------------------


def test_headers_alone_decode_nothing(clean: list[Item], clean_audit: Audit) -> None:
    result = audit(clean, frames=False)
    assert result["near-duplicates across splits"].status == "not checked"
    assert result["traces"].status == "not checked"
    decoded = ("near-duplicates across splits", "traces")
    assert [c for c in result if c.name not in decoded] == [c for c in clean_audit if c.name not in decoded]


def test_processes_give_the_same_result(clean: list[Item], clean_audit: Audit) -> None:
    done: list[int] = []
    result = audit(clean, workers=2, progress=lambda n, total, what: done.append(n))
    assert result == clean_audit
    assert done[-1] == len(clean)
    assert pickle.loads(pickle.dumps(Files())) is not None


def test_the_splits_of_the_fixture_are_as_said() -> None:
    assert [split_of(person) for person in (0, 12, 18)] == ["train", "val", "test"]

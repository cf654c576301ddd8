"""The audit of a prepared set: from the set alone, stored in it, read when a benchmark opens it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from dfbench.benchmarks.stream import Stream, load_stream
from dfbench.data.audit.prepared_set import FILE, VERSION, audit_of, audit_set, stored_audit, unfit
from dfbench.data.prepare.item import Item
from dfbench.data.prepare.shards import read_meta
from dfbench.data.sources.prepared import PreparedSource
from dfbench.errors import DataError
from tests.data.prepare.conftest import crop, fake, real
from tests.data.prepare.films import GREY, HEIGHT, WIDTH, forged, moving, write_video

Films = Callable[[str, int], tuple[Path, Path]]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Films:
    """``film(name, number)``: a real of the person of a number and a fake of it."""
    folder = tmp_path_factory.mktemp("films")

    def written(name: str, number: int) -> tuple[Path, Path]:
        paths = folder / f"{name}.mp4", folder / f"{name}-fake.mp4"
        if not paths[0].exists():
            frames = moving(number, 12)
            write_video(paths[0], frames)
            write_video(paths[1], forged(frames))
        return paths

    return written


@pytest.fixture
def clean(film: Films) -> list[Item]:
    """Two people, one in each split, each with a real and a fake."""
    items = []
    for number, split in enumerate(("train", "test")):
        paths = film(f"r{number}", number)
        items.append(real(paths[0], f"r{number}", split, f"person{number}"))
        items.append(fake(paths[1], f"f{number}", f"r{number}", split))
    return items


def made(items: Sequence[Item], folder: Path) -> Path:
    return crop(items, folder / "set", frames=4).folder


def stream(folder: Path, **options: bool) -> Stream:
    (folder.parent / "s.yaml").write_text("name: s\nexperiences: [{name: a, source: prepared, root: set}]\n")
    return load_stream(str(folder.parent / "s.yaml"), sources={"prepared": PreparedSource}, **options)


def failures(folder: Path) -> list[str]:
    return [check.name for check in unfit(audit_set(folder))]


def test_a_clean_set_passes_and_keeps_the_result(clean: list[Item], tmp_path: Path) -> None:
    folder = made(clean, tmp_path)
    result = audit_set(folder)
    assert [check.name for check in result.failed] == []
    assert result["near-duplicates across splits"].detail == "4 videos compared"
    assert result["pairs across splits"].detail == "2 fakes in the split of their real"
    assert result["aligned pairs"].detail == "2 pairs have equal frames and sizes"
    assert result["faces"].detail == "found in 4 videos"
    assert stored_audit(folder, read_meta(folder).digest) == result
    assert stream(folder).allowed_leaks == ()


def test_a_person_in_two_splits(clean: list[Item], film: Films, tmp_path: Path) -> None:
    extra = real(film("r2", 2)[0], "r2", "test", "person0")
    folder = made([*clean, extra], tmp_path)
    assert failures(folder) == ["identities across splits"]
    with pytest.raises(DataError, match=r"fails its audit \(identities across splits: 1 people .*person0 \(test and t"):
        stream(folder)
    assert stream(folder, allow_leaks=True).allowed_leaks == (
        "set: identities across splits: 1 people in several splits",
        "set: 1 identity occurs in more than one split: 'person0' (test and train)",
    )


def test_a_fake_in_another_split_than_its_real(clean: list[Item], film: Films, tmp_path: Path) -> None:
    paths = film("r2", 2)
    folder = made([*clean, real(paths[0], "r2", "train"), fake(paths[1], "f2", "r2", "test")], tmp_path)
    assert failures(folder)[:1] == ["pairs across splits"]
    allowed = stream(folder, allow_leaks=True).allowed_leaks
    assert "set: pairs across splits: 1 fakes in another split than their real" in allowed


def test_a_video_under_another_name_in_another_split(clean: list[Item], tmp_path: Path) -> None:
    again = write_video(tmp_path / "again.mp4", moving(0, 12), options={"crf": "30"})
    folder = made([*clean, real(again, "other", "test", "somebody")], tmp_path)
    assert failures(folder) == ["near-duplicates across splits"]
    with pytest.raises(DataError, match=r"r0 \(train\) and other \(test\)|other \(test\) and r0 \(train\)") as caught:
        stream(folder)
    assert len(str(caught.value).splitlines()) == 1
    assert "correct the data and prepare the set again, or run with --allow-leaks" in str(caught.value)


def test_labels_that_the_tree_s_list_contradicts_are_remembered_by_the_set(clean: list[Item], tmp_path: Path) -> None:
    folder = made(clean, tmp_path)
    second = {item.video: item.label for item in clean} | {"r0": 1}
    assert [check.name for check in unfit(audit_set(folder, second=second, missing=["gone.mp4"]))] == ["labels"]
    with pytest.raises(DataError, match="labels: 1 of 4 labels are contradicted, as r0 is real, by its list fake"):
        stream(folder)
    stale = json.loads((folder / FILE).read_text()) | {"version": VERSION - 1}
    (folder / FILE).write_text(json.dumps(stale))
    now = audit_of(folder)
    assert [check.name for check in now.failed] == ["labels", "missing files"]
    assert json.loads((folder / FILE).read_text())["version"] == VERSION


def test_a_video_without_a_face_is_a_finding_and_no_reason_to_refuse(clean: list[Item], tmp_path: Path) -> None:
    empty = write_video(tmp_path / "empty.mp4", [np.full((HEIGHT, WIDTH, 3), GREY, np.uint8)] * 12)
    (tmp_path / "broken.mp4").write_bytes(b"x")
    folder = made([*clean, real(empty, "empty"), real(tmp_path / "broken.mp4", "broken")], tmp_path)
    result = audit_set(folder)
    assert result["faces"].examples == ("empty: no face was found",)
    assert result["unreadable files"].count == 1
    assert unfit(result) == []
    assert stream(folder).allowed_leaks == ()


@pytest.mark.parametrize("content", [None, "not json", "{}", "stale"])
def test_a_missing_damaged_or_foreign_result_is_made_anew(
    content: str | None, clean: list[Item], tmp_path: Path
) -> None:
    folder = made(clean, tmp_path)
    audit_set(folder)
    good = (folder / FILE).read_text()
    if content is None:
        (folder / FILE).unlink()
    elif content == "stale":  # of another set, which failed
        other = json.loads(good) | {"digest": "0" * 64}
        other["checks"][0] |= {"status": "failed", "count": 1}
        (folder / FILE).write_text(json.dumps(other))
    else:
        (folder / FILE).write_text(content)
    seen: list[str] = []
    assert unfit(audit_of(folder, lambda done, total, what: seen.append(what))) == []
    assert "reading videos" in seen
    assert (folder / FILE).read_text() == good


def test_the_stored_result_is_read_and_not_made_again(clean: list[Item], tmp_path: Path) -> None:
    folder = made(clean, tmp_path)
    audit_set(folder)
    planted = json.loads((folder / FILE).read_text())
    planted["checks"][0] |= {"status": "failed", "count": 1, "detail": "planted", "examples": ["x"]}
    (folder / FILE).write_text(json.dumps(planted))
    with pytest.raises(DataError, match="planted"):
        stream(folder)


def test_a_person_in_two_splits_of_two_experiences_can_be_allowed(
    clean: list[Item], film: Films, tmp_path: Path
) -> None:
    """The check of a stream's own rows gives way too, and says what it let through."""
    items = [*clean, real(film("r2", 2)[0], "r2", "test", "person0")]
    assert stream(made(items, tmp_path), allow_leaks=True).allowed_leaks[-1].endswith("'person0' (test and train)")

"""What a stream refuses: every bad input is one line that says what, where and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dfbench.benchmarks import packaged
from dfbench.benchmarks.stream import load_stream
from dfbench.data.sources.folder import FolderSource
from dfbench.errors import DataError, UsageError
from tests.benchmarks.conftest import SOURCES, TWO, Load


def corrupt(root: Path, *names: str) -> None:
    for name in names:
        (root / name).write_bytes((root / name).read_bytes()[:-40])


def test_many_corrupt_pictures_are_an_error(faces: Path, load: Load) -> None:
    corrupt(faces, *(f"swap/original/3_{frame}.png" for frame in range(7)))
    text = TWO.replace(", frames: 4", "")
    with pytest.raises(DataError) as caught:
        load(text)
    message = str(caught.value)
    assert "experience 'swap': 7 of 20 test pictures cannot be used, more than max_corrupt: 0.05" in message
    assert message.count(".png: ") == 5
    assert message.endswith("; and 2 more")
    assert len(load(text + "max_corrupt: 0.5").notes) == 2


def test_a_changed_picture_is_not_what_its_manifest_promised(
    faces: Path, load: Load, write_picture: Callable[..., Path]
) -> None:
    lines = (faces / "manifest.csv").read_text().splitlines()
    lines = [lines[0] + ",sha256"] + [f"{line},{'0' * 64 if 'gan/3' in line else ''}" for line in lines[1:]]
    (faces / "manifest.csv").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"gan/3\.png: the content is not that of the manifest's sha256"):
        load(TWO)


def edit(faces: Path, old: str, new: str) -> None:
    text = (faces / "manifest.csv").read_text()
    assert old in text
    (faces / "manifest.csv").write_text(text.replace(old, new))


def test_a_one_class_split(faces: Path, load: Load) -> None:
    with pytest.raises(DataError, match=r"'swap': all 8 train pictures are 'fake'; a split needs more than one"):
        load(TWO.replace("{source: swap}", "{source: swap, method: Deepfakes}"))


def test_a_split_is_empty(faces: Path, load: Load) -> None:
    edit(faces, ",test\n", ",val\n")
    with pytest.raises(DataError, match=r"'swap': no test pictures \(16 train, 16 val, 0 test\)"):
        load(TWO)


@pytest.mark.parametrize(("old", "new"), [("id3,", "id0,"), ("original3,", "original0,")])
def test_leaks_within_and_across_experiences(faces: Path, load: Load, old: str, new: str) -> None:
    edit(faces, old, new)
    kind = "identity" if old.startswith("id") else "video"
    with pytest.raises(DataError, match=rf"1 {kind} occurs in more than one split: '{new[:-1]}' \(test and train\)"):
        load(TWO)


def test_sizes_that_differ_need_a_size(faces: Path, load: Load, write_picture: Callable[..., Path]) -> None:
    assert load(TWO).native_size == (6, 5)
    write_picture(faces / "gan/0.png", size=(9, 9))
    stream = load(TWO)
    assert stream.native_size is None
    with pytest.raises(DataError, match=r"2 sizes: 6×5 \(43 of them\), 9×9 \(1 of them\); choose one size"):
        stream.pixels(None)
    assert stream.pixels((4, 4)).shape == (44, 4, 4, 3)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "source: folder",
            "source: foldr",
            "experience 'swap': unknown source 'foldr': did you mean 'folder'?",
        ),
        ("manifest:", "manifst:", "experience 'swap': unknown key 'manifst': did you mean 'manifest'?"),
        ("frames: 4", "frame: 4", "experience 'swap': unknown key 'frame': did you mean 'frames'"),
        ("manifest: manifest.csv", "manifest: [1]", "source 'folder', option manifest: "),
        (
            "{source: gan}",
            "{source: gna}",
            "experience 'gan': where: no sample has source 'gna'; did you mean 'gan'?",
        ),
        (
            "root: faces, ",
            "",
            "needs a folder: set DFBENCH_DATA to the folder that holds folder/, or write root:",
        ),
    ],
)
def test_mistakes_in_an_experience(faces: Path, load: Load, old: str, new: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(TWO.replace(old, new))
    assert message in str(caught.value)
    assert "stream.yaml: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_root(faces: Path, load: Load) -> None:
    with pytest.raises(DataError, match=r"experience 'swap': source 'folder': the root .*facs does not exist"):
        load(TWO.replace("root: faces", "root: facs"))


def test_unknown_benchmarks(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown benchmark 'cifar10-ni1': did you mean 'cifar10-ni10'"):
        load_stream("cifar10-ni1", sources=SOURCES, benchmarks=packaged())
    with pytest.raises(UsageError, match=r"nowhere\.yaml: there is no such file"):
        load_stream(str(tmp_path / "nowhere.yaml"), sources=SOURCES)


def test_one_stream_has_one_set_of_classes(faces: Path, load: Load) -> None:
    class Animals(FolderSource):
        classes = ("cat", "dog")

    with pytest.raises(DataError, match="the experiences have different classes"):
        load(TWO + "  - {name: animals, source: animals}\n", sources={**SOURCES, "animals": Animals})

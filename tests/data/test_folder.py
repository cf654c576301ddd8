"""The ``folder`` source without a manifest: train|val|test / real|fake / … / picture."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dfbench.data.pictures import PictureError
from dfbench.data.sources import open_source
from dfbench.data.sources.folder import FolderSource
from dfbench.errors import DataError, UsageError

WriteTree = Callable[..., Path]


def test_the_layout_is_read(tmp_path: Path, write_tree: WriteTree) -> None:
    write_tree(tmp_path, "train/real/a.png", "train/fake/v1/2.png", "train/fake/v1/10.png", "test/real/b.png")
    samples = FolderSource(tmp_path).samples()
    rows = zip(samples.sample, samples.label, samples.split, samples.video, samples.frame, strict=True)
    assert list(rows) == [
        ("test/real/b.png", 0, "test", "test/real/b.png", 0),
        ("train/fake/v1/2.png", 1, "train", "fake/v1", 0),  # 2 comes before 10
        ("train/fake/v1/10.png", 1, "train", "fake/v1", 1),
        ("train/real/a.png", 0, "train", "train/real/a.png", 0),
    ]
    assert samples.method.tolist() == ["real", "fake", "fake", "real"]
    assert set(samples.identity) == {""}


@pytest.mark.parametrize("split", ["val", "valid", "validation", "Val", "dev"])
@pytest.mark.parametrize(("kind", "label"), [("real", 0), ("0_real", 0), ("Fake", 1), ("1_fake", 1)])
def test_usual_spellings(tmp_path: Path, write_tree: WriteTree, split: str, kind: str, label: int) -> None:
    samples = FolderSource(write_tree(tmp_path, f"{split}/{kind}/a.PNG")).samples()
    assert (samples.split[0], samples.label[0]) == ("val", label)


def test_subfolders_can_be_methods(tmp_path: Path, write_tree: WriteTree) -> None:
    write_tree(tmp_path, "train/fake/StyleGAN/a.png", "test/fake/StyleGAN/a.png")
    samples = FolderSource(tmp_path, subfolder="method").samples()
    assert samples.method.tolist() == ["StyleGAN", "StyleGAN"]
    assert len(set(samples.video)) == 2


def test_other_files_are_counted_and_hidden_ones_ignored(tmp_path: Path, write_tree: WriteTree) -> None:
    write_tree(tmp_path, "train/real/a.JPG", "train/real/._a.jpg", "train/real/.thumbs/b.png")
    for name in ("notes.txt", "more.txt", "Thumbs.db"):
        (tmp_path / "train/real" / name).write_text("")
    source = FolderSource(tmp_path)
    assert source.samples().sample.tolist() == ["train/real/a.JPG"]
    assert source.notes == [f"{tmp_path}: 3 files that are not pictures ignored (2 .txt, 1 .db)"]


@pytest.mark.parametrize("pictures", [(), ("train/real/a.png", "train/fake/a.png")])
def test_videos_in_place_of_pictures_are_refused(
    tmp_path: Path, write_tree: WriteTree, pictures: tuple[str, ...]
) -> None:
    write_tree(tmp_path, *pictures)
    for name in ("a.mp4", "b.MP4", "c.avi"):
        (tmp_path / "test/real").mkdir(parents=True, exist_ok=True)
        (tmp_path / "test/real" / name).write_text("")
    with pytest.raises(DataError, match=r"test/real: videos \(2 \.mp4, 1 \.avi\) and no pictures; frames are needed"):
        FolderSource(tmp_path).samples()


def test_a_video_next_to_its_frames_is_counted_as_ignored(tmp_path: Path, write_tree: WriteTree) -> None:
    write_tree(tmp_path, "train/real/v/0.png")
    (tmp_path / "train/real/v.mp4").write_text("")
    source = FolderSource(tmp_path)
    assert len(source.samples()) == 1
    assert source.notes == [f"{tmp_path}: 1 files that are not pictures ignored (1 .mp4)"]


@pytest.mark.parametrize("name", [b"caf\xe9.png", b"caf\xe9/0.png"])
def test_names_that_are_not_utf8_are_shown_escaped(tmp_path: Path, write_tree: WriteTree, name: bytes) -> None:
    write_tree(tmp_path, os.fsdecode(b"train/real/" + name))
    with pytest.raises(DataError, match=r"sample 'train/real/caf\\xe9.* is not UTF-8: rename the file or folder"):
        FolderSource(tmp_path).samples()


def test_ignored_files_whose_names_are_not_utf8_can_be_printed(tmp_path: Path, write_tree: WriteTree) -> None:
    write_tree(tmp_path, "train/real/a.png")
    (tmp_path / "train/real" / os.fsdecode(b"x.caf\xe9")).touch()
    source = FolderSource(tmp_path)
    source.samples()
    assert source.notes[0].encode().endswith(rb"(1 .caf\xe9)")


@pytest.mark.parametrize("second", ["test/original", "Test/fake", "testing/real"])
def test_two_folders_of_one_meaning_are_refused(tmp_path: Path, write_tree: WriteTree, second: str) -> None:
    """The videos real/v and original/v would be one."""
    write_tree(tmp_path, "test/real/v/0.png", f"{second}/v/0.png")
    with pytest.raises(DataError, match="mean the same; merge or rename one"):
        FolderSource(tmp_path).samples()


def test_what_only_looks_like_a_picture(tmp_path: Path, write_tree: WriteTree) -> None:
    write_tree(tmp_path, "train/real/a.png/0.png")  # a folder with a picture's name is a folder
    folder = tmp_path / "train/real"
    (folder / "empty.png").touch()
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "gone.png").symlink_to(folder / "nothing.png")
    os.mkfifo(folder / "pipe.png")
    source = FolderSource(tmp_path)
    names = source.samples().sample.tolist()
    assert "train/real/a.png/0.png" in names
    assert len(source.inspect("train/real/a.png/0.png").sha256) == 64
    for name in ("empty", "loop", "gone", "pipe"):
        assert f"train/real/{name}.png" in names
        with pytest.raises(PictureError, match=rf"{name}\.png: (the file is empty|cannot be read|not a file)"):
            source.inspect(f"train/real/{name}.png")


def test_links_are_followed_but_not_in_circles(tmp_path: Path, write_tree: WriteTree) -> None:
    root = tmp_path / "root"
    write_tree(root, "train/real/a.png")
    write_tree(tmp_path, "elsewhere/b.png")
    (root / "train/real/loop").symlink_to(root / "train", target_is_directory=True)
    (root / "train/real/linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    names = FolderSource(root).samples().sample.tolist()
    assert "train/real/a.png" in names
    assert "train/real/linked/b.png" in names
    assert len(names) < 5


def test_pictures_are_read_and_stamped(tmp_path: Path, write_picture: Callable[..., Path]) -> None:
    file = write_picture(tmp_path / "train/real/a.png", seed=3, size=(7, 9))
    source = pickle.loads(pickle.dumps(FolderSource(tmp_path)))
    assert np.array_equal(source.read("train/real/a.png"), np.asarray(Image.open(file)))
    assert source.inspect("train/real/a.png")[1:] == (7, 9)
    before = source.stamp("train/real/a.png")
    write_picture(file, seed=4, size=(8, 9))
    assert source.stamp("train/real/a.png") != before
    assert source.stamp("train/real/missing.png") == ""


def test_a_folder_in_no_known_layout(tmp_path: Path, write_tree: WriteTree) -> None:
    write_tree(tmp_path, "a.png", "train/cats/a.png")
    with pytest.raises(DataError, match=r"no pictures in the layout .*manifest: FILE.csv"):
        FolderSource(tmp_path).samples()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"manifst": "a.csv"}, "unknown option of source 'folder' 'manifst': did you mean 'manifest'"),
        ({"manifest": 3}, "source 'folder', option manifest: .* string .*got 3"),
        ({"subfolder": "person"}, "option subfolder: .*'video' or 'method'"),
    ],
)
def test_options_are_checked(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_source("folder", FolderSource, tmp_path, options)


def test_the_root_must_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the root .*nowhere does not exist"):
        open_source("folder", FolderSource, tmp_path / "nowhere", {})
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"the root .*file is not a folder"):
        open_source("folder", FolderSource, tmp_path / "file", {})

"""The data set ``videos``: folders, or a manifest."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfbench.data.prepare.sources.videos import Videos
from dfbench.errors import DataError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_folders_give_split_label_and_method(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "train/real/a.mp4",
        "train/fake/swap/b.MOV",
        "Validation/0_real/c.avi",
        "test/fake/d.mp4",
        "test/x.mp4",
    )
    touch(tmp_path, "train/real/._a.mp4", "train/real/notes.txt")
    found = [(i.video, i.label, i.split, i.method, i.pair) for i in Videos().items(tmp_path)]
    assert sorted(found) == [
        ("Validation/0_real/c", 0, "val", "real", None),
        ("test/fake/d", 1, "test", "fake", None),
        ("train/fake/swap/b", 1, "train", "swap", None),
        ("train/real/a", 0, "train", "real", None),
    ]


def test_links_are_followed_once_and_unicode_and_long_names_are_kept(tmp_path: Path) -> None:
    name = "видео 影片 é " + "n" * 200
    touch(tmp_path, f"else/{name}.mp4")
    (tmp_path / "train/real").mkdir(parents=True)
    (tmp_path / "train/real/there").symlink_to(tmp_path / "else")
    (tmp_path / "else/loop").symlink_to(tmp_path / "train/real")
    assert [i.video for i in Videos().items(tmp_path)] == [f"train/real/there/{name}"]


def test_a_manifest_gives_everything(tmp_path: Path) -> None:
    touch(tmp_path, "v/a.mp4", "v/b.mp4", "m/b.mp4")
    (tmp_path / "list.csv").write_text(
        "path,label,split,video,method,identity,pair,mask,kind,cropped\n"
        "v/a.mp4,real,train,A,,p1,,,,\n"
        "v/b.mp4,1,valid,,Swap,p1,A,m/b.mp4,video,0\n"
        "crops,0,test,,,,,,frames,1\n"
    )
    a, c, b = Videos().items(tmp_path, manifest="list.csv")  # by name
    assert (a.video, a.label, a.method, a.identity, a.pair, a.mask) == ("A", 0, "real", "p1", None, None)
    assert (b.video, b.label, b.split, b.method, b.pair, b.mask) == ("v/b", 1, "val", "Swap", "A", tmp_path / "m/b.mp4")
    assert (c.kind, c.cropped) == ("frames", True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\na,0\n", "column 'split' is missing"),
        ("path,label,split\na,maybe,train\n", "line 2: label 'maybe'"),
        ("path,label,split\na,0,later\n", "split 'later'"),
        ("path,label,split\n../a,0,test\n", "not below"),
        ("path,label,split,kind\na,0,test,film\n", "kind 'film'"),
        (b"path,label,split\n\xff,0,test\n", "UTF-8"),
        (None, "cannot be read"),
    ],
)
def test_a_wrong_manifest_is_named_with_its_line(text: str | bytes | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "m.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message):
        Videos().items(tmp_path, manifest="m.csv")


def test_another_tree_is_refused_with_what_was_looked_for_and_what_is_there(tmp_path: Path) -> None:
    touch(tmp_path, "faces/a.mp4")
    with pytest.raises(DataError, match=r"train,val,test.*it holds faces"):
        Videos().items(tmp_path)

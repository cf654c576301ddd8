"""Manifests: what a CSV says is what the table holds, and every mistake is one line with its place."""

from __future__ import annotations

import csv
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dfbench.data.leaks import check_leaks
from dfbench.data.sources.folder import FolderSource
from dfbench.data.sources.manifest import read_manifest
from dfbench.errors import DataError

COLUMNS = ("path", "label", "split", "source", "method", "identity", "video", "frame", "pair")
words = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=6)
entries = st.lists(
    st.tuples(
        st.sampled_from(["0", "1", "real", "FAKE"]),
        st.sampled_from(["train", "val", "test", "valid"]),
        *[words] * 4,
        st.integers(0, 10**6).map(str),
        words,
    ),
    min_size=1,
    max_size=8,
)


@given(entries)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
def test_the_table_holds_what_the_file_says(tmp_path: Path, entries: list[tuple[str, ...]]) -> None:
    rows = [(f"pictures/{number}.jpg", *entry) for number, entry in enumerate(entries)]
    for path, *_ in rows:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    with (tmp_path / "m.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    samples = read_manifest(tmp_path, tmp_path / "m.csv")
    for position, row in enumerate(rows):
        expected = dict(zip(COLUMNS, row, strict=True))
        assert samples.sample[position] == expected["path"]
        assert samples.label[position] == (expected["label"] in ("1", "FAKE"))
        assert samples.split[position] == expected["split"].removesuffix("id")
        assert samples.frame[position] == int(expected["frame"])
        for name in ("source", "method", "identity", "video", "pair"):
            assert getattr(samples, name)[position] == expected[name]


def test_path_and_label_are_enough(tmp_path: Path, write_picture: Callable[..., Path]) -> None:
    write_picture(tmp_path / "a.png")
    (tmp_path / "m.csv").write_text("\ufeffpath,label\na.png,real\n", encoding="utf-8")  # as Excel writes it
    samples = FolderSource(tmp_path, manifest="m.csv").samples()
    assert samples.sample.tolist() == ["a.png"]
    assert samples.split.tolist() == ["train"]


def test_lines_may_end_as_on_windows_and_columns_without_a_name_are_not_used(
    tmp_path: Path, write_picture: Callable[..., Path]
) -> None:
    write_picture(tmp_path / "a.png")
    (tmp_path / "m.csv").write_bytes(b"path,label,split,,\r\na.png,fake,test,,\r\n")
    samples = FolderSource(tmp_path, manifest="m.csv").samples()
    assert (samples.sample.tolist(), samples.label.tolist(), samples.split.tolist()) == (["a.png"], [1], ["test"])


MISTAKES = {
    "no label column": (
        "path,labels\na.png,0\n",
        "column 'label' is missing; the first line names path, labels",
    ),
    "column twice": ("path,label,split, label\na.png,0,train,1\n", "the first line names column 'label' twice"),
    "semicolons": ("path;label\na.png;0\n", "column 'path' is missing; .* path;label; cells are separated by commas"),
    "tabs": ("path\tlabel\na.png\t0\n", r"column 'path' is missing; .* path\\tlabel; cells are separated by commas"),
    "a video": ("path,label\na.MP4,0\n", "line 2: a.MP4 is a video, and frames are needed"),
    "a folder": ("path,label\nfolder,0\n", "1 of 1 listed files are not in .*: folder .line 2."),
    "two lines in a cell": ('path,label\n"a\nb.png",0\n', r"listed files are not in .*: a\\nb.png"),
    "a long name": (f"path,label\n{'a' * 300}.png,0\n", "1 of 1 listed files are not in"),
    "empty file": ("", "column 'path' is missing; the first line names none"),
    "no rows": ("path,label\n", "no pictures are listed"),
    "label": ("path,label\na.png,2\n", "line 2: label '2' is not 0, 1, real or fake"),
    "split": ("path,label,split\na.png,0,trian\n", "line 2: split 'trian' is not train, val or test"),
    "frame": ("path,label,frame\na.png,0,1.5\n", "line 2: frame '1.5' is not a whole number"),
    "sha256": ("path,label,sha256\na.png,0,abc\n", "line 2: sha256 'abc' is not 64 hexadecimal digits"),
    "leaves the root": (
        "path,label\n../a.png,0\n",
        "line 2: path '../a.png' must be relative .* stay inside",
    ),
    "absolute": ("path,label\n/a.png,0\n", "line 2: path '/a.png' must be relative"),
    "drive": ("path,label\nC:/a.png,0\n", "line 2: path 'C:/a.png' must be relative"),
    "no path": ("path,label\n,0\n", "line 2: path '' must be relative"),
    "backslash": ("path,label\nb\\a.png,0\n", r"line 2: path .* has backslashes"),
    "twice": ("path,label\na.png,0\n./a.png,1\n", "line 3: a.png is already listed in line 2"),
    "missing files": (
        "path,label\na.png,0\nb.png,1\nc.png,1\n",
        "2 of 3 listed files .*: b.png .line 3., c.png",
    ),
    "cells": ("path,label\na.png\n", "line 2: not 2 cells as in the first line"),
    "more cells": ("path,label\na.png,0,1\n", "line 2: not 2 cells"),
    "quotes": ('path,label\n"a.png"x,0\n', "not a CSV file in UTF-8"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(tmp_path: Path, write_picture: Callable[..., Path], mistake: str) -> None:
    text, message = MISTAKES[mistake]
    write_picture(tmp_path / "a.png")
    (tmp_path / "folder").mkdir()
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        FolderSource(tmp_path, manifest="m.csv").samples()
    assert str(tmp_path / "m.csv") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_csv(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"m.csv: there is no such manifest"):
        read_manifest(tmp_path, tmp_path / "m.csv")
    (tmp_path / "m.csv").write_bytes(b"path,label\n\xff\xfe,0\n")
    with pytest.raises(DataError, match="not a CSV file in UTF-8"):
        read_manifest(tmp_path, tmp_path / "m.csv")


def test_links_are_followed(tmp_path: Path, write_picture: Callable[..., Path]) -> None:
    """People keep data sets on other disks."""
    write_picture(tmp_path / "outside/a.png")
    root = tmp_path / "root"
    root.mkdir()
    (root / "b").symlink_to(tmp_path / "outside", target_is_directory=True)
    (root / "manifest.csv").write_text("path,label,split\nb/a.png,0,train\n")
    assert FolderSource(root, manifest="manifest.csv").samples().sample.tolist() == ["b/a.png"]


def test_the_real_manifest(shared_data: Path, tmp_path: Path) -> None:
    with tarfile.open(shared_data / "real-stream.tar") as tar:
        tar.extractall(tmp_path, filter="data")
    manifest = next(tmp_path.rglob("manifest.csv"))
    samples = read_manifest(manifest.parent, manifest)
    assert len(samples) == 1979
    assert Counter(zip(samples.source.tolist(), samples.label.tolist(), strict=True)) == {
        ("photoshop", 0): 200, ("photoshop", 1): 200,
        ("ffpp_c23", 0): 180, ("ffpp_c23", 1): 280,
        ("stylegan2_1024", 0): 200, ("stylegan2_1024", 1): 119,
        ("stylegan2_256", 0): 400, ("stylegan2_256", 1): 400,
    }  # fmt: skip
    check_leaks([samples], "the real stream")

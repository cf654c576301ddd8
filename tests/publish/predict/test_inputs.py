"""What is judged, and what is not: by content, with one line that says what to do."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dfbench.data.prepare.media import MediaError
from dfbench.errors import DataError, UsageError
from dfbench.publish.predict.inputs import Limits, Unsupported, collect, open_medium
from tests.data.prepare.films import moving, write_video


@pytest.fixture(scope="module")
def png() -> bytes:
    import io

    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 48, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def bomb() -> bytes:
    """A PNG of a few bytes whose header claims 30 000 × 30 000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


NOT_JUDGED = {
    "drawing.svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
    "drawing.jpg": (b'<?xml version="1.0"?>\n<svg/>', "SVG"),
    "phone.jpg": (b"\0\0\0\x18ftypheic" + bytes(100), "save it as JPEG or PNG"),
    "hls.mp4": (b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n", "playlist"),
    "concat.mp4": (b"\n\nffconcat version 1.0\nfile /etc/passwd\n", "playlist"),
    "archive.png": (b"PK\x03\x04" + bytes(100), "archive"),
    "page.jpg": (b"<!DOCTYPE html><html></html>", "document"),
    "bomb.png": (bomb(), "more pixels than the limit"),
}


@pytest.mark.parametrize("name", NOT_JUDGED)
def test_kinds_that_are_not_judged_say_what_to_do(name: str, tmp_path: Path) -> None:
    content, message = NOT_JUDGED[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Unsupported, match=message):
        open_medium(tmp_path / name, Limits())


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_animations_are_not_judged(suffix: str, tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((32, 32, 3), 40 * i, np.uint8)) for i in range(4)]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:])
    with pytest.raises(Unsupported, match="animated"):
        open_medium(tmp_path / f"a.{suffix}", Limits())


def test_content_counts_and_not_the_suffix(png: bytes, tmp_path: Path) -> None:
    (tmp_path / "picture.mp4").write_bytes(png)
    assert open_medium(tmp_path / "picture.mp4", Limits()).facts.container == "picture"
    film = write_video(tmp_path / "film.mp4", moving(0, 8)).rename(tmp_path / "film.jpg")
    assert open_medium(film, Limits()).facts.frames == 8


def test_a_name_that_looks_like_a_protocol_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    film = write_video(tmp_path / "film.mp4", moving(0, 8)).rename(tmp_path / "concat:film.mp4")
    assert open_medium(Path(film.name), Limits()).facts.frames == 8


def test_a_playlist_behind_other_bytes_opens_no_other_file(tmp_path: Path) -> None:
    """FFmpeg looks further into a file than a sniffer; its own readers of playlists are off."""
    film = write_video(tmp_path / "film.mp4", moving(0, 8))
    listed = tmp_path / "list.mp4"
    listed.write_text(f"# a comment\nffconcat version 1.0\nfile {film.name}\n")
    with pytest.raises(MediaError, match="not a readable video"):
        open_medium(listed, Limits())
    listed.rename(tmp_path / "list.m3u8").write_text(f"\n#EXTM3U\n#EXTINF:1,\n{film.name}\n#EXT-X-ENDLIST\n")
    with pytest.raises(DataError):
        open_medium(tmp_path / "list.m3u8", Limits())


def test_damaged_files_are_errors_of_the_file(png: bytes, tmp_path: Path) -> None:
    for name, content in {"empty.jpg": b"", "cut.png": png[: len(png) // 2], "text.mp4": b"hello"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(MediaError):
            open_medium(tmp_path / name, Limits())
    with pytest.raises(MediaError, match="not a file"):
        open_medium(tmp_path, Limits())


def test_limits_are_kept(png: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png)
    film = write_video(tmp_path / "film.mp4", moving(0, 50))
    with pytest.raises(Unsupported, match="limit of 0 MB"):
        open_medium(tmp_path / "a.png", Limits(picture_bytes=100))
    with pytest.raises(Unsupported, match="48×64 pixels are more than the limit of 1,000"):
        open_medium(tmp_path / "a.png", Limits(pixels=1000))
    with pytest.raises(Unsupported, match="2 s are more than the limit of 1 s"):
        open_medium(film, Limits(seconds=1))
    with pytest.raises(Unsupported, match="192×144"):
        open_medium(film, Limits(pixels=1000))


def test_folders_patterns_and_files_are_collected_once(png: bytes, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "b" / "c").mkdir(parents=True)
    for name in ("b/2.png", "b/c/1.JPG", "b/notes.txt", "名字.png"):
        (tmp_path / name).write_bytes(png)
    monkeypatch.chdir(tmp_path)
    assert [str(p) for p in collect(["b", "*.png", "b/2.png"])] == ["b/2.png", "b/c/1.JPG", "名字.png"]


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("https://example.org/a.jpg", UsageError, "not addresses"),
        ("nothing.jpg", UsageError, "no such file"),
        ("*.nothing", UsageError, "no such file"),
        ("x" * 300, UsageError, "cannot be the name of a file"),
        ("a\0b", UsageError, "no such file|cannot be the name"),
    ],
)
def test_names_that_mean_nothing_are_refused(name: str, error: type, message: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        collect([name])


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no picture and no video"):
        collect([str(tmp_path)])

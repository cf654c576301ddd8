"""What a user names becomes files, and each file a medium, or a reason why it cannot be one."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from dfbench.data.pictures import FORMATS, SUFFIXES, VIDEOS
from dfbench.data.prepare.decoding import Video
from dfbench.data.prepare.media import Media, MediaError
from dfbench.data.prepare.stills import Pictures
from dfbench.errors import DataError, UsageError, printable

KINDS = {
    "heic": "a HEIC or AVIF picture; save it as JPEG or PNG",
    "svg": "an SVG drawing; only pictures of pixels are judged",
    "playlist": "a playlist, which names other files; give the video itself",
    "archive": "an archive; unpack it and give the pictures or videos",
    "document": "a document; give the picture or video itself",
}
"""Kinds of files that are known by their first bytes and not judged: code → what to do."""

_HEAD = 4096
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(frozen=True)
class Limits:
    """What a file may be at most; a service sets lower ones.

    Attributes:
        picture_bytes: of a picture's file.
        video_bytes: of a video's file.
        pixels: of a picture or of a frame.
        seconds: of a video.
    """

    picture_bytes: int = 256 << 20
    video_bytes: int = 64 << 30
    pixels: int = 80_000_000
    seconds: float = 6 * 3600


class Unsupported(DataError):
    """This kind of file is not judged; the message says what to do.

    Args:
        message: One line.
        code: The same as a stable word, for programs and translations (docs/predict.md).
        values: Figures in the message, by name.
    """

    def __init__(self, message: str, code: str, **values: float | str) -> None:
        super().__init__(message)
        self.code, self.values = code, values


def collect(names: Sequence[str]) -> list[Path]:
    """The files that a user named, each once, in the order of the command.

    Args:
        names: Files; folders, whose pictures and videos are taken, those of subfolders too; patterns (``*.mp4``).

    Raises:
        UsageError: A name is an address, or neither a file nor a pattern that matches one.
        DataError: A folder holds no picture and no video.
    """
    found: dict[Path, None] = {}
    for name in names:
        found |= dict.fromkeys(_files(name))
    return list(found)


def _files(name: str) -> Iterator[Path]:
    if _URL.match(name):
        raise UsageError(f"{name}: files are judged, not addresses; download it first")
    path = Path(name)
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, ValueError) as error:  # a name of over 255 bytes, or with NUL
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{name[:80]}: cannot be the name of a file ({reason})") from None
    if is_folder:
        kinds = SUFFIXES | VIDEOS
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in kinds and p.is_file())
        if not inside:
            raise DataError(f"{name}: no picture and no video in this folder ({', '.join(sorted(kinds))})")
        yield from inside
    elif exists:
        yield path
    else:
        matches = sorted(glob.glob(name, recursive=True)) if glob.has_magic(name) else []
        if not matches:
            raise UsageError(f"{name}: there is no such file or folder")
        yield from (Path(match) for match in matches if Path(match).is_file())


def open_medium(path: Path, limits: Limits, threads: int = 1) -> Media:
    """Open a picture or a video by what is in the file, whatever its suffix says.

    Args:
        path: The file.
        limits: What it may be at most.
        threads: Of the video decoder.

    Raises:
        Unsupported: It is of a kind that is not judged, or beyond a limit.
        MediaError: It is damaged or neither a picture nor a video.
    """
    try:
        if not path.is_file():
            raise MediaError("not a file", "not_a_file")
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise MediaError(f"cannot be read ({error.strerror or error})") from None
    if not size:
        raise MediaError("the file is empty", "empty")
    if kind := _unsupported(head):
        raise Unsupported(KINDS[kind], kind)
    if _is_picture(path, limits.pixels):
        _check_bytes(size, limits.picture_bytes)
        return Pictures(path)
    _check_bytes(size, limits.video_bytes)
    video = Video(path, threads)
    facts = video.facts
    if facts.width * facts.height > limits.pixels:
        raise _too_many(f"frames of {facts.width}×{facts.height} pixels", limits.pixels)
    length = max(facts.seconds, facts.frames / facts.fps if facts.fps else 0.0)
    if length > limits.seconds:
        raise Unsupported(
            f"{length:.0f} s are more than the limit of {limits.seconds:.0f} s",
            "too_long",
            limit=limits.seconds,
        )
    return video


def _check_bytes(size: int, most: int) -> None:
    if size > most:
        message = f"{size / 1e6:.0f} MB are more than the limit of {most / 1e6:.0f} MB"
        raise Unsupported(message, "too_large", limit=round(most / 1e6, 1))


def _too_many(what: str, most: int) -> Unsupported:
    return Unsupported(f"{what} are more than the limit of {most:,}", "too_many_pixels", limit=most)


def _is_picture(path: Path, most: int) -> bool:
    """Whether PIL knows the file; its size and its frames are checked before it is decoded.

    Raises:
        Unsupported: It is an animation, or has too many pixels.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            if getattr(image, "is_animated", False) and image.format != "MPO":
                raise Unsupported(
                    f"an animated {image.format}; save it as a video (.mp4), or one frame of it as PNG", "animated"
                )
            width, height = image.size
            if width * height > most:
                raise _too_many(f"{width}×{height} pixels", most)
            return True
    except Unsupported:
        raise
    except Image.DecompressionBombError:
        raise Unsupported(f"more pixels than the limit of {most:,}", "too_many_pixels", limit=most) from None
    except Exception:  # PIL raises nearly anything on what it does not know
        return False


def _unsupported(head: bytes) -> str:
    """Which of :data:`KINDS` a file with these first bytes is; empty where that is not known yet."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:512].lower()
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"heim", b"hevc", b"avif", b"avis"):
        return "heic"
    if start.startswith((b"<svg", b"<?xml")) and b"<svg" in head.lower():
        return "svg"
    if start.startswith((b"#extm3u", b"ffconcat", b"<mpd", b"v=0\r", b"v=0\n", b"[playlist]", b"[reference]")):
        return "playlist"
    if start.startswith((b"pk\x03\x04", b"7z\xbc\xaf", b"\x1f\x8b", b"rar!")):
        return "archive"
    if start.startswith((b"<!doctype html", b"<html", b"%pdf")):
        return "document"
    return ""


def reason_of(error: Exception, path: Path) -> str:
    """The message of an error on a file without the file's own name, in one line."""
    text = printable(" ".join(str(error).split()))
    for name in (str(path), path.name):
        text = text.removeprefix(f"{printable(name)}: ")
    return text

"""Files that somebody might upload to a service in order to break it, or by mistake: name → (content, what is said)."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from PIL import Image

from tests.data.prepare.films import face, moving, scene, write_video

Said = str
"""The verdict, or the code of why there is none; several with | between them."""


def png(pixels: np.ndarray, **options: object) -> bytes:
    """A picture as PNG."""
    return encoded(pixels, "PNG", **options)


def encoded(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    """A picture in a format."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def animation(kind: str) -> bytes:
    """Four frames."""
    frames = [Image.fromarray(np.full((32, 32, 3), 40 * i, np.uint8)) for i in range(4)]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def bomb(side: int = 30_000) -> bytes:
    """A PNG whose few bytes claim ``side`` × ``side`` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def archive(content: bytes) -> bytes:
    """A zip file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("inside.png", content)
    return buffer.getvalue()


def no_frames(folder: Path) -> bytes:
    """A video with a stream and nothing in it."""
    path = folder / "none.mkv"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        file.start_encoding()
    return path.read_bytes()


def sound(folder: Path) -> bytes:
    """An MP4 with sound alone."""
    path = folder / "sound.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=44100)
        for _ in range(8):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 44100
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path.read_bytes()


def billion(folder: Path) -> bytes:
    """An AVI whose header claims a billion frames; there are eight."""
    content = write_video(folder / "b.avi", moving(0, 8), codec="mjpeg", pixel_format="yuvj420p").read_bytes()
    for mark, offset in ((b"avih", 8 + 16), (b"strh", 8 + 32)):  # dwTotalFrames, dwLength
        place = content.index(mark) + offset
        content = content[:place] + struct.pack("<I", 10**9) + content[place + 4 :]
    return content


def unknown_codec(folder: Path) -> bytes:
    """An AVI of a kind that nobody knows."""
    film = write_video(folder / "u.avi", moving(0, 4), codec="mjpeg", pixel_format="yuvj420p")
    return film.read_bytes().replace(b"MJPG", b"ZZZZ")


def crowd() -> np.ndarray:
    """Forty faces."""
    parts = [(face(i, 96), 100 * (i % 8) + 2, 100 * (i // 8) + 2) for i in range(40)]
    return scene(*parts, size=(804, 504))


def turned() -> bytes:
    """A portrait lying on its side, which EXIF turns upright: 300 × 200 pixels as shown."""
    upright = scene((face(0, 150), 100, 25), size=(300, 200))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    return encoded(np.rot90(upright, 1).copy(), "JPEG", exif=exif.tobytes())


def files(folder: Path) -> dict[str, tuple[Callable[[], bytes], Said]]:
    """All of them; ``folder`` is for videos while they are made."""
    whole = scene((face(0, 150), 40, 20), size=(240, 200))

    def film(**options: object) -> bytes:
        return write_video(folder / "film.mp4", moving(0, 8), **options).read_bytes()

    return {
        "empty": (lambda: b"", "empty"),
        "truncated jpeg": (lambda: encoded(whole, "JPEG")[:2000], "damaged"),
        "truncated png": (lambda: png(whole)[:3000], "damaged"),
        "truncated mp4": (lambda: film()[:-2000], "inconclusive|damaged|no_frames|no face found"),
        "noise": (lambda: np.random.default_rng(0).bytes(50_000), "damaged"),
        "text": (lambda: b"hello " * 100, "damaged"),
        "png bomb": (bomb, "too_many_pixels"),
        "large and empty png": (lambda: png(np.zeros((6000, 6000, 3), np.uint8)), "no face found"),
        "animated gif": (lambda: animation("GIF"), "animated"),
        "animated webp": (lambda: animation("WEBP"), "animated"),
        "animated png": (lambda: animation("PNG"), "animated"),
        "svg": (lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', "svg"),
        "heic": (lambda: b"\0\0\0\x18ftypheic" + bytes(100), "heic"),
        "zip bomb": (lambda: archive(bytes(20_000_000)), "archive"),
        "html": (lambda: b"<!DOCTYPE html><script>alert(1)</script>", "document"),
        "picture and html": (lambda: encoded(whole, "JPEG") + b"<html><script>alert(1)</script>", "inconclusive"),
        "picture and zip": (lambda: png(whole) + archive(b"x"), "inconclusive"),
        "no frames": (lambda: no_frames(folder), "no_frames|damaged"),
        "ten hours": (lambda: film(times=[0, 40, 80, 120, 160, 200, 240, 36_000_000]), "too_long"),
        "hls of files": (lambda: b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n", "playlist"),
        "hls of addresses": (lambda: b"\n#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/x.ts\n", "playlist"),
        "concat": (lambda: b"ffconcat version 1.0\nfile /etc/passwd\n", "playlist"),
        "hidden playlist": (lambda: b"# x\nffconcat version 1.0\nfile /etc/passwd\n", "damaged"),
        "a billion frames": (lambda: billion(folder), "too_long"),
        "an unknown codec": (lambda: unknown_codec(folder), "no_frames"),
        "a face of eight pixels": (lambda: png(scene((face(0, 8), 300, 200), size=(640, 480))), "no face found"),
        "forty faces": (lambda: png(crowd()), "inconclusive"),
        "turned by exif": (turned, "inconclusive"),
        "varying frame rate": (lambda: film(times=[0, 40, 500, 2000, 2040, 2080, 5000, 5040]), "inconclusive"),
        "sound only": (lambda: sound(folder), "audio_only"),
        "sixteen bits": (lambda: png(whole[..., 0].astype(np.uint16) * 257), "inconclusive"),
    }

"""One picture file to one uint8 RGB array.

Every defect of a picture ends in a :class:`PictureError` that names the file, so that the caller can
count, report and leave out bad pictures instead of failing at the first one.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps

from dfbench.errors import DataError

SUFFIXES = frozenset({".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff"})
"""Suffixes (lower case) of the files that a folder source reads as pictures."""

VIDEOS = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv"})
"""Suffixes (lower case) of files that are videos: their frames must be extracted first."""

# Formats that PIL decodes by itself; for EPS, say, it would start Ghostscript on an untrusted file.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF")

_TURNED = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""


class PictureError(DataError):
    """One picture cannot be used; the message names it and says why."""


class Inspection(NamedTuple):
    """The SHA-256 of a picture's content, and the picture's size in pixels."""

    sha256: str
    height: int
    width: int


def read_picture(path: Path, name: str | None = None) -> np.ndarray:
    """Read one picture file.

    Args:
        path: the file.
        name: the picture's name in error messages; the path by default.

    Returns:
        uint8 array (H, W, 3), RGB, upright (EXIF orientation applied). Grey, palette, CMYK and
        16-bit pictures are converted, an alpha channel is dropped, the first frame of several is taken.

    Raises:
        PictureError: the file is missing, unreadable, truncated, not a picture, or a possible decompression bomb.
    """
    return decode_picture(read_bytes(path, name), name or str(path))


def read_bytes(path: Path, name: str | None = None) -> bytes:
    """Read the content of a file, with the error that a bad picture has.

    Raises:
        PictureError: the file cannot be read.
    """
    try:
        if path.exists() and not path.is_file():  # reading a pipe would wait for ever
            raise PictureError(f"{name or path}: not a file")
        return path.read_bytes()
    except OSError as error:
        raise PictureError(f"{name or path}: cannot be read ({error.strerror or error})") from None


def decode_picture(data: bytes, name: str) -> np.ndarray:
    """Decode the bytes of one picture file to the array that :func:`read_picture` returns.

    Raises:
        PictureError: as :func:`read_picture`.
    """
    image, _ = _load(data, name, draft=False)
    return np.asarray(_to_rgb(image, name))


def inspect_picture(data: bytes, name: str) -> Inspection:
    """Hash the bytes of one picture file and check that they decode.

    Returns:
        SHA-256 of the bytes, and the size of the upright picture.

    Raises:
        PictureError: as :func:`read_picture`.
    """
    image, (width, height) = _load(data, name, draft=True)
    if image.mode not in ("RGB", "L"):
        _to_rgb(image, name)
    return Inspection(hashlib.sha256(data).hexdigest(), height, width)


def resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize with PIL's bicubic filter, antialiased when shrinking; the aspect ratio is not kept.

    Args:
        pixels: uint8 (H, W, 3).

    Returns:
        uint8 (height, width, 3); the same array if it already has that size.
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def _load(data: bytes, name: str, *, draft: bool) -> tuple[Image.Image, tuple[int, int]]:
    """Decode a picture and turn it upright.

    Args:
        draft: decode a JPEG at an eighth of its size, which still reads all of its data, in half the time.

    Returns:
        the picture, and the (width, height) that it has at full size.
    """
    if not data:
        raise PictureError(f"{name}: the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL warns about odd metadata; size is judged below
            image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
            width, height = image.size
            limit = Image.MAX_IMAGE_PIXELS
            if limit is not None and width * height > limit:
                raise PictureError(f"{name}: {width}×{height} pixels are more than the limit of {limit}")
            if draft:
                image.draft(None, (1, 1))
            image.load()
            if image.getexif().get(ExifTags.Base.Orientation, 1) in _TURNED:
                width, height = height, width
            return ImageOps.exif_transpose(image), (width, height)
    except PictureError:
        raise
    except Image.DecompressionBombError:
        raise PictureError(f"{name}: too many pixels (a decompression bomb?)") from None
    except MemoryError:
        raise PictureError(f"{name}: too large for memory") from None
    except Exception as error:  # PIL raises nearly anything on damaged files
        reason = "not a picture" if isinstance(error, Image.UnidentifiedImageError) else _one_line(error)
        raise PictureError(f"{name}: {reason}") from None


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    """Convert any mode to 8-bit RGB, 16-bit grey by its upper eight bits."""
    if image.mode in ("I", "I;16", "I;16L", "I;16B", "I;16N"):
        values = np.asarray(image).astype(np.int64)
        if values.size and values.max() > 255:
            values >>= 8
        return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise PictureError(f"{name}: floating-point pictures are not supported, save it with 8 bits")
    return image.convert("RGB")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__

"""Any picture becomes uint8 RGB, or one line that says why not."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dfbench.data.pictures import PictureError, decode_picture, inspect_picture, read_picture, resize
from dfbench.errors import DataError

RED = (255, 0, 0)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("RGB", "PNG"), ("RGBA", "PNG"), ("P", "PNG"), ("RGB", "BMP"), ("RGB", "TIFF"), ("CMYK", "TIFF")],
)
def test_colour_pictures_of_every_mode_become_rgb(mode: str, kind: str) -> None:
    data = encoded(Image.new("RGB", (5, 4), RED).convert(mode), kind)
    pixels = decode_picture(data, "x")
    assert pixels.shape == (4, 5, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == RED).all()
    assert inspect_picture(data, "x")[1:] == (4, 5)


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_grey_pictures_become_rgb(mode: str) -> None:
    pixels = decode_picture(encoded(Image.new("L", (5, 4), 255).convert(mode)), "x")
    assert pixels.shape == (4, 5, 3)
    assert (pixels == 255).all()


def test_sixteen_bits_keep_their_upper_eight() -> None:
    grey = np.array([[0, 0x1234], [0x80FF, 0xFFFF]], np.uint16)
    pixels = decode_picture(encoded(Image.fromarray(grey)), "x")
    assert pixels[..., 0].tolist() == [[0, 0x12], [0x80, 0xFF]]


def test_exif_orientation_is_applied() -> None:
    image = Image.new("RGB", (40, 20))
    image.paste(RED, (0, 0, 20, 20))  # left half red; turned by 90° clockwise: upper half
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(image, "JPEG", exif=exif, quality=95)
    pixels = decode_picture(data, "x")
    assert pixels.shape == (40, 20, 3)
    assert pixels[5, 10, 0] > 200
    assert pixels[35, 10, 0] < 50
    assert inspect_picture(data, "x")[1:] == (40, 20)


def test_inspection_hashes_the_bytes() -> None:
    data = encoded(Image.new("RGB", (30, 17)), "JPEG")
    assert inspect_picture(data, "x") == (hashlib.sha256(data).hexdigest(), 17, 30)


def noise(kind: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return encoded(Image.fromarray(pixels), kind)


BROKEN = {
    "empty": (b"", "empty"),
    "text": (b"hello, I am no picture", "not a picture"),
    "cut JPEG": (noise("JPEG")[:-2000], "truncated"),
    "cut PNG": (noise("PNG")[:-2000], "truncated"),
    "floating point": (encoded(Image.new("F", (4, 4)), "TIFF"), "floating-point"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not a picture"),
}


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("look", [decode_picture, inspect_picture])
def test_broken_pictures_are_one_line_that_names_them(case: str, look: object) -> None:
    data, reason = BROKEN[case]
    with pytest.raises(PictureError) as caught:
        look(data, "faces/a.jpg")  # type: ignore[operator]
    message = str(caught.value)
    assert message.startswith("faces/a.jpg: ")
    assert reason in message
    assert "\n" not in message
    assert isinstance(caught.value, DataError)


def test_too_many_pixels_are_refused_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for side in (40, 100):  # PIL itself warns of the first and refuses the second
        with pytest.raises(PictureError, match=r"^x: .*pixels"):
            decode_picture(encoded(Image.new("RGB", (side, side))), "x")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"a\.png: cannot be read \(No such file"):
        read_picture(tmp_path / "a.png")


def test_resize_averages_on_the_way_down() -> None:
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    small = resize(np.repeat(board[..., None], 3, axis=2).astype(np.uint8), 8, 16)
    assert small.shape == (8, 16, 3)
    assert abs(small.astype(int) - 127).max() <= 8  # without antialiasing it would be 0 or 255

"""Decode pictures into the pixel file of a store.

Apart from :mod:`dfbench.data.store`, because worker processes import this module and should not load torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dfbench.data.pictures import resize
from dfbench.data.sources import Source, read_pixels
from dfbench.files import writing


def decode_into(shared: tuple[Source, Sequence[str], tuple[int, int], Path], start: int, stop: int) -> None:
    """Decode and resize the pictures ``start`` to ``stop`` (excluded), and write them to their place in the file.

    The file is written, not mapped: a full disk then raises an error instead of sending a deadly signal.

    Args:
        shared: source, names of all samples, (height, width), file of N×H×W×3 bytes.
        start: position of the first picture among all names.
        stop: position after the last picture.

    Raises:
        DataError: a picture cannot be decoded.
        StorageError: the file cannot be written.
    """
    source, names, (height, width), path = shared
    with writing(path):
        file = path.open("rb+")
        file.seek(start * height * width * 3)
    try:
        for name in names[start:stop]:
            pixels = resize(read_pixels(source, name), height, width).tobytes()
            with writing(path):  # not around the decoding: an OSError of the source is not a failed write
                file.write(pixels)
    finally:
        with writing(path):
            file.close()

"""Fill a range of a store's pixel file; a module without torch, because processes import it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dfbench.data.inspection import read_pixels
from dfbench.data.pictures import resize
from dfbench.data.sources import Source
from dfbench.files import writing


def decode_into(shared: tuple[Source, Sequence[str], tuple[int, int], Path], start: int, stop: int) -> None:
    """Decode, resize and write the pictures ``start`` to ``stop``.

    The file is written, not mapped: a full disk is then an error and not a deadly signal.

    :param shared: source, names of all samples, (height, width), file of N×H×W×3 bytes
    :raise DataError: a picture cannot be decoded
    :raise StorageError: the file cannot be written
    """
    source, names, (height, width), path = shared
    with writing(path):
        file = path.open("rb+")
        file.seek(start * height * width * 3)
    try:
        for name in names[start:stop]:
            pixels = resize(read_pixels(source, name), height, width).tobytes()
            with writing(path):
                file.write(pixels)
    finally:
        with writing(path):
            file.close()

"""Read one file of ``cifar-10-batches-py`` without trusting it.

The files of the original data set are Python pickles, and unpickling a hostile file runs whatever it
says. So this is not ``pickle.load``: the only globals that a file may name are the three that a numpy
array's pickle needs, and even they are not numpy's, but two inert classes that only store their
arguments. The array is then built from the stored bytes, after its shape and type were checked.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from dfbench.errors import DataError

_LARGEST = 200_000_000
"""Bytes per file; the real ones have 31 MB."""


class _Inert:
    """Stands for an object of the file: stores its arguments and state, and does nothing."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Array(_Inert):
    """Stands for ``numpy.ndarray``; its state is (version, shape, dtype, fortran order, bytes)."""


class _DType(_Inert):
    """Stands for ``numpy.dtype``; its first argument is the type's name."""


def _reconstruct(*arguments: Any) -> _Array:
    return _Array()


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """How protocol 2 spells bytes; no other codec than latin1 is needed (some, like zip, are bombs)."""
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise pickle.UnpicklingError("bytes in an unknown encoding")
    return text.encode("latin1")


_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _encode,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no CIFAR-10 file does") from None

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it has persistent ids, which no CIFAR-10 file has")


def read_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the pixels and labels of one batch file.

    Returns:
        uint8 (N, 3072) with the red, green and blue plane of each picture, and int64 (N,) labels.

    Raises:
        DataError: the file is missing, damaged or not a CIFAR-10 batch.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise DataError(f"{path}: too large for a CIFAR-10 batch")
        batch = _Reader(io.BytesIO(path.read_bytes()), encoding="bytes").load()
        pixels = _pixels(batch[b"data"])
        labels = np.array(batch[b"labels"], np.int64)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    except DataError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way
        reason = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise DataError(f"{path}: not a CIFAR-10 batch ({reason})") from None
    if labels.shape != (len(pixels),):
        raise DataError(f"{path}: {len(pixels)} pictures, but labels of shape {labels.shape}")
    return pixels, labels


def _pixels(array: Any) -> np.ndarray:
    if not isinstance(array, _Array) or not isinstance(array.state, tuple) or len(array.state) != 5:
        raise ValueError("'data' is not an array")
    _, shape, dtype, fortran, data = array.state
    if not isinstance(dtype, _DType) or dtype.arguments[:1] not in (("u1",), (b"u1",)):
        raise ValueError("'data' is not uint8")
    if not isinstance(shape, tuple) or len(shape) != 2 or shape[1] != 3072 or not isinstance(data, bytes):
        raise ValueError("'data' is not N×3072")
    return np.frombuffer(data, np.uint8).reshape(shape, order="F" if fortran else "C")

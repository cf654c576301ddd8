"""Where derived files lie, and how they are written so that no half-written one is ever found.

The root is ``$DFBENCH_CACHE``, or the user's cache folder. Everything below it can be deleted at any
time: it is made again when it is needed.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs

from dfbench.errors import StorageError

ENVIRONMENT = "DFBENCH_CACHE"


def cache_root() -> Path:
    """The cache folder (it need not exist yet)."""
    chosen = os.environ.get(ENVIRONMENT, "").strip()
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("dfbench"))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the ``OSError`` of a failed write into a one-line :class:`StorageError` about ``path``."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}; free some space, or set {ENVIRONMENT} to "
            "a folder where there is room and permission"
        ) from None


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file under another name and move it into place, so that it is whole or absent.

    :raise StorageError: it cannot be written
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            with suppress(OSError):
                temporary.unlink()

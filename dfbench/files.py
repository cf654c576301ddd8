"""Files that appear whole or not at all, their hashes, and the folder of what can be derived again.

Every file that dfbench writes goes through :func:`replacing`, so that a reader, a crash or a second process
finds the old content or the new one, never a part of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import platformdirs

from dfbench.errors import StorageError

CACHE_VARIABLE = "DFBENCH_CACHE"
"""Environment variable that names the cache folder."""


def cache_root() -> Path:
    """The cache folder: ``$DFBENCH_CACHE``, else the user's. It need not exist yet.

    Everything below it can be deleted at any time: it is derived again when it is needed.
    """
    chosen = os.environ.get(CACHE_VARIABLE, "").strip()
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("dfbench"))


@contextlib.contextmanager
def writing(path: Path, advice: str = "") -> Iterator[None]:
    """Turn the ``OSError`` of a failed write into a one-line :class:`StorageError`.

    Args:
        path: What is being written, for the message.
        advice: What to do about it. Without it, files below the cache folder get the advice to move the cache.
    """
    try:
        yield
    except OSError as error:
        if not advice and path.is_relative_to(cache_root()):
            advice = f"free some space, or set {CACHE_VARIABLE} to a folder where there is room and permission"
        reason = error.strerror or str(error)
        raise StorageError(f"cannot write {path}: {reason}{f'; {advice}' if advice else ''}") from error


@contextlib.contextmanager
def replacing(path: Path, advice: str = "") -> Iterator[Path]:
    """Yield a temporary path next to ``path``; what is written there takes the place of ``path`` at the end.

    The content is on disk before the name changes hands. After any error nothing is left behind and ``path``
    holds what it held before.

    Raises:
        StorageError: The file cannot be written.
    """
    temporary = path.with_name(f".{path.name[:80]}.{uuid.uuid4().hex}.part")
    with writing(path, advice):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()


def write_whole(path: Path, content: bytes, advice: str = "") -> None:
    """Write a file so that it is there whole or, after a crash, as it was before.

    Raises:
        StorageError: The file cannot be written.
    """
    with replacing(path, advice) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Any, advice: str = "") -> None:
    """Write a value as JSON, indented by one space; NaN and infinities are refused (``ValueError``)."""
    write_whole(path, json.dumps(value, indent=1, allow_nan=False).encode(), advice)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

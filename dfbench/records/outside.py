"""Text from outside: names in files of strangers, and what a server says. Checked here before it becomes a path or is
printed; everything that does either of the two uses these functions.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath
from typing import Any

from dfbench.errors import DataError, is_control

LONGEST_NAME = 200
"""Bytes of one part of a path: file systems take 255, and temporary names and suffixes are added to it."""
LARGEST = 2**63 - 1
"""Whole numbers beyond ±this are refused: neither Parquet nor JavaScript can hold them."""
LONGEST_TEXT = 200_000
"""Characters of one text."""
DEEPEST = 32
"""Levels of lists and objects in a value from outside."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)


def commit(value: object, where: str) -> str:
    """A commit of the Hub as text, once it is one.

    Args:
        value: What a server or an entry calls a commit.
        where: The repository, for the message.

    Raises:
        DataError: It is anything else than 40 hexadecimal digits.
    """
    if isinstance(value, str) and _COMMIT.fullmatch(value):
        return value
    stated = "no commit" if value in (None, "") else f"{str(value)[:60]!r} instead of a commit"
    raise DataError(
        f"{where}: the server states {stated} (40 hexadecimal digits); nothing was written: check HF_ENDPOINT"
    )


def path_problem(text: str) -> str | None:
    """What keeps a text from being a path inside a folder, on every system; None where nothing does."""
    parts = text.split("/")
    if not text or text.startswith("/") or "\\" in text or any(part in ("", ".", "..") for part in parts):
        return "is not a path inside the folder"
    if found := text_problem(text, lines=False):
        return f"is not a path: it {found}"
    if any(sign in text for sign in '<>:"|?*'):
        return 'is not a path on every system: it has a drive letter or one of the signs < > : " | ? *'
    for part in parts:
        if len(part.encode()) > LONGEST_NAME:
            return f"has a name of {len(part.encode())} bytes; {LONGEST_NAME} are allowed"
        if _RESERVED.fullmatch(part) or part[-1] in ". ":
            return f"is not a path on every system: Windows reserves or changes the name {part!r}"
    return None


def inside(text: str) -> str:
    """The same text, once it is a path inside a folder.

    Raises:
        ValueError: It would lead elsewhere, or is not a path on every system.
    """
    if problem := path_problem(text):
        shown = text if len(text) <= 80 else f"{text[:60]}…"
        raise ValueError(f"{shown!r} {problem}")
    return str(PurePosixPath(text))


def text_problem(text: str, lines: bool = True) -> str | None:
    """What keeps a text from being printed as it is; None where nothing does.

    Args:
        text: From outside.
        lines: Whether it may have several lines and tabs.
    """
    for char in "" if text.isprintable() else text:
        if is_control(char) and not (lines and char in "\n\t"):
            half = unicodedata.category(char) == "Cs"
            return f"has {'half of a' if half else 'the control'} character U+{ord(char):04X}"
    return None


def value_problem(value: Any, where: str = "") -> str | None:
    """What a JSON value from outside may not hold, and where; None where it holds nothing of the kind.

    Control characters and halves of characters in texts and keys, whole numbers of over 63 bits, values nested deeper
    than :data:`DEEPEST` levels.
    """
    if _harmless(value):
        return None
    waiting: list[tuple[Any, str, int]] = [(value, where, 0)]
    while waiting:
        item, place, depth = waiting.pop()
        if depth > DEEPEST:
            return f"{place[:80]}: nested deeper than {DEEPEST} levels"
        if isinstance(item, str):
            if len(item) > LONGEST_TEXT:
                return f"{place}: a text of {len(item)} characters; {LONGEST_TEXT} are allowed"
            if problem := text_problem(item):
                return f"{place}: {problem}"
        elif isinstance(item, dict):
            for key, inner in item.items():
                if problem := text_problem(str(key), lines=False):
                    return f"{place}: a key {problem}"
                waiting.append((inner, f"{place}.{key}" if place else str(key), depth + 1))
        elif isinstance(item, list | tuple):
            waiting += [(inner, f"{place}.{i}", depth + 1) for i, inner in enumerate(item)]
        elif isinstance(item, int) and abs(item) > LARGEST:
            return f"{place}: a whole number of over 63 bits"
    return None


def _harmless(value: Any) -> bool:
    """Whether there is surely nothing to look for: a first look, without places, that takes a fifth of the time."""
    level = [value]
    for _ in range(DEEPEST + 1):
        below: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is str:
                if len(item) > LONGEST_TEXT or not item.isprintable():
                    return False
            elif kind is dict:
                if not all(type(key) is str and key.isprintable() for key in item):
                    return False
                below += item.values()
            elif kind is list or kind is tuple:
                below += item
            elif kind is int:
                if abs(item) > LARGEST:
                    return False
            elif kind is not float and kind is not bool and item is not None:
                return False
        if not below:
            return True
        level = below
    return False

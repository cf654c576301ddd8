"""Errors that a user can act on, with their exit codes.

Every error that bad input can cause is a :class:`DfbenchError`: one line that says what is wrong,
where, and what to do. The command line prints that line without a traceback (``--debug`` shows it)
and ends with the error's ``exit_code``. The codes are listed in ``docs/cli.md``.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""They turn the direction of writing, so that a name reads as another one."""


def is_control(char: str) -> bool:
    """Whether a character steers a terminal or a reader instead of being seen, or is half of one (a surrogate)."""
    return unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or char in _DIRECTIONS


def printable(text: str) -> str:
    r"""The text with control characters other than line ends and tabs written out.

    >>> print(printable("a\x1b[31mb"))
    a\x1b[31mb
    """
    if text.isprintable():
        return text
    return "".join(ascii(c)[1:-1] if is_control(c) and c not in "\n\t" else c for c in text)


def shown(text: str) -> str:
    r"""The text in one line, control characters written out: names and texts of plugins, for listings.

    >>> print(shown("two\nlines\x1b[2J"))
    two lines\x1b[2J
    """
    return printable(" ".join(text.split()))


class DfbenchError(Exception):
    """A failure that the user can fix; the message is one line."""

    exit_code = 1

    def __str__(self) -> str:
        """The message; names from files of strangers may be in it, so control characters are written out."""
        return printable(super().__str__())


class UsageError(DfbenchError):
    """A name, an option or a value is unknown or not allowed."""

    exit_code = 2


class DataError(DfbenchError):
    """Data are missing, damaged, or break a rule (one class only, an identity in two splits, …)."""

    exit_code = 3


class PluginError(DfbenchError):
    """A plugin is broken or blocked, or registers a name that another one has registered."""

    exit_code = 4


class IncompatibleError(DfbenchError):
    """This detector and this strategy cannot work together; nothing was trained."""

    exit_code = 5


class StorageError(DfbenchError):
    """A file cannot be written or read back (permissions, full disk, damaged checkpoint)."""

    exit_code = 6


class HubError(DfbenchError):
    """The Hugging Face Hub cannot be reached, or refuses (token, gated repository, somebody else's push)."""

    exit_code = 7


class Interrupted(DfbenchError):
    """Ctrl-C, with advice on how to continue."""

    exit_code = 130


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for an unknown name, with the nearest known ones.

    >>> str(unknown("strategy", "reply", ["replay", "naive"]))
    "unknown strategy 'reply': did you mean 'replay'? Known: naive, replay"
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    hint = f" did you mean {' or '.join(map(repr, near))}?" if near else ""
    return UsageError(f"unknown {kind} {name!r}:{hint} Known: {', '.join(names) or 'none'}")


def in_one_line(error: BaseException) -> str:
    """The message with its lines joined; empty where there is none.

    >>> in_one_line(ValueError("weights not found:\\n  w.pth"))
    'weights not found: w.pth'
    """
    return " ".join(str(error).split())


def first_problem(error: ValidationError) -> str:
    """The first problem that pydantic found, as ``field.path: message``, or the message alone for the model itself.

    A path has dots, and the index for an item of a list: ``experiences.0.name``. The prefix "Value error, ", which
    pydantic puts before the messages of our own validators, is removed.
    """
    first = error.errors()[0]
    path = ".".join(map(str, first["loc"]))
    message = first["msg"].removeprefix("Value error, ")
    return f"{path}: {message}" if path else message

"""Errors a user can act on, and the exit code of each.

Every error that bad input can cause is a :class:`DfbenchError`: one line that says what is wrong,
where, and what to do. The command line prints that line without a traceback (``--debug`` shows it)
and ends with the error's ``exit_code``. The codes are listed in ``docs/cli.md``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DfbenchError(Exception):
    """Something went wrong that the user can mend; the message is one line."""

    exit_code = 1


class UsageError(DfbenchError):
    """A name, an option or a value is not one that dfbench knows."""

    exit_code = 2


class DataError(DfbenchError):
    """Data are missing, damaged, or break a rule (one class only, an identity in two splits, …)."""

    exit_code = 3


class PluginError(DfbenchError):
    """A plugin is broken, blocked, or registers a name that another one has."""

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
    """Ctrl-C, where there is something to say about going on."""

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

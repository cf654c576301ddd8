"""What the environment says of the processes that ``torchrun`` has started; without importing torch."""

from __future__ import annotations

import os

from dfbench.errors import DfbenchError


class FirstFailed(DfbenchError):
    """The first of several processes failed, and has said why."""


def started_by_torchrun() -> bool:
    """Whether this process is one of several that ``torchrun`` has started."""
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def reports() -> bool:
    """Whether this process is the one that writes and reports: the first of several, or the only one."""
    return not started_by_torchrun() or os.environ["RANK"] == "0"


def speaker(joined: bool) -> str | None:
    """How an error of this process is introduced; None where another one has the same to say.

    Args:
        joined: whether the processes are connected. Before that they all find the same errors, or those of their
            machine.
    """
    if reports():
        return ""
    if joined or os.environ.get("LOCAL_RANK") == "0":
        return f"process {os.environ['RANK']}: "
    return None

"""Examples below the help of each command."""

from __future__ import annotations


def examples(*lines: str) -> str:
    """The epilog of a command.

    Args:
        lines: What can be typed, from ``dfbench`` on.
    """
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)

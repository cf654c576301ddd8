"""Freed memory stays with the process, so that the next batch need not have it from the system again."""

from __future__ import annotations

import ctypes
import sys

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
"""glibc's names of what ``mallopt`` sets (``malloc.h``)."""
LARGEST = 32 << 20
"""The largest block, in bytes, that glibc lets come from the heap."""
STEP = 256 << 20
"""How much the heap grows by at a time; pages that are not touched cost nothing."""


def keep_freed_memory() -> bool:
    """Let glibc's ``malloc`` keep what is freed; whether that was possible (Linux with glibc).

    By default every block above a bound (128 KiB to 32 MiB, it moves) comes from the system and goes back to it at
    once. An activation of a network on a CPU is such a block, so the kernel zeroes its pages again for every batch.
    What is in use is not changed by this, nor any result.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    return all([mallopt(MMAP_THRESHOLD, LARGEST), mallopt(TRIM_THRESHOLD, 2**31 - 1), mallopt(TOP_PAD, STEP)])

"""Importing a plugin's code: what it prints is no result, its streams are not ours, and one that hangs is named."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

from dfbench.errors import Interrupted

SLOW = 5.0
"""Seconds after which a line on stderr names the plugin that is being imported."""
SLOW_TARGET = 60.0
"""The same for what a plugin registered: it may import torch, which takes its time on a busy machine."""


class _Shield:
    """A stream that can be written to and not closed."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def close(self) -> None:
        """The stream is not the plugin's to close."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def importing(name: str, distribution: str, target: bool = False) -> Iterator[None]:
    """Import code of a plugin: its prints go to stderr, and afterwards both streams are what they were.

    Args:
        name: Of the plugin's entry point.
        distribution: That has it.
        target: Whether it is a target, not the plugin's module.

    Raises:
        Interrupted: Ctrl-C; the message names the plugin.
    """
    out, err = sys.stdout, sys.stderr
    what = f"plugin {name!r} ({distribution})"
    advice = f"DFBENCH_DISABLE_PLUGINS={name} starts without it"
    timer = threading.Timer(
        SLOW_TARGET if target else SLOW, lambda: print(f"still importing {what}; {advice}", file=err, flush=True)
    )
    timer.daemon = True
    timer.start()
    sys.stdout = sys.stderr = _Shield(err)  # type: ignore[assignment]
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted(f"interrupted while importing {what}; {advice}") from error
    finally:
        timer.cancel()
        sys.stdout, sys.stderr = out, err

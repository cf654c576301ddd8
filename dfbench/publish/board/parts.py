"""Data in a page, and in the scripts that it loads."""

from __future__ import annotations

import json
from typing import Any

DATA = "data"
"""The folder of these scripts, next to the page."""


def embedded(value: Any) -> str:
    """JSON that may stand inside a script element, whatever texts are in it."""
    plain = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        plain = plain.replace(character, f"\\u{ord(character):04x}")
    return plain


def part(name: str, value: Any) -> str:
    """A script that hands a value to the page as one text of JSON, so that no key of it means anything to a browser.

    Args:
        name: Its path below :data:`DATA`, without ``.js``.
        value: What JSON can hold.
    """
    quoted = embedded(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"dfbenchPart('{name}', '{quoted}')\n"

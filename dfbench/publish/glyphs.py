"""Names in any script: fonts that have their letters, and numbers where no font has and nothing else can be drawn."""

from __future__ import annotations

import contextlib
import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontEntry

MAIN = "DejaVu Sans"
UNFIT = ("Last Resort", "STIXSize", "cm", "DejaVu Sans Display", "DejaVu Serif Display")
"""How the names of fonts begin that draw boxes, or parts of formulas."""


def fallbacks(text: str) -> tuple[str, ...]:
    """Installed fonts that together have the letters that the main one lacks, as far as there are any."""
    return _fallbacks(frozenset(text) - _letters(MAIN) - frozenset("\n"))[0]


def unwritable(names: Sequence[str]) -> dict[str, str]:
    """The names with letters that no installed font has, and what is drawn for each: ``[2]`` for the second name."""
    lacking = _lacking("".join(names))
    plain = Substitutes(names, lacking)
    return {name: plain(name) for name in names if lacking & set(name)}


class Substitutes:
    """Writes each part of a text that cannot be drawn as a number in brackets.

    Args:
        names: In order; what cannot be drawn of the second name is ``[2]``. Other parts get further numbers.
        lacking: Letters that cannot be drawn.
    """

    def __init__(self, names: Sequence[str], lacking: frozenset[str]) -> None:
        self._parts = re.compile(f"[{re.escape(''.join(sorted(lacking)))}]+") if lacking else None
        firsts = [self._parts.search(name) for name in names] if self._parts else []
        self._known = [found.group() if found else "" for found in firsts]

    def __call__(self, text: str) -> str:
        """The text as it can be drawn."""
        return self._parts.sub(lambda found: f"[{self._number(found.group())}]", text) if self._parts else text

    def _number(self, part: str) -> int:
        for number, known in enumerate(self._known, 1):
            if known.startswith(part):  # a label may be cut
                return number
        self._known.append(part)
        return len(self._known)


@contextlib.contextmanager
def drawable(figure: Figure, names: Sequence[str]) -> Iterator[None]:
    """While inside, the figure's texts hold only what installed fonts have; see :class:`Substitutes`."""
    from matplotlib.text import Text
    from matplotlib.ticker import FixedLocator

    axes = [axis for each in figure.axes for axis in (each.xaxis, each.yaxis)]
    ticks = [(axis, [label.get_text() for label in axis.get_ticklabels()]) for axis in axes
             if isinstance(axis.get_major_locator(), FixedLocator)]  # fmt: skip
    texts = [(artist, artist.get_text()) for artist in figure.findobj(Text) if isinstance(artist, Text)]
    plain = Substitutes(names, _lacking("".join(text for _, text in texts)))
    for axis, labels in ticks:
        if (drawn := [plain(label) for label in labels]) != labels:
            axis.set_ticklabels(drawn)
    for artist, text in texts:
        artist.set_text(plain(text))
    yield
    for artist, text in texts:
        artist.set_text(text)
    for axis, labels in ticks:
        if any(plain(label) != label for label in labels):
            axis.set_ticklabels(labels)


def _lacking(text: str) -> frozenset[str]:
    return _fallbacks(frozenset(text) - _letters(MAIN) - frozenset("\n"))[1]


@functools.cache
def _fallbacks(missing: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Fonts for these letters, and the letters that none of them has."""
    found: list[str] = []
    for name in _families() if missing else ():
        if missing & _letters(name):
            found.append(name)
            missing -= _letters(name)
        if not missing:
            break
    return tuple(found), missing


def _families() -> Iterable[str]:
    """Names of usable fonts; those made for several scripts first."""
    from matplotlib import font_manager

    names = {font.name for font in font_manager.fontManager.ttflist if not font.name.startswith(UNFIT)}
    return sorted(names - {MAIN}, key=lambda name: ("CJK" not in name, "Sans" not in name, name))


@functools.cache
def _letters(family: str) -> frozenset[str]:
    from matplotlib import font_manager

    def upright(font: FontEntry) -> tuple[bool, bool]:
        return font.style != "normal", font.weight not in (400, "normal", "regular")

    fonts = sorted((f for f in font_manager.fontManager.ttflist if f.name == family), key=upright)
    maps = (font_manager.get_font(font.fname).get_charmap() for font in itertools.islice(fonts, 1))
    return frozenset(chr(code) for each in maps for code in each)

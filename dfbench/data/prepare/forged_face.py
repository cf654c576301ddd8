"""Which of several faces was forged: the one in the masks, else the one in which fake and real differ."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from dfbench.data.prepare.item import Item
from dfbench.data.prepare.kept_frames import KeptFrames, opened
from dfbench.data.prepare.media import Media
from dfbench.data.prepare.tracks import Track, share_inside

COMPARED = 6
"""Frames in which masks, or a fake and its real, are compared to see which face was forged."""


def seen_together(tracks: Sequence[Track]) -> bool:
    """Whether two faces are there at the same time."""
    ordered = sorted(tracks, key=lambda track: track.start)
    return any(one.stop > other.start for one, other in itertools.pairwise(ordered))


def forged_shares(
    item: Item, together: Sequence[Item], media: Mapping[str, Media | str], frames: KeptFrames, tracks: Sequence[Track]
) -> tuple[list[float] | None, str]:
    """How much of each track was forged, by masks where there are some, else by the difference of fake and real."""
    fakes = [item] if item.label else list(together)
    totals = np.zeros(len(tracks))
    for fake in fakes:
        if fake.mask is not None:
            mask = opened(Item(fake.mask, "", 1, fake.split, "", None, None, None), 1)
            if not isinstance(mask, str):
                totals += _inside(mask, None, frames, tracks)
    if totals.any():
        return totals.tolist(), "the masks show"
    for fake in together:
        medium = media[fake.video]
        if not isinstance(medium, str):
            totals += _inside(medium, frames, frames, tracks)
    if totals.any():
        return totals.tolist(), "differs between fake and real"
    return None, "is largest"


def _inside(changed: Media, original: KeptFrames | None, frames: KeptFrames, tracks: Sequence[Track]) -> np.ndarray:
    """For each track the share of the changed area that lies in its boxes, summed over a few frames."""
    positions = np.unique(np.linspace(0, len(frames.numbers) - 1, COMPARED).round().astype(int)).tolist()
    numbers = [frames.numbers[p] for p in positions if frames.numbers[p] < changed.facts.frames]
    width, height = frames.facts.width, frames.facts.height
    scale = min(1.0, 480 / max(width, height))
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    before = {n: f.pixels(*size) for n, f in original.frames(numbers)} if original is not None else {}
    totals = np.zeros(len(tracks))
    for number, frame in changed.frames(numbers):
        now = frame.pixels(*size).astype(np.float64)
        if original is None:
            areas = now.mean(axis=2) * (now.mean(axis=2) > 127)
        elif number in before:
            # Compression changes every pixel a little; a forgery changes a face a lot.
            areas = np.clip(np.abs(now - before[number]).mean(axis=2) - 8, 0, None)
        else:
            continue
        position = frames.numbers.index(number)
        for i, track in enumerate(tracks):
            if track.start <= position < track.stop:
                totals[i] += share_inside(areas, track.at(position) * scale)
    return totals

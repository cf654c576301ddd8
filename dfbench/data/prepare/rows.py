"""From tracks to squares, and from squares to the rows of a prepared set."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from dfbench.data.prepare.crops import Square, around, encode, square
from dfbench.data.prepare.item import Item
from dfbench.data.prepare.kept_frames import KeptFrames
from dfbench.data.prepare.media import Facts, Frame
from dfbench.data.prepare.options import Options
from dfbench.data.prepare.tracks import Track

Squares = dict[int, Square]
"""Frame number → where it is cropped."""


def squares_of(
    chosen: Sequence[Track], clips: Sequence[Sequence[int]], frames: KeptFrames, facts: Facts, options: Options
) -> Squares:
    """A square for each frame that has a face; a clip has one for all its frames, or is left out."""
    place = {number: position for position, number in enumerate(frames.numbers)}
    squares: Squares = {}
    for clip in clips:
        positions = [place[number] for number in clip if number in place]
        if len(positions) < len(clip):
            continue
        track = next((t for t in chosen if t.start <= positions[0] and positions[-1] < t.stop), None)
        if track is not None:
            box = around(np.stack([track.at(position) for position in positions]))
            where = square(box, options.margin, facts.width, facts.height)
            squares |= dict.fromkeys(clip, where)
    return squares


def row_of(item: Item, number: int, where: Square, frame: Frame, options: Options) -> dict[str, Any]:
    crop = encode(frame.pixels(), where, options.size, options.quality)
    real = item.video if not item.label else item.pair
    return {
        "sample": f"{item.video}/{number:06d}",
        "label": item.label,
        "source": item.source or options.source,
        "method": item.method,
        "identity": item.identity or "",
        "video": item.video,
        "frame": number,
        "pair": f"{real}/{number:06d}" if real else "",
        "split": item.split,
        "sha256": hashlib.sha256(crop).hexdigest(),
        "x": where.x,
        "y": where.y,
        "side": where.side,
        "image": {"bytes": crop, "path": None},
    }


def whole_clips(rows: list[dict[str, Any]], length: int) -> list[dict[str, Any]]:
    """Without clips that lost a frame; clips are runs of ``length`` consecutive numbers."""
    kept: list[dict[str, Any]] = []
    run: list[dict[str, Any]] = []
    for row in rows:
        if run and row["frame"] != run[-1]["frame"] + 1:
            run = []
        run.append(row)
        if len(run) == length:
            kept, run = kept + run, []
    return kept

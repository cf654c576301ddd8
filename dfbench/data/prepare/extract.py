"""From the items of one group to their rows: decode, find faces, join them to tracks, crop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dfbench.data.prepare.crops import square
from dfbench.data.prepare.faces import FaceDetector
from dfbench.data.prepare.forged_face import forged_shares, seen_together
from dfbench.data.prepare.item import Item
from dfbench.data.prepare.kept_frames import KeptFrames, opened
from dfbench.data.prepare.media import Facts, Media, MediaError
from dfbench.data.prepare.options import Options, spread
from dfbench.data.prepare.plan import Group
from dfbench.data.prepare.rows import Squares, row_of, squares_of, whole_clips
from dfbench.data.prepare.searching import find_tracks
from dfbench.data.prepare.tracks import choose


@dataclass
class Extract:
    """What was made of one item.

    Attributes:
        item: the item.
        rows: one mapping per crop, as :mod:`dfbench.data.prepare.shards` stores them.
        wanted: frames that were asked for.
        facts: of the video; None where it could not be opened.
        notes: what is odd, in words.
        error: why there are no rows; empty where there are some.
    """

    item: Item
    rows: list[dict[str, Any]] = field(default_factory=list)
    wanted: int = 0
    facts: Facts | None = None
    notes: list[str] = field(default_factory=list)
    error: str = ""


def extract(
    group: Group, options: Options, detector: Callable[[], FaceDetector], known: Mapping[str, Squares], threads: int = 1
) -> Iterator[Extract]:
    """The items of a group, one after another; those that are done already are left out.

    Args:
        group: the group.
        options: how to crop.
        detector: makes the face detector, when one is needed.
        known: ``video`` → squares of the items that are done already; none where they failed.
        threads: of the decoder.
    """
    media: dict[str, Media | str] = {item.video: opened(item, threads) for item in group.items}
    lead = media[group.lead.video]
    together = [item for item in group.aligned if not isinstance(lead, str) and _fits(lead, media[item.video])]
    squares: Squares = dict(known.get(group.lead.video, {}))
    if group.lead.video not in known:
        if isinstance(lead, str):
            yield Extract(group.lead, error=lead)
        else:
            count = min(_count(media[item.video]) for item in [group.lead, *together])
            done, squares = _searched(group.lead, lead, count, together, media, options, detector)
            yield done
    for item in group.aligned:
        if item.video in known:
            continue
        medium = media[item.video]
        if isinstance(medium, str):
            yield Extract(item, error=medium)
        elif item in together and squares:
            yield _cropped(item, medium, squares, options, _facts_notes(medium), len(squares))
        else:
            done, _ = _searched(item, medium, medium.facts.frames, [], media, options, detector)
            if not isinstance(lead, str) and item not in together:
                done.notes.append("not aligned with its real (another size or length); cropped by its own faces")
                done.rows = [row | {"pair": ""} for row in done.rows]
            yield done


def _count(medium: Media | str) -> int:
    assert not isinstance(medium, str)
    return medium.facts.frames


def _fits(lead: Media, medium: Media | str) -> bool:
    """Whether a fake can share the boxes of its real: the same size, and at least half as many frames."""
    if isinstance(medium, str):
        return False
    mine, its = lead.facts, medium.facts
    return (mine.width, mine.height) == (its.width, its.height) and 2 * its.frames >= mine.frames


def _facts_notes(medium: Media) -> list[str]:
    return [medium.facts.note] if medium.facts.note else []


def _searched(
    item: Item,
    medium: Media,
    count: int,
    together: Sequence[Item],
    media: Mapping[str, Media | str],
    options: Options,
    detector: Callable[[], FaceDetector],
) -> tuple[Extract, Squares]:
    """Search an item's faces and crop them; with the squares of its frames."""
    clips = spread(count, options.frames, options.clip)
    notes = _facts_notes(medium)
    wanted = sum(map(len, clips))
    if not clips:
        return Extract(item, facts=medium.facts, error=f"{count} frames are too few for a clip of {options.clip}"), {}
    if item.cropped:
        whole = square(
            np.array([0, 0, medium.facts.width, medium.facts.height]), 1, medium.facts.width, medium.facts.height
        )
        squares = {number: whole for clip in clips for number in clip}
        return _cropped(item, medium, squares, options, notes, wanted), squares
    frames = KeptFrames(medium, [number for clip in clips for number in clip])
    try:
        tracks = find_tracks(frames, clips, detector())
    except MediaError as error:
        return Extract(item, wanted=wanted, facts=medium.facts, notes=notes, error=str(error)), {}
    if not tracks:
        return Extract(item, wanted=wanted, facts=medium.facts, notes=notes, error="no face was found"), {}
    forged = None
    if seen_together(tracks):
        forged, how = forged_shares(item, together, media, frames, tracks)
        notes.append(f"several faces; the one that {how} is cropped")
    chosen = choose(tracks, forged)
    squares = squares_of(chosen, clips, frames, medium.facts, options)
    if not squares:
        return Extract(item, wanted=wanted, facts=medium.facts, notes=notes, error="no face stays for a whole clip"), {}
    return _cropped(item, frames, squares, options, notes, wanted, medium.facts), squares


def _cropped(
    item: Item,
    medium: Media | KeptFrames,
    squares: Squares,
    options: Options,
    notes: list[str],
    wanted: int,
    facts: Facts | None = None,
) -> Extract:
    """The rows of an item whose squares are known."""
    done = Extract(item, wanted=wanted, facts=facts or medium.facts, notes=notes)
    numbers = [number for number in sorted(squares) if number < medium.facts.frames]
    try:
        for number, frame in medium.frames(numbers):
            done.rows.append(row_of(item, number, squares[number], frame, options))
    except MediaError as error:
        done.rows, done.error = [], str(error)
    if options.clip:  # a clip is whole or is not there
        done.rows = whole_clips(done.rows, options.clip)
    if not done.rows and not done.error:
        done.error = "none of the wanted frames can be decoded"
    return done

"""From the items of one group to their rows: decode, find faces, join them to tracks, crop."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dfbench.data.prepare.crops import Square, around, encode, square
from dfbench.data.prepare.decoding import Video
from dfbench.data.prepare.faces import FaceDetector, find_faces
from dfbench.data.prepare.item import Item
from dfbench.data.prepare.media import Facts, Frame, Media, MediaError
from dfbench.data.prepare.options import Options, spread
from dfbench.data.prepare.plan import Group
from dfbench.data.prepare.stills import Pictures
from dfbench.data.prepare.tracks import Track, build_tracks, choose, scene_changes, share_inside

KEEP = 256 << 20
"""Bytes of decoded frames that are kept between the search for faces and the cropping; more are decoded twice."""
CLIP_STEP = 4
"""In a clip faces are searched in every fourth frame and the last; in between boxes are interpolated."""
COMPARED = 6
"""Frames in which masks, or a fake and its real, are compared to see which face was forged."""
THUMBNAIL = 32


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


Squares = dict[int, Square]
"""Frame number → where it is cropped."""


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
    media: dict[str, Media | str] = {item.video: _opened(item, threads) for item in group.items}
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


def _opened(item: Item, threads: int) -> Media | str:
    """What an item names, or why it cannot be opened."""
    if not item.path.exists():
        return "the link leads nowhere" if item.path.is_symlink() else "there is no such file"
    try:
        return Video(item.path, threads) if item.kind == "video" else Pictures(item.path)
    except MediaError as error:
        return str(error)


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
    frames = _Frames(medium, [number for clip in clips for number in clip])
    try:
        tracks = _tracks(frames, clips, detector())
    except MediaError as error:
        return Extract(item, wanted=wanted, facts=medium.facts, notes=notes, error=str(error)), {}
    if not tracks:
        return Extract(item, wanted=wanted, facts=medium.facts, notes=notes, error="no face was found"), {}
    forged = None
    if _together(tracks):
        forged, how = _forged(item, together, media, frames, tracks)
        notes.append(f"several faces; the one that {how} is cropped")
    chosen = choose(tracks, forged)
    squares = _squares(chosen, clips, frames, medium.facts, options)
    if not squares:
        return Extract(item, wanted=wanted, facts=medium.facts, notes=notes, error="no face stays for a whole clip"), {}
    return _cropped(item, frames, squares, options, notes, wanted, medium.facts), squares


class _Frames:
    """The wanted frames of a medium: kept where they fit into :data:`KEEP`, else decoded for every pass."""

    def __init__(self, medium: Media, numbers: list[int]) -> None:
        self.facts = medium.facts
        self.numbers = numbers
        self._medium = medium
        self._kept: dict[int, Frame] | None = {}

    def frames(self, numbers: Sequence[int]) -> Iterator[tuple[int, Frame]]:
        """As :meth:`Media.frames`."""
        if self._kept is not None and all(number in self._kept for number in numbers):
            yield from ((number, self._kept[number]) for number in numbers)
            return
        size = 0
        for number, frame in self._medium.frames(numbers):
            size += frame.bytes
            if size > KEEP:
                self._kept = None
            elif self._kept is not None:
                self._kept[number] = frame
            yield number, frame


def _tracks(frames: _Frames, clips: Sequence[Sequence[int]], detector: FaceDetector) -> list[Track]:
    """Tracks over the frames that can be decoded; ``frames.numbers`` becomes these.

    Raises:
        MediaError: none of them can be decoded.
    """
    searched = {number for clip in clips for number in [*clip[::CLIP_STEP], clip[-1]]}
    numbers: list[int] = []
    found: list[np.ndarray | None] = []
    thumbnails: list[np.ndarray] = []
    waiting: list[tuple[int, Frame]] = []
    facts = frames.facts

    def search() -> None:
        for (place, _), boxes in zip(
            waiting, find_faces([frame for _, frame in waiting], facts.width, facts.height, detector), strict=True
        ):
            found[place] = boxes
        waiting.clear()

    for number, frame in frames.frames(frames.numbers):
        numbers.append(number)
        thumbnails.append(frame.pixels(THUMBNAIL, THUMBNAIL))
        found.append(None)
        if number in searched:
            waiting.append((len(found) - 1, frame))
            if len(waiting) == 16:
                search()
    search()
    frames.numbers = numbers
    if not numbers:
        raise MediaError("none of the wanted frames can be decoded")
    return build_tracks(found, scene_changes(thumbnails))


def _together(tracks: Sequence[Track]) -> bool:
    """Whether two faces are there at the same time."""
    ordered = sorted(tracks, key=lambda track: track.start)
    return any(one.stop > other.start for one, other in itertools.pairwise(ordered))


def _forged(
    item: Item, together: Sequence[Item], media: Mapping[str, Media | str], frames: _Frames, tracks: Sequence[Track]
) -> tuple[list[float] | None, str]:
    """How much of each track was forged, by masks where there are some, else by the difference of fake and real."""
    fakes = [item] if item.label else list(together)
    totals = np.zeros(len(tracks))
    for fake in fakes:
        if fake.mask is not None:
            mask = _opened(Item(fake.mask, "", 1, fake.split, "", None, None, None), 1)
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


def _inside(changed: Media, original: _Frames | None, frames: _Frames, tracks: Sequence[Track]) -> np.ndarray:
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


def _squares(
    chosen: Sequence[Track], clips: Sequence[Sequence[int]], frames: _Frames, facts: Facts, options: Options
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


def _cropped(
    item: Item,
    medium: Media | _Frames,
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
            done.rows.append(_row(item, number, squares[number], frame, options))
    except MediaError as error:
        done.rows, done.error = [], str(error)
    if options.clip:  # a clip is whole or is not there
        done.rows = _whole_clips(done.rows, options.clip)
    if not done.rows and not done.error:
        done.error = "none of the wanted frames can be decoded"
    return done


def _row(item: Item, number: int, where: Square, frame: Frame, options: Options) -> dict[str, Any]:
    crop = encode(frame.pixels(), where, options.size, options.quality)
    real = item.video if not item.label else item.pair
    return {
        "sample": f"{item.video}/{number:06d}",
        "label": item.label,
        "source": options.source,
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


def _whole_clips(rows: list[dict[str, Any]], length: int) -> list[dict[str, Any]]:
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

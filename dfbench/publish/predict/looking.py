"""The first half of judging a file: open it, find its faces, cut them out. No network of a checkpoint is needed for it.

It imports no torch, so that ``dfbench serve`` can do it in small processes that hold nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from dfbench.data.prepare.faces import FaceDetector
from dfbench.data.prepare.media import Facts, MediaError
from dfbench.errors import DataError
from dfbench.publish.predict.faces import Found, find
from dfbench.publish.predict.inputs import Limits, Unsupported, open_medium, reason_of
from dfbench.publish.predict.judgement import Judgement


@dataclass(frozen=True)
class Options:
    """How files are judged.

    Attributes:
        frames: That are looked at in a video, evenly spread over it.
        limits: What a file may be at most.
        threads: Of the video decoder.
    """

    frames: int = 32
    limits: Limits = field(default_factory=Limits)
    threads: int = 1


@dataclass(frozen=True)
class Recipe:
    """How a checkpoint wants faces to be cut.

    Attributes:
        model: Its name, for messages.
        clip: 0, or the length of the clips that it judges.
        margin: Side of a crop as a multiple of the face's longer side.
        size: (height, width) of the crops; None: :data:`dfbench.publish.predict.faces.AS_IT_IS`.
    """

    model: str
    clip: int
    margin: float
    size: tuple[int, int] | None


@dataclass
class Seen:
    """A file that was looked at: what it is, and its faces."""

    facts: Facts
    found: Found


def look(
    path: Path,
    recipe: Recipe,
    detector: FaceDetector,
    options: Options,
    progress: Callable[[int, int], None] | None = None,
) -> Seen:
    """Find the faces of a file.

    Args:
        path: The picture or video.
        recipe: How the checkpoint wants them.
        detector: Finds faces.
        options: How much is looked at.
        progress: Receives (frames looked at, frames wanted).

    Raises:
        Unsupported: The file is of a kind that is not judged, or beyond a limit.
        MediaError: It is damaged.
    """
    medium = open_medium(path, options.limits, options.threads)
    if recipe.clip and medium.facts.frames < recipe.clip:
        raise Unsupported(
            f"{recipe.model} judges clips of {recipe.clip} frames; this has {medium.facts.frames}",
            "too_short",
            needed=recipe.clip,
            frames=medium.facts.frames,
        )
    found = find(
        medium,
        detector,
        frames=options.frames,
        clip=recipe.clip,
        margin=recipe.margin,
        size=recipe.size,
        progress=progress,
    )
    return Seen(medium.facts, found)


def refusal(error: Exception, path: Path) -> Judgement:
    """What is said of a file that could not be looked at, whatever was raised."""
    if isinstance(error, MemoryError):
        return Judgement("not supported", "too large for memory", code="memory")
    reason = reason_of(error, path)
    if isinstance(error, Unsupported):
        return Judgement("not supported", reason, code=error.code, values=error.values)
    if isinstance(error, DataError):  # of the medium
        return Judgement("not supported", reason, code=error.code if isinstance(error, MediaError) else "damaged")
    # A fault of a library with a hostile file, or ours: one line, never the end.
    return Judgement("not supported", f"unexpected {type(error).__name__}: {reason}", code="unexpected")

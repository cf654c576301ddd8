"""The page of ``dfbench predict --report``: one HTML file that asks for nothing, with faces and time lines."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from dfbench.files import write_whole
from dfbench.publish.predict.judgement import VERDICTS
from dfbench.publish.predict.run import Answer, JudgedFace
from dfbench.publish.predict.verdict import calibration_of
from dfbench.publish.zoo.entry import CheckpointEntry

if TYPE_CHECKING:
    from jinja2 import Environment

SHOWN = 6
"""Crops of a face on the page, evenly spread over its looks."""
SIDE = 96
"""Of a crop on the page, in pixels."""
WIDTH, HEIGHT = 640.0, 84.0
"""Of a time line, in the units of its drawing."""


@dataclass(frozen=True)
class Line:
    """The time line of a face, in the units of the drawing.

    Attributes:
        points: ``x,y`` of each look.
        dots: (x, y, text) of each look.
        fake_above: Height of the verdict's upper end; None without calibration.
        real_below: Height of its lower end.
        end: What stands at the right end of the axis.
    """

    points: str
    dots: list[tuple[float, float, str]]
    fake_above: float | None
    real_below: float | None
    end: str


@dataclass(frozen=True)
class ShownFace:
    """A face on the page."""

    judged: JudgedFace
    crops: list[tuple[str, str]]
    """(data URI, what it is) of each."""
    line: Line | None
    """None where there is one look."""


def write_page(path: Path, entry: CheckpointEntry, answers: Sequence[Answer]) -> None:
    """Write the page.

    Raises:
        StorageError: It cannot be written.
    """
    write_whole(path, page(entry, answers).encode())


def page(entry: CheckpointEntry, answers: Sequence[Answer]) -> str:
    """The page as HTML."""
    counts = {verdict: sum(a.judgement.verdict == verdict for a in answers) for verdict in VERDICTS}
    template = _environment().get_template("predict.html.j2")
    return template.render(
        entry=entry,
        calibration=calibration_of(entry),
        counts={verdict: n for verdict, n in counts.items() if n},
        answers=[(answer, [_shown(face, entry) for face in answer.faces]) for answer in answers],
        style=resources.files(__package__).joinpath("assets", "predict.css").read_text(encoding="utf-8"),
        width=WIDTH,
        height=HEIGHT,
    )


def _shown(judged: JudgedFace, entry: CheckpointEntry) -> ShownFace:
    looks = judged.face.looks
    chosen = np.unique(np.linspace(0, len(looks) - 1, SHOWN).round().astype(int)).tolist()
    crops = [(_uri(looks[i].pixels), _said(judged, i)) for i in chosen]
    return ShownFace(judged, crops, _line(judged, entry) if len(looks) > 1 else None)


def _said(judged: JudgedFace, number: int) -> str:
    look, p = judged.face.looks[number], _values(judged)[number]
    if look.seconds is None and len(judged.face.looks) == 1:  # a picture
        return f"{p:.2f}"
    when = f"frame {look.frames[0]}" if look.seconds is None else f"{look.seconds:.1f} s"
    return f"{when}: {p:.2f}"


def _values(judged: JudgedFace) -> np.ndarray:
    return judged.scores if judged.probabilities is None else judged.probabilities


def _line(judged: JudgedFace, entry: CheckpointEntry) -> Line:
    looks, values = judged.face.looks, _values(judged)
    times = [look.frames[0] if look.seconds is None else look.seconds for look in looks]
    start, span = times[0], (times[-1] - times[0]) or 1.0
    dots = [
        (round((t - start) / span * WIDTH, 1), _height(float(p)), _said(judged, i))
        for i, (t, p) in enumerate(zip(times, values, strict=True))
    ]
    calibration = calibration_of(entry)
    return Line(
        " ".join(f"{x},{y}" for x, y, _ in dots),
        dots,
        None if calibration is None else _height(calibration.fake_above),
        None if calibration is None else _height(calibration.real_below),
        f"frame {looks[-1].frames[0]}" if looks[-1].seconds is None else f"{looks[-1].seconds:.1f} s",
    )


def _height(p: float) -> float:
    return round((1 - p) * HEIGHT, 1)


def _uri(pixels: np.ndarray) -> str:
    frame = pixels if pixels.ndim == 3 else pixels[len(pixels) // 2]
    buffer = io.BytesIO()
    Image.fromarray(frame).resize((SIDE * 2, SIDE * 2), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("dfbench.publish.predict", "assets"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip

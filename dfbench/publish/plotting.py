"""Figures of runs: their common style, how they are written, and the accuracy matrix.

They are drawn for print: a column is 3.5 inches wide, text is 7 points or more and stays text in SVG, colours are
Okabe & Ito's (the colour-blind tell them apart) and never alone: markers, dashes or labels go with them.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from rich.cells import cell_len

from dfbench.errors import UsageError
from dfbench.files import write_whole
from dfbench.publish import glyphs, heat
from dfbench.records.record import Record
from dfbench.records.text import METRICS, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMN, PAGE = 3.5, 7.16
"""Widths in inches of one and of two columns (IEEE)."""

GAP = 0.4
"""Between experiences and unseen sets in a matrix, as a share of a cell."""

INK, FAINT, GRID = "#1f2933", "#5b6770", "#dde2e6"
"""Text and axes, lesser text, grid lines. A page may put colours of its own in their place."""

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d46")
MARKERS = "os^DvPX"

STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": [glyphs.MAIN],
    "font.size": 7.5,
    "text.color": INK,
    "text.parse_math": False,  # names of experiences are names, dollars and all
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.6,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 7.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    "legend.frameon": False,
    "legend.fontsize": 7,
    "figure.dpi": 100,
    "svg.fonttype": "none",
    "svg.hashsalt": "dfbench",
    "pdf.fonttype": 42,
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """While inside, figures are drawn and written in the style above; the caller's matplotlib is left as it was."""
    import matplotlib

    with matplotlib.rc_context(cast(Any, STYLE)):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, inches, that needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def colours(count: int) -> list[Any]:
    """One colour each: of the palette, or along a sequence where there are more than it has."""
    if count <= len(PALETTE):
        return list(PALETTE[:count])
    import matplotlib

    return [matplotlib.colormaps["viridis"](x) for x in np.linspace(0.05, 0.9, count)]


def rendered(figure: Figure, kind: str, transparent: bool = False, names: Sequence[str] = ()) -> bytes:
    """A figure as ``svg``, ``png`` (300 dpi) or ``pdf``, the same bytes each time: no dates, no random ids.

    SVG keeps every text, and its reader has the fonts. Letters of which no font is installed are numbers in the others.

    Args:
        figure: What to write.
        kind: ``svg``, ``png`` or ``pdf``.
        transparent: Without a background.
        names: Of the experiences; the second one's number is 2 in every figure.
    """
    import matplotlib
    from matplotlib.text import Text

    nothing = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}, "pdf": {"CreationDate": None}}
    buffer = io.BytesIO()
    whole = "".join(artist.get_text() for artist in figure.findobj(Text) if isinstance(artist, Text))
    with style(), warnings.catch_warnings(), contextlib.ExitStack() as stack:
        matplotlib.rcParams["font.sans-serif"] = [glyphs.MAIN, *glyphs.fallbacks(whole)]
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # of SVG, which is only measured with it
        if kind != "svg":
            stack.enter_context(glyphs.drawable(figure, names))
        figure.savefig(
            buffer, format=kind, dpi=300, transparent=transparent, facecolor="none" if transparent else "white",
            metadata=nothing[kind],
        )  # fmt: skip
    return buffer.getvalue()


@dataclass(frozen=True)
class Panel:
    """One matrix of a figure of matrices."""

    title: str
    note: str
    matrix: np.ndarray
    """float64 (T, T), nan where there is nothing."""
    spread: np.ndarray | None = None
    """Written below each value."""
    unseen: np.ndarray | None = None
    """float64 (T, U), the same of sets that are never trained on: columns after a gap."""

    @property
    def whole(self) -> np.ndarray:
        """All values, float64 (T, T + U)."""
        return self.matrix if self.unseen is None else np.hstack([self.matrix, self.unseen])


def matrix_figure(records: Sequence[Record], path: Path) -> None:
    """The R matrix of each record as a heat map, side by side on one colour scale, written to ``path`` (PNG or SVG).

    Row: after which experience; column: tested on which. Cells that were not measured stay empty.

    Raises:
        UsageError: The file's name does not end in .png, .svg or .pdf.
        StorageError: The file cannot be written.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("png", "svg", "pdf"):
        raise UsageError(f"{path}: a figure is written as .png, .svg or .pdf")
    panels = []
    sets = common_unseen(records)
    for record in records:
        spec, forgetting = record.spec, record.metrics.get("forgetting")
        lost = "" if forgetting is None else f", forgetting {number(forgetting)}"
        title = f"{spec.detector} · {spec.strategy} · seed {spec.seed}"
        unseen = unseen_matrix(record) if sets else None
        panels.append(Panel(title, f"average {number(record.average)}{lost}", record.R(), unseen=unseen))
    with style():
        figure = draw_matrices(panels, records[0].names, records[0].headline, sets)
        write_whole(path, rendered(figure, kind, names=records[0].names))


def common_unseen(records: Sequence[Record]) -> list[str]:
    """The sets that all of these were tested on and never trained on; none where they differ."""
    found = [record.unseen_names for record in records]
    return found[0] if all(names == found[0] for names in found) else []


def unseen_matrix(record: Record) -> np.ndarray | None:
    """The headline metric on unseen sets after each training, float64 (T, U), nan where it was not measured."""
    if record.generalisation is None:
        return None
    return np.array(record.generalisation.matrix[record.headline], dtype=float)


def draw_matrices(panels: Sequence[Panel], names: Sequence[str], metric: str, unseen: Sequence[str] = ()) -> Figure:
    """R matrices as heat maps on one colour scale, as many in a row as a page is wide.

    Args:
        panels: The matrices.
        names: Of the experiences.
        metric: The headline.
        unseen: Names of the columns after the gap.
    """
    places = [*range(len(names)), *(len(names) + GAP + k for k in range(len(unseen)))]
    size, wide = len(names), places[-1] + 1
    cell = 0.44 if all(panel.spread is None for panel in panels) else 0.48
    longest = max(map(cell_len, [*names, *unseen]))
    side, across, label = cell * size, cell * wide, min(0.055 * longest, 1.4)
    columns = min(len(panels), max(1, int((PAGE - label - 0.9) / (across + 0.35))))
    rows = -(-len(panels) // columns)
    named = 2 if rows > 1 and len(panels) % columns else 1  # where the last row is short, the one above has names too
    figure = new_figure(
        (across + 0.35) * columns + label + 0.9, (side + 0.65) * rows + (0.6 * label + 0.2) * named + 0.4
    )
    finite = np.concatenate([panel.whole[np.isfinite(panel.whole)] for panel in panels])
    middle = heat.middle(metric, finite.tolist())
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    for index, panel in enumerate(panels):
        axis = axes.flat[index]
        image = _heat_map(axis, panel, names, unseen, middle)
        axis.set_gid(f"matrix-{index + 1}")
        if index % columns == 0:
            axis.set_ylabel("after training on")
        if index + columns >= len(panels):
            axis.set_xlabel("tested on")
            axis.tick_params(labelbottom=True)
    bar = figure.colorbar(image, ax=axes.ravel()[: len(panels)].tolist(), shrink=0.9, aspect=25, pad=0.02)
    bar.set_label(METRICS[metric])
    bar.solids.set(rasterized=False, edgecolor="face")  # type: ignore[union-attr]
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.ax.set_ylim(np.floor(10 * finite.min(initial=middle)) / 10, 1.0)
    chance = "pale: chance · " if middle == 0.5 else ""
    apart = " · after the gap: never trained on" if unseen else ""
    figure.supxlabel(f"{chance}{heat.FRAMED} · {heat.SMALLER}{apart}", fontsize=6.5, color=FAINT, x=0.01, ha="left")
    return figure


def _heat_map(axis: Axes, panel: Panel, names: Sequence[str], unseen: Sequence[str], middle: float) -> Any:
    """The colours and marks of :mod:`dfbench.publish.heat`, as on the leaderboard."""
    from matplotlib.collections import PatchCollection
    from matplotlib.colors import LinearSegmentedColormap, Normalize
    from matplotlib.patches import Rectangle

    matrix, size = panel.whole, len(names)
    places = [*range(size), *(size + GAP + k for k in range(len(unseen)))]
    stops = [(stop, tuple(part / 255 for part in rgb)) for stop, rgb in heat.STOPS]
    known = np.argwhere(np.isfinite(matrix)).tolist()
    # Rectangles, not an image: they stay sharp in print. Few colours, so that the bar is not rastered either.
    sides = [(i, j, 0.76 if j > i else 0.96) for i, j in known]
    image = PatchCollection(
        [Rectangle((places[j] - side / 2, i - side / 2), side, side) for i, j, side in sides],
        cmap=LinearSegmentedColormap.from_list("dfbench", stops, N=128),
        norm=Normalize(2 * middle - 1, 1.0), edgecolors="none",
    )  # fmt: skip
    image.set_array([matrix[i, j] for i, j in known])
    axis.add_collection(image)
    axis.set(aspect="equal", xlim=(-0.5, places[-1] + 0.5), ylim=(size - 0.5, -0.5))
    for i, j in known:
        value = matrix[i, j]
        text = f"{value:.2f}"
        if panel.spread is not None and j < size and np.isfinite(panel.spread[i, j]):
            text += f"\n±{panel.spread[i, j]:.2f}"
        ink = heat.ink(heat.colour(heat.position(value, middle)))
        axis.text(places[j], i, text, ha="center", va="center", color=ink, fontsize=7, linespacing=1.1)
        if i == j:
            axis.add_patch(Rectangle((j - 0.46, i - 0.46), 0.92, 0.92, fill=False, edgecolor=INK, linewidth=1.2))
    axis.set_xticks(places, [*names, *unseen], rotation=35, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(size), names)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    titled(axis, panel.title, panel.note)
    return image


def titled(axis: Axes, title: str, note: str) -> None:
    """A bold title and, where there is one, a fainter line below it."""
    axis.set_title(title, pad=14 if note else 5)
    if note:
        line = axis.annotate(
            note, (0, 1), xytext=(0, 4), xycoords="axes fraction", textcoords="offset points", fontsize=7, color=FAINT,
            annotation_clip=False,
        )  # fmt: skip
        line.set_in_layout(False)  # a long one must not make the axes narrow

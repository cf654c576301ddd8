"""``dfbench report``: figures of finished runs, as files, and one page that holds them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfbench.files import write_whole
from dfbench.publish.glyphs import unwritable
from dfbench.publish.plotting import rendered, style
from dfbench.publish.report.comparison import COMPARISONS
from dfbench.publish.report.figures import FIGURES
from dfbench.publish.report.further import robustness
from dfbench.publish.report.page import Shown, describe, describe_comparison, inline, render
from dfbench.publish.report.runs import Method, gather, load_runs
from dfbench.publish.report.thresholds import thresholds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = "report.html"
FOLDER = "report"


@dataclass(frozen=True)
class Report:
    """What was written."""

    page: Path
    figures: dict[str, dict[str, Path]]
    """Name → ``svg``, ``png`` → file."""
    methods: list[Method]
    numbered: dict[str, str]
    """Experiences with letters that no installed font has, and what the PNG files write for each."""


def write_report(
    paths: Sequence[Path], to: Path | None = None, progress: Callable[[int, int], None] | None = None
) -> Report:
    """Draw one run, or compare several on the same data, seeds of one spec averaged.

    Args:
        paths: The runs: their folders, or their records.
        to: Folder of the report; without it ``report`` in the run's folder, or in the current one for several.
        progress: Called after each figure with the number of those done and of all.

    Raises:
        DataError: A run is not finished, its scores are missing or damaged, or the runs' data differ.
        UsageError: A run is given twice.
        StorageError: A file cannot be written.
    """
    runs = load_runs(paths)
    methods = gather(runs)
    single = runs[0] if len(runs) == 1 else None
    folder = to or (single.folder / FOLDER if single else Path(FOLDER))
    kinds: dict[str, Callable[..., Figure | None]] = dict(
        FIGURES | {"robustness": robustness, "thresholds": thresholds} if single else COMPARISONS
    )  # type: ignore[arg-type]
    subject: Any = single or methods
    shown: list[Shown] = []
    written: dict[str, dict[str, Path]] = {}
    with style():
        for number, (name, draw) in enumerate(kinds.items(), 1):
            figure = draw(subject)
            if figure is not None:
                caption, alt, table = describe(name, single) if single else describe_comparison(name, methods)
                svg = inline(rendered(figure, "svg", transparent=True), name, alt)
                shown.append(Shown(name, svg, caption, alt, table))
                written[name] = {kind: folder / f"{name}.{kind}" for kind in ("svg", "png")}
                for kind, path in written[name].items():
                    write_whole(path, rendered(figure, kind, names=runs[0].names))
            if progress is not None:
                progress(number, len(kinds))
    write_whole(folder / PAGE, render(methods, shown).encode())
    return Report(folder / PAGE, written, methods, unwritable(runs[0].names))

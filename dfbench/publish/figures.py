"""Figures of runs, drawn from their records alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dfbench.errors import StorageError


def matrix_figure(records: Sequence[dict[str, Any]], path: Path) -> None:
    """The R matrix of each record as a heat map, side by side on one colour scale, written to ``path`` (PNG or SVG).

    Row: after which experience; column: tested on which. Cells that were not measured stay empty.

    Raises:
        StorageError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    matrices = [np.array(r["matrix"][r["headline"]], dtype=float) for r in records]
    names = [e["name"] for e in records[0]["data"]["experiences"]]
    size = len(names)
    figure = Figure(figsize=((1.0 * size + 1.8) * len(records), 0.8 * size + 2.2), layout="constrained", dpi=120)
    FigureCanvasAgg(figure)
    # Chance is the floor of the colour scale where the headline is an AUC.
    low = 0.5 if records[0]["headline"].endswith("auc") else min(float(np.nanmin(m)) for m in matrices)
    axes = figure.subplots(1, len(records), squeeze=False)[0]
    for axis, record, matrix in zip(axes, records, matrices, strict=True):
        image = axis.imshow(matrix, vmin=low, vmax=1.0, cmap="viridis")
        for i, j in np.argwhere(np.isfinite(matrix)):
            value = matrix[i, j]
            dark = (value - low) / (1 - low) < 0.6
            axis.text(j, i, f"{value:.2f}", ha="center", va="center", color="white" if dark else "black", fontsize=9)
        axis.set_xticks(range(size), names, rotation=35, ha="right")
        axis.set_yticks(range(size), names)
        axis.set_xlabel("tested on")
        axis.set_ylabel("after training on")
        spec, forgetting = record["spec"], record["metrics"]["forgetting"]
        lost = "" if forgetting is None else f", forgetting {forgetting:.3f}"
        axis.set_title(
            f"{spec['detector']} · {spec['strategy']} · seed {spec['seed']}\n"
            f"average {record['metrics']['average_' + record['headline']]:.3f}{lost}",
            fontsize=10,
        )
    figure.colorbar(image, ax=axes, label=records[0]["headline"], shrink=0.8)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error

"""The two generated pages, and whether those on disk are what the records give."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dfbench.files import write_whole
from dfbench.publish.board.markdown import markdown
from dfbench.publish.board.page import page
from dfbench.publish.board.table import Board


def pages(board: Board) -> dict[str, bytes]:
    """File name → content; the same bytes for the same board, whenever and wherever."""
    return {"README.md": markdown(board).encode(), "index.html": page(board).encode()}


def differing(content: Mapping[str, bytes], folder: Path) -> list[str]:
    """Names of the pages in ``folder`` that are missing or hold something else."""
    return [name for name, wanted in content.items() if not _is(folder / name, wanted)]


def write(content: Mapping[str, bytes], folder: Path) -> list[Path]:
    """Write the pages; their paths."""
    for name, wanted in content.items():
        if not _is(folder / name, wanted):
            write_whole(folder / name, wanted)
    return [folder / name for name in content]


def _is(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content

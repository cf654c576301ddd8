"""The generated pages with the parts that they load, and whether those on disk are what the records give."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from dfbench.files import write_whole, writing
from dfbench.publish.board.cache import Cache
from dfbench.publish.board.cells import NOTES_LEGEND, marks_words
from dfbench.publish.board.imported import ImportedTable, imported_tables, read_imported
from dfbench.publish.board.markdown import markdown
from dfbench.publish.board.page import page
from dfbench.publish.board.panel import Panel, panel
from dfbench.publish.board.parts import DATA
from dfbench.publish.board.reported import Reported
from dfbench.publish.board.table import (
    Board,
    Filed,
    controls_of,
    filed,
    make_table,
    read_controls,
    read_papers,
    read_record,
    record_files,
    sorted_papers,
)
from dfbench.records.record import Record


def pages(board: Board) -> dict[str, bytes]:
    """File name → content; the same bytes for the same board, whenever and wherever."""
    return _pages([panel(table) for table in board.tables], board.imported, board.reported)


def built(folder: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> dict[str, bytes]:
    """The pages of a leaderboard's folder, as :func:`pages` gives them. Tables whose records, controls and program are
    those of the last time come from the cache.

    Args:
        folder: With ``results/`` and what else a leaderboard has.
        progress: Called with the records that are read, and all.

    Raises:
        DataError: As :func:`dfbench.publish.board.table.read_board`.
    """
    with _without_collector():
        files = record_files(folder)
        cache, controls = Cache.of(folder), controls_of(read_controls(folder))
        records: dict[Path, Record] = {}
        known, hashes = [], []
        for done, path in enumerate(files):
            digest, entry = cache.record(path)
            if entry is None:
                records[path] = read_record(path)
                entry = cache.keep_record(digest, Filed.of(records[path]))
            hashes.append(digest)
            known.append(entry)
            progress(done + 1, len(files))
        panels = []
        for (key, fingerprint), members in filed(known).items():
            name = cache.name(key, [hashes[i] for i in members], controls.get(fingerprint))
            found = cache.panel(name)
            if found is None:
                here = [records.pop(files[i]) if files[i] in records else read_record(files[i]) for i in members]
                found = cache.keep_panel(name, panel(make_table(key, here, controls.get(fingerprint))))
            panels.append(found)
        cache.write()
        panels.sort(key=lambda each: (-each.rows, each.key))
        return _pages(panels, imported_tables(read_imported(folder)), sorted_papers(read_papers(folder)))


def differing(content: Mapping[str, bytes], folder: Path) -> list[str]:
    """Names of the files in ``folder`` that are missing, hold something else, or should not be there."""
    wrong = [name for name, wanted in content.items() if not _is(folder / name, wanted)]
    return [*wrong, *(path.relative_to(folder).as_posix() for path in _stale(content, folder))]


def write(content: Mapping[str, bytes], folder: Path) -> list[Path]:
    """Write the files, and delete parts of rows that are gone; the paths of the pages."""
    for name, wanted in reversed(list(content.items())):  # a page after the parts that it loads
        if not _is(folder / name, wanted):
            write_whole(folder / name, wanted)
    for path in _stale(content, folder):
        with writing(path):
            path.unlink()
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
    return [folder / name for name in content if not name.startswith(f"{DATA}/")]


def _pages(
    panels: Sequence[Panel], imported: Sequence[ImportedTable], reported: Sequence[Reported]
) -> dict[str, bytes]:
    words = marks_words(any(each.started for each in panels), any(each.baseline for each in panels))
    text = {
        "README.md": markdown([each.section for each in panels], f"{words} {NOTES_LEGEND}", imported, reported),
        "index.html": page(panels, imported, reported),
    }
    for each in panels:
        text |= {f"{DATA}/{name}.js": content for name, content in each.parts.items()}
    return {name: content.encode() for name, content in text.items()}


def _stale(content: Mapping[str, bytes], folder: Path) -> list[Path]:
    """Parts that no row of today has."""
    return [
        path for path in sorted((folder / DATA).glob("*/*.js")) if path.relative_to(folder).as_posix() not in content
    ]


def _is(path: Path, content: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content


@contextmanager
def _without_collector() -> Iterator[None]:
    """Ten thousand records are many objects and no cycles, for which the collector would look all the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()

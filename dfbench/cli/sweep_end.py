"""What a sweep ends with: one comparison, one leaderboard, or the options that were chosen."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from dfbench.plugins import Registry
    from dfbench.records.choice import ChoiceFile
    from dfbench.records.record import Record
    from dfbench.records.spec import RunSpec

COMPARED = 40
"""Runs that a comparison lists; more are rows of the leaderboard alone."""


def compared(folders: Iterable[Path]) -> list[Record]:
    """The records of finished runs."""
    from dfbench.records.record import Record

    return [Record.read(folder) for folder in folders]


def show(records: Sequence[Record], pages: Sequence[Path]) -> None:
    """A comparison of the runs on each benchmark, and the leaderboard of their means over seeds."""
    from dfbench.cli.compare import show_comparison
    from dfbench.cli.output import next_steps
    from dfbench.records.comparison import compare

    groups: dict[tuple[object, ...], list[Record]] = {}
    for record in records:
        groups.setdefault((record.data.fingerprint, record.spec.split, tuple(record.names)), []).append(record)
    for members in groups.values():
        if len(members) <= COMPARED:
            show_comparison(compare(members))
            click.echo()
    tests = [record for record in records if record.spec.split == "test"]
    if tests:
        _show_board(tests)
    for page in pages:
        click.echo(f"page: {page}")
    if tests and not pages:
        next_steps("the same with --board FOLDER (pages with intervals and tests)")


def _show_board(records: Sequence[Record]) -> None:
    from dfbench.cli.leaderboard import show_tables
    from dfbench.publish.board.table import make_board

    show_tables(make_board(records).tables)


def put_on_board(folders: Sequence[Path], board: Path, known: Registry) -> list[Path]:
    """Add the runs to a leaderboard, and write its pages."""
    from dfbench.cli.progress import counting
    from dfbench.publish.board.add import add
    from dfbench.publish.board.build import pages, write
    from dfbench.publish.board.table import read_board

    with counting("checking") as progress:
        add(folders, board, known, progress=lambda done: progress(done, len(folders)))
    return write(pages(read_board(board)), board)


def chosen_document(file: ChoiceFile, place: Path) -> dict[str, Any]:
    """Write the file; what ``--json`` says of it."""
    from dfbench.files import write_whole
    from dfbench.records.choice import named

    content = file.content()
    write_whole(place, content)
    found = [
        {"for": list(named(each.best.spec)), "options": _options(each.best.spec), "mean": each.best.mean,
         "spread": each.best.spread, "candidates": len(each.candidates), "seeds": each.best.seeds}
        for each in file.choices
    ]  # fmt: skip
    return {"file": str(place), "sha256": hashlib.sha256(content).hexdigest(), "metric": file.metric, "choices": found}


def show_choice(file: ChoiceFile, place: Path) -> None:
    """A table of all candidates for each choice, the best first, and what to do with the file."""
    from dfbench.cli.output import console, next_steps, table
    from dfbench.records.choice import named
    from dfbench.records.text import METRICS, number

    out = console()
    for choice in file.choices:
        texts = [_options(candidate.spec) for candidate in choice.candidates]
        common = set.intersection(*map(set, texts)) if len(texts) > 1 else set()
        order = sorted(range(len(texts)), key=lambda i: (i != choice.chosen, _rank(file, choice.candidates[i].mean)))
        rows = []
        for i in order:
            each = choice.candidates[i]
            varied = [text for text in texts[i] if text not in common]
            rows.append(["chosen" if i == choice.chosen else "", " ".join(varied) or "as the preset has them",
                         number(each.mean), number(each.spread), str(len(each.runs))])  # fmt: skip
        heads = ["", "options", METRICS.get(file.metric, file.metric), "±", "seeds"]
        out.print(table(f"{' · '.join(named(choice.best.spec))}, on validation data", heads, rows, numbers_from=2))
        out.print()
    out.print(f"options: {place}")
    detector, preset, strategy, benchmark = named(file.choices[0].best.spec)
    words = ["dfbench", "eval", "-d", detector, "--preset", preset, "-s", strategy, "-b", benchmark]
    next_steps(shlex.join([*words, "--options-from", str(place)]))


def _rank(file: ChoiceFile, mean: float) -> float:
    return mean if file.better == "lower" else -mean


def _options(spec: RunSpec) -> list[str]:
    from dfbench.records.command import all_settings

    return all_settings(spec)

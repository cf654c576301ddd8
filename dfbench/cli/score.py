"""``dfbench score``."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import click

from dfbench.cli.examples import examples


@click.command(
    "score", epilog=examples("dfbench score --matrix matrix.json", 'echo "[[.9], [.7, .8]]" | dfbench score --matrix -')
)
@click.option(
    "--matrix",
    "file",
    required=True,
    type=click.Path(path_type=Path, allow_dash=True),
    help="JSON list of rows (a lower triangle or a full matrix, null where undefined); - for stdin.",
)
@click.option(
    "--baseline",
    type=click.Path(path_type=Path, allow_dash=True),
    help="JSON list: the untrained network's row, for FWT.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(file: Path, baseline: Path | None, as_json: bool) -> None:
    """Continual metrics of a given R matrix: average, BWT, FWT, forgetting, AF, …

    R[i][j] is the metric on experience j after training experience i, in any unit.
    """
    from dfbench.cli.output import console, number, print_json, table
    from dfbench.evaluation.continual import parse_matrix, summarize

    summary = summarize(parse_matrix(_read(file)), _numbers(_read(baseline), baseline) if baseline else None)
    if as_json:
        print_json(summary)
        return
    rows = [[name, number(value)] for name, value in summary.items() if not isinstance(value, list)]
    console().print(table("", ["metric", "value"], rows, numbers_from=1))


def _numbers(values: list[Any], path: Path) -> list[float]:
    from dfbench.errors import UsageError

    for value in values:
        if value is not None and (type(value) not in (int, float) or abs(value) > sys.float_info.max):
            raise UsageError(f"{path}: {repr(value)[:60]} is not a finite number or null")
    return [math.nan if value is None else float(value) for value in values]


def _read(path: Path) -> list[Any]:
    from dfbench.errors import UsageError, in_one_line

    try:
        with click.open_file(str(path), encoding="utf-8") as file:
            value = json.load(file)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{path}: cannot be read ({reason})") from error
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}, line {error.lineno}: not JSON ({error.msg})") from error
    except RecursionError as error:
        raise UsageError(f"{path}: not JSON (nested too deeply)") from error
    except ValueError as error:  # a whole number of thousands of digits
        raise UsageError(f"{path}: {in_one_line(error)}") from error
    if not isinstance(value, list):
        raise UsageError(f"{path}: a JSON list is wanted, not {type(value).__name__}")
    return value

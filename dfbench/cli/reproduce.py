"""``dfbench reproduce``: published tables, rerun."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dfbench.cli.examples import examples

if TYPE_CHECKING:
    from dfbench.publish.reproduction.result import Result


@click.command("reproduce", epilog=examples("dfbench reproduce cifar10-2022 --seeds 1 --table 1"))
@click.argument("name")
@click.option(
    "--seeds", metavar="N|A,B,…", help="How many (3: seeds 0, 1, 2), or which (4,7).  [default: the recipe's]"
)
@click.option("--table", "tables", multiple=True, metavar="KEY", help="Only this table; may be repeated.")
@click.option("--out", type=click.Path(path_type=Path),
              help="Folder of the tables, with the runs in runs/.  [default: reproductions/NAME]")  # fmt: skip
@click.option("--data-root", envvar="DFBENCH_DATA", type=click.Path(path_type=Path), show_envvar=True,
              help="Folder that holds the data sets, each under its source's name.")  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(
    name: str,
    seeds: str | None,
    tables: tuple[str, ...],
    out: Path | None,
    data_root: Path | None,
    device: str,
    as_json: bool,
) -> None:
    """Rerun the published tables of NAME (dfbench list reproductions, or a recipe's .yaml file).

    Runs every row with every seed, then writes the tables with the published figures and the differences next to the
    measured ones, and a figure of each. The same command goes on where it was interrupted; finished runs are kept.
    """
    from dfbench.cli.progress import watching
    from dfbench.errors import Interrupted
    from dfbench.plugins import registry
    from dfbench.publish.reproduction.recipe import read_recipe

    known = registry()
    is_file = name.lower().endswith((".yaml", ".yml"))
    recipe = read_recipe(Path(name) if is_file else Path(known.reproductions[name].target))
    chosen_seeds = parse_seeds(seeds) if seeds is not None else recipe.seeds
    if tables:
        recipe = recipe.only(list(tables))
    known.detectors[recipe.detector]  # an unknown name is an error before anything heavy is imported
    for row in (row for table in recipe.tables for row in table.rows):
        known.strategies[row.strategy]
    folder = out or Path("reproductions") / recipe.name
    # What detectors print while a run goes on is not a result.
    with watching() as watcher, contextlib.redirect_stdout(sys.stderr):
        watcher.notice("loading …")
        from dfbench.publish.reproduction.page import write_result
        from dfbench.publish.reproduction.result import fill
        from dfbench.publish.reproduction.runs import RunSettings, reproduce

        try:
            settings = RunSettings(folder / "runs", device, data_root)
            records = reproduce(recipe, chosen_seeds, settings, known, watcher, watcher.begin)
            result = fill(recipe, records)
            page = write_result(result, folder)
        except KeyboardInterrupt as error:
            raise Interrupted("interrupted; the same command goes on from the last finished experience") from error
    if as_json:
        from dfbench.cli.output import print_json
        from dfbench.publish.reproduction.page import document

        runs = {record.path.parent for by_seed in records.values() for record in by_seed.values() if record.path}
        print_json({**document(result), "page": str(page), "folders": sorted(map(str, runs))})
    else:
        _print(result, page)


def parse_seeds(text: str) -> list[int]:
    """``3`` is 0, 1, 2; ``4,7`` is 4 and 7; ``5,`` is 5 alone."""
    from dfbench.errors import UsageError

    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts if part) or not any(parts) or text.startswith(","):
        raise UsageError(f"--seeds {text!r}: give a number of seeds, as 3, or the seeds themselves, as 0,1,2")
    numbers = [int(part) for part in parts if part]
    if len(parts) == 1:
        if numbers[0] < 1:
            raise UsageError("--seeds 0: at least one seed is needed; seed 0 alone is 1, or 0,")
        return list(range(numbers[0]))
    return list(dict.fromkeys(numbers))


def _print(result: Result, page: Path) -> None:
    from dfbench.cli.output import console, table
    from dfbench.publish.reproduction.page import cells

    out = console()
    for each in result.tables:
        rows = [[cell.replace(" ± ", "±") for cell in row] for row in cells(each, f"  {result.recipe.short_name}")]
        seeds = ", ".join(map(str, result.seeds))
        title = f"Table {each.table.key}: {each.table.title} (%, seeds {seeds})"
        out.print(table(title, ["", *each.table.columns], rows, numbers_from=1))
    out.print(f"page: {page}")

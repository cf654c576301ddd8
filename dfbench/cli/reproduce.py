"""``dfbench reproduce``: published tables made again."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from dfbench.publish.reproduction.recipe import Choice, Recipe
    from dfbench.publish.reproduction.result import Result
    from dfbench.publish.reproduction.runs import Tried, Where


@click.command("reproduce")
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
@click.option("--choose", is_flag=True, help="Run the grid from which the settings were chosen, on validation data.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(
    name: str,
    seeds: str | None,
    tables: tuple[str, ...],
    out: Path | None,
    data_root: Path | None,
    device: str,
    choose: bool,
    as_json: bool,
) -> None:
    """Make the published tables of NAME again (dfbench list reproductions, or a recipe's .yaml file).

    Runs every row with every seed, then writes the tables with the published figures beside them, a figure each, and
    where they differ. The same command goes on where it was interrupted; finished runs are not run again.
    """
    from dfbench.errors import Interrupted, UsageError
    from dfbench.plugins import registry
    from dfbench.publish.reproduction.recipe import read_recipe

    known = registry()
    is_file = name.lower().endswith((".yaml", ".yml"))
    recipe = read_recipe(Path(name) if is_file else Path(known.reproductions[name].target))
    chosen_seeds = parse_seeds(seeds) if seeds is not None else recipe.seeds
    if tables:
        recipe = recipe.only(list(tables))
    if choose and (recipe.choice is None or tables or seeds):
        raise UsageError(
            f"--choose goes without --table and --seeds: the grid of {recipe.name} has its own"
            if recipe.choice
            else f"{recipe.name} says nothing of how its settings were chosen"
        )
    for names, wanted in ((known.detectors, {recipe.detector}), (known.strategies, _strategies(recipe))):
        for each in wanted:
            names[each]  # an unknown name is told before anything heavy is imported
    folder = out or Path("reproductions") / recipe.name
    from dfbench.cli.reproduce_progress import watching_all

    # What detectors print while a run goes on is no result of it.
    with watching_all() as watcher, contextlib.redirect_stdout(sys.stderr):
        watcher.notice("loading …")
        from dfbench.publish.reproduction.result import fill
        from dfbench.publish.reproduction.runs import Where, reproduce
        from dfbench.publish.reproduction.write import write_result

        where = Where(folder / "runs", device, data_root)
        try:
            if choose and recipe.choice is not None:
                tried = _choose(recipe, recipe.choice, where, folder, watcher)
            else:
                records = reproduce(recipe, chosen_seeds, where, known, watcher, watcher.begin)
                result = fill(recipe, records)
                page = write_result(result, folder)
        except KeyboardInterrupt as error:
            raise Interrupted("interrupted; the same command goes on from the last finished experience") from error
    if choose and recipe.choice is not None:
        _print_choice(tried, recipe.choice, folder, as_json)
    else:
        _print_result(result, page, records, as_json)


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


def _strategies(recipe: Recipe) -> set[str]:
    return {row.strategy for table in recipe.tables for row in table.rows}


def _choose(recipe: Recipe, choice: Choice, where: Where, folder: Path, watcher: Any) -> list[Tried]:
    from dfbench.plugins import registry
    from dfbench.publish.reproduction.runs import choose
    from dfbench.publish.reproduction.write import write_choice

    tried = choose(recipe, choice, where, registry(), watcher, watcher.begin)
    write_choice(tried, choice, folder)
    return tried


def _print_choice(tried: list[Tried], choice: Choice, folder: Path, as_json: bool) -> None:
    from dfbench.cli.output import console, print_json, table
    from dfbench.publish.reproduction.text import choice_json
    from dfbench.publish.reproduction.write import CHOICE

    if as_json:
        print_json({**choice_json(tried, choice), "page": str(folder / f"{CHOICE}.md")})
        return
    options = list(choice.grid)
    rows = [
        [
            *(str(t.settings[o]) for o in options),
            *(f"{v:.1f}" for v in t.values),
            f"{t.distance:.2f}",
            "chosen" * t.chosen,
        ]
        for t in sorted(tried, key=lambda t: t.distance)
    ]
    targets = [f"after {n} (target {target:g})" for n, target in enumerate(choice.targets, 1)]
    title = f"accuracy in % on validation data, mean of {len(choice.seeds)} seeds"
    console().print(table(title, [*options, *targets, "mean distance", ""], rows, numbers_from=0))
    console().print(f"page: {folder / f'{CHOICE}.md'}")


def _print_result(result: Result, page: Path, records: Any, as_json: bool) -> None:
    from rich.markup import escape

    from dfbench.cli.output import console, print_json, table
    from dfbench.publish.reproduction.claims import cell, findings
    from dfbench.publish.reproduction.text import as_json as result_json
    from dfbench.publish.reproduction.text import reported

    if as_json:
        folders = sorted({str(Path(r["path"]).parent) for by_seed in records.values() for r in by_seed.values()})
        print_json({**result_json(result), "page": str(page), "folders": folders})
        return
    out = console()
    for filled in result.tables:
        rows = []
        for line in filled.lines:
            rows.append(
                [escape(line.row.name), *(cell(line, k).replace(" ± ", "±") for k in range(len(filled.table.columns)))]
            )
            rows.append([escape(f"  {result.recipe.called}"), *reported(line)])
        seeds = ", ".join(map(str, result.seeds))
        title = escape(f"Table {filled.table.key}: {filled.table.title} (%, seeds {seeds})")
        out.print(table(title, ["", *filled.table.columns], rows, numbers_from=1))
    for finding in findings(result):
        out.print(f"[bold]{finding.verdict}[/]: {escape(finding.claim)}. {escape(finding.detail)}")
    out.print(f"page: {page}")

"""Texts of the docs that repeat what the program says: ``make docs`` writes them through cog."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from dfbench.cli import cli
from dfbench.cli.data_show import page
from dfbench.data.prepare.opening import data_set
from dfbench.data.prepare.sources import DATA_SETS
from dfbench.data.prepare.sources.contract import DataSet
from dfbench.plugins import EntryTable, load_plugins

ROOT = Path(__file__).parent.parent
BUILTIN = "builtin"


@functools.cache
def commands() -> dict[str, str]:
    """Every command of the program itself, in full (``dfbench eval``), and its help text."""
    own = load_plugins().commands

    def walk(command: click.Command, name: str, parent: click.Context | None) -> Iterator[tuple[str, str]]:
        context = click.Context(command, parent, name, terminal_width=100, **command.context_settings)
        yield context.command_path, command.get_help(context)
        if isinstance(command, click.Group):
            for below in command.list_commands(context):
                if command is not cli or own.plugin(below).name == BUILTIN:
                    child = command.get_command(context, below)
                    assert child is not None
                    yield from walk(child, below, context)

    return dict(walk(cli, "dfbench", None))


def help_text(name: str) -> str:
    """The help of a command as a block of code."""
    return f"```text\n{commands()[name]}\n```\n"


def box() -> str:
    """The README's table of what comes with dfbench, each kind linked to its page."""
    known = load_plugins()
    rows = {
        "[detectors](docs/detectors.md)": _names(known.detectors),
        "[strategies](docs/strategies.md)": _names(known.strategies),
        "[benchmarks](docs/data.md)": f"{_names(known.benchmarks)}, your own YAML",
        "[sources](docs/data.md)": _names(known.sources),
        "[loggers](docs/logging.md)": f"{_names(known.loggers)}, Avalanche's own",
        "[checkpoints](docs/zoo.md)": f"{_names(known.zoo)}, yours on the Hugging Face Hub",
        "[published tables](docs/reproduce.md)": _names(known.reproductions),
    }
    return "\n| | |\n|---|---|\n" + "".join(f"| {kind} | {names} |\n" for kind, names in rows.items()) + "\n"


def data_sets() -> str:
    """A section for each public data set: the page that its reader has of it."""
    return "\n" + "\n".join(_data_set(data_set(name)) for name in DATA_SETS)


def _data_set(found: DataSet) -> str:
    about, options = found.about, page(found)["options"]
    traps = "".join(f"- {trap[0].upper()}{trap[1:]}.\n" for trap in about.traps)
    listed = "; ".join(f"`{name}` ({_values(option)})" for name, option in options.items())
    return f"""## `{found.name}`: {about.title}

{about.citation}. {about.counts[0].upper()}{about.counts[1:]}. Ask for the data: {about.access}.
Licence: {about.licence}.

```text
{about.tree}
```

Splits: {about.splits}.

{traps}
Options: {listed or "none"}.
"""


def _values(option: dict[str, Any]) -> str:
    default = "" if option["default"] is None else f"; default {str(option['default']).lower()}"
    return f"{option['values']}{default}"


def _names(names: EntryTable[Any]) -> str:
    """Those that dfbench's own distribution registers, with their presets, linked where they have a page."""
    own = load_plugins().commands.plugin("eval").distribution
    return ", ".join(_name(names[name]) for name in names if names.plugin(name).distribution == own)


def _name(entry: Any) -> str:
    page = f"docs/{entry.name}.md"
    text = f"[`{entry.name}`]({page})" if (ROOT / page).exists() else f"`{entry.name}`"
    presets = getattr(entry, "presets", ())
    return f"{text} ({', '.join(f'`{preset}`' for preset in presets)})" if len(presets) > 1 else text

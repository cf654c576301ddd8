"""``dfbench list``."""

from __future__ import annotations

import click

KINDS = ("detectors", "strategies", "benchmarks", "sources", "metrics")


@click.command("list")
@click.argument("kind", type=click.Choice(KINDS))
@click.option("--json", "as_json", is_flag=True, help="One JSON list on stdout.")
def command(kind: str, as_json: bool) -> None:
    """List what is registered, and the plugin that brought it."""
    from dfbench.cli.output import console, print_json, table
    from dfbench.plugins import registry

    names = getattr(registry(), kind)
    rows = []
    for name in names:
        entry, plugin = names[name], names.plugin(name)
        row = {
            "name": name,
            "summary": entry.summary,
            "plugin": plugin.name,
            "distribution": plugin.distribution,
        }
        row |= {key: getattr(entry, key) for key in ("presets", "paper") if hasattr(entry, key)}
        rows.append(row)
    if as_json:
        print_json(rows)
        return
    extra = "presets" if kind == "detectors" else "paper" if kind == "strategies" else None
    columns = ["name", "summary", *([extra] if extra else []), "plugin"]
    cells = [[_text(row[c]) for c in columns] for row in rows]
    console().print(table("", columns, cells))


def _text(value: object) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)

"""``dfbench list``."""

from __future__ import annotations

from typing import Any

import click

from dfbench.cli.examples import examples

KINDS = ("detectors", "strategies", "benchmarks", "sources", "metrics", "loggers", "reproductions")


class Kind(click.Choice[str]):
    """One of :data:`KINDS`; another word names the nearest."""

    def __init__(self) -> None:
        super().__init__(KINDS)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The kind itself."""
        from dfbench.errors import unknown

        if value not in KINDS:
            raise unknown("kind", str(value), KINDS)
        return str(value)


@click.command("list", epilog=examples("dfbench list strategies", "dfbench list benchmarks --json"))
@click.argument("kind", type=Kind())
@click.option("--json", "as_json", is_flag=True, help="One JSON list on stdout.")
def command(kind: str, as_json: bool) -> None:
    """List what is registered, and the plugin that brought it.

    A name that two plugins registered has a row for each, and is reported on stderr: it cannot be used.
    """
    from dfbench.cli.output import console, print_json, table
    from dfbench.plugins import registry

    names = getattr(registry(), kind)
    rows = []
    for name in names:
        for found in names.registered(name):
            entry, plugin = found.entry, found.plugin
            row = {
                "name": name,
                "summary": entry.summary,
                "plugin": plugin.name,
                "distribution": plugin.distribution,
                "error": names.conflict(name) or None,
            }
            row |= {key: getattr(entry, key) for key in ("presets", "paper") if hasattr(entry, key)}
            rows.append(row)
    for conflict in filter(None, map(names.conflict, names)):
        click.echo(f"warning: {conflict}", err=True)
    if as_json:
        print_json(rows)
        return
    extra = "presets" if kind == "detectors" else "paper" if kind == "strategies" else None
    columns = ["name", "summary", *([extra] if extra else []), "plugin"]
    cells = [[_text(row[c]) for c in columns] for row in rows]
    console().print(table("", columns, cells))


def _text(value: object) -> str:
    return ", ".join(value) if isinstance(value, tuple | list) else str(value)

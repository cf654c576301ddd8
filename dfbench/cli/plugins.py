"""``dfbench plugins``."""

from __future__ import annotations

from dataclasses import asdict

import click

from dfbench.cli.examples import examples


@click.group("plugins", epilog=examples("dfbench plugins list"))
def command() -> None:
    """Plugins: entry points of the group 'dfbench'."""


@command.command("list", short_help="Every plugin, its status and the reason.", epilog=examples("dfbench plugins list"))
@click.option("--json", "as_json", is_flag=True, help="One JSON list on stdout.")
def list_plugins(as_json: bool) -> None:
    """Every plugin with its distribution, status and, if it is broken or disabled, the reason."""
    from rich.text import Text

    from dfbench.cli.output import console, print_json, table
    from dfbench.plugins import registry

    plugins = registry().plugins
    if as_json:
        print_json([asdict(plugin) for plugin in plugins])
        return
    colours = {"loaded": "green", "broken": "red", "disabled": "yellow"}
    rows: list[list[str | Text]] = [
        [p.name, f"{p.distribution} {p.version}".strip(), Text(p.status, style=colours[p.status]), p.reason]
        for p in plugins
    ]
    console().print(table("", ["plugin", "distribution", "status", "reason"], rows))

"""``dfbench plugins``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dfbench.cli.examples import examples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dfbench.plugins import Registry
    from dfbench.testing import Outcome

COLOURS = {"passed": "green", "failed": "red", "refused": "yellow", "not checked": "yellow"}


@click.group(
    "plugins", epilog=examples("dfbench plugins list", "dfbench plugins new mine", "dfbench plugins check mine")
)
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


@command.command(
    "new",
    short_help="A package with a detector, its tests and a README.",
    epilog=examples("dfbench plugins new mine", "dfbench plugins new mine --to work/dfbench-mine"),
)
@click.argument("name")
@click.option("--to", type=click.Path(path_type=Path), help="Folder of the package.  [default: dfbench-NAME]")
def new(name: str, to: Path | None) -> None:
    """Write a complete package with a detector NAME: its network and training loop, tests of the contract that every
    detector keeps, a workflow that runs them, and a README. It trains as it is; put your own network and loop into it.
    """
    from dfbench.cli.output import console, next_steps
    from dfbench.plugins import registry
    from dfbench.scaffold import new_plugin

    folder = to or Path(f"dfbench-{name.replace('_', '-')}")
    for path in new_plugin(name, folder, registry()):
        console().print(str(folder / path))
    next_steps(f"pip install -e '{folder}[test]'", f"dfbench plugins check {name}", f"dfbench eval -d {name} -s replay")


@command.command(
    "check",
    short_help="Whether a detector keeps the contract.",
    epilog=examples(
        "dfbench plugins check mine",
        "dfbench plugins check mine --preset lite --set epochs=1 --strategies naive,gem,lwf",
    ),
)
@click.argument("name")
@click.option("--preset", help="Named configuration of the detector.  [default: the detector's choice]")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="An option; keep the detector small.")
@click.option("--strategies", metavar="NAME[,NAME]", help="Train under these.  [default: all that are installed]")
@click.option("--benchmark", "-b", help="Train on this stream.  [default: a small one, made on the spot]")
@click.option("--rounds", type=click.IntRange(0), default=20, show_default=True, metavar="N",
              help="It may train N times on the first experience to learn it; 0: do not look.")  # fmt: skip
@click.option("--frames", type=click.IntRange(1), default=4, show_default=True, metavar="N",
              help="Frames per video of the small stream.")  # fmt: skip
@click.option("--size", type=click.IntRange(16, 1024), default=64, show_default=True, metavar="N",
              help="Side of its pictures in pixels.")  # fmt: skip
@click.option("--device", default="cpu", show_default=True, help="auto, cpu, cuda, cuda:1, …")
@click.option("--json", "as_json", is_flag=True, help="One JSON list on stdout.")
def check(
    name: str, preset: str | None, settings: tuple[str, ...], strategies: str | None, benchmark: str | None,
    rounds: int, frames: int, size: int, device: str, as_json: bool,
) -> None:  # fmt: skip
    """Check the detector NAME, or every detector of the plugin NAME, against the contract: its plugin imports quickly;
    it builds, learns, saves and loads, repeats under a seed and goes on after an interruption; its loss and predictions
    depend on what they may depend on; strategies train it, or refuse it with a reason.

    Exit code 0 when every promise is kept, 4 otherwise.
    """
    from dfbench.cli.output import print_json
    from dfbench.cli.progress import watching
    from dfbench.errors import PluginError
    from dfbench.plugins import registry
    from dfbench.runs.events import DataProgress
    from dfbench.testing import Subject, check_detector

    known = registry()
    found: dict[str, list[Outcome]] = {}
    with watching() as watcher:
        for detector in _detectors(name, known):
            subject = Subject(
                detector, preset, settings, benchmark, None if strategies is None else strategies.split(","),
                rounds=rounds, frames=frames, size=size, device=device,
            )  # fmt: skip

            def progress(done: int, total: int, what: str, detector: str = detector) -> None:
                watcher.event(DataProgress(f"{detector}: {what}", done, total))

            found[detector] = list(check_detector(subject, known, progress))
    if as_json:
        print_json([{"detector": detector, **asdict(each)} for detector in found for each in found[detector]])
    else:
        for detector, outcomes in found.items():
            _print(detector if len(found) > 1 else "", outcomes)
    failed = [f"{each.check}" for outcomes in found.values() for each in outcomes if each.status == "failed"]
    if failed:
        raise PluginError(
            f"{name}: {len(failed)} of {sum(map(len, found.values()))} checks failed: {', '.join(failed)}"
        )


def _detectors(name: str, known: Registry) -> list[str]:
    """The detector of this name, or those of the plugin."""
    if name in known.detectors:
        return [name]
    of_plugin = [each for each in known.detectors if known.detectors.plugin(each).name == name]
    return of_plugin or [known.detectors[name].name]  # raises


def _print(title: str, outcomes: Sequence[Outcome]) -> None:
    from rich.text import Text

    from dfbench.cli.output import console, table

    rows: list[list[str | Text]] = [
        [each.check, Text(each.status, style=COLOURS[each.status]), each.detail] for each in outcomes
    ]
    console().print(table(title, ["check", "status", ""], rows))

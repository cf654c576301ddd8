"""The ``dfbench`` command. Commands are imported when they are run; help and listings import nothing heavy."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

import click

from dfbench import __version__
from dfbench.errors import DfbenchError
from dfbench.plugins import import_target, registry

_COMMANDS = {
    "eval": (
        "dfbench.cli.eval:command",
        "Train a detector on a benchmark under a strategy and measure forgetting.",
    ),
    "list": ("dfbench.cli.list:command", "List detectors, strategies, benchmarks, sources or metrics."),
    "show": ("dfbench.cli.show:command", "Show what a name stands for: presets, options, experiences."),
    "score": ("dfbench.cli.score:command", "Continual metrics of a given accuracy matrix."),
    "plugins": ("dfbench.cli.plugins:command", "What plugins were found, and why any is broken."),
}


class LazyGroup(click.Group):
    """Knows its commands by name and summary, and imports one when it is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All command names, plugins' included."""
        return sorted({*_COMMANDS, *registry().commands})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the command."""
        if name in _COMMANDS:
            return import_target(_COMMANDS[name][0])
        commands = registry().commands
        return commands.load(name) if name in commands else None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """As click does, but an unknown command names the nearest ones."""
        if args and not args[0].startswith("-") and args[0] not in self.list_commands(ctx):
            from dfbench.errors import unknown

            raise unknown("command", args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing any."""
        commands = registry().commands
        rows = [(n, _COMMANDS[n][1] if n in _COMMANDS else commands[n].summary) for n in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 data, 4 plugin, 5 impossible pair, 6 storage, 130 interrupted.",
)
@click.version_option(__version__, prog_name="dfbench")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Measure, and help to fix, what deepfake detectors forget."""


def main(args: list[str] | None = None) -> None:
    """Entry point: every :class:`DfbenchError` becomes one line on stderr and its exit code."""
    arguments = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in arguments or bool(os.environ.get("DFBENCH_DEBUG"))
    # --debug is accepted anywhere on the line, where people put it after an error.
    arguments = ["--debug"] * debug + [a for a in arguments if a != "--debug"]
    try:
        code = cli.main(args=arguments, prog_name="dfbench", standalone_mode=False)
    except DfbenchError as error:
        _fail(str(error), error.exit_code, debug)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(2)
    except click.ClickException as error:
        where = f" (see '{error.ctx.command_path} --help')" if isinstance(error, click.UsageError) and error.ctx else ""
        _fail(error.format_message() + where, error.exit_code, debug)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted; the same command goes on from the last finished experience", 130, debug)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        _fail(f"unexpected {text} (--debug shows where; please report it)", 1, debug)
    else:
        sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    click.echo(f"{click.style('error:', fg='red', bold=True)} {' '.join(message.split())}", err=True)
    sys.exit(code)

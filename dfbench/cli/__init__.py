"""The ``dfbench`` command. Commands are imported when they are run; help and listings import nothing heavy."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from typing import Any

import click

from dfbench import __version__
from dfbench.cli.examples import examples
from dfbench.errors import DfbenchError, PluginError, StorageError, UsageError
from dfbench.plugin_faults import named
from dfbench.plugins import registry
from dfbench.processes import FirstFailed, speaker

_PREDICT = "dfbench predict judges pictures and videos (dfbench predict --help)"
_TRAIN = "dfbench eval trains and scores (dfbench eval --help)"
INSTEAD = {
    "detect": _PREDICT, "classify": _PREDICT, "infer": _PREDICT,
    "train": _TRAIN, "run": _TRAIN, "test": _TRAIN, "fit": _TRAIN,
    "download": "dfbench zoo pull fetches checkpoints", "plot": "dfbench report draws figures",
}  # fmt: skip
"""Words that people try, and what there is instead; a command of a plugin goes before."""


class LazyGroup(click.Group):
    """Knows its commands by name and summary, from the plugins, and imports one when it is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All command names."""
        return sorted(registry().commands)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the command."""
        commands = registry().commands
        if name not in commands:
            return None
        command = commands.load(name)
        if not isinstance(command, click.Command):
            raise PluginError(
                f"command {name!r} of plugin {commands.plugin(name).name!r}: {commands[name].target!r} "
                f"is a {type(command).__name__}, not a click command"
            )
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """As click does, but an unknown command names the nearest ones."""
        if args and not args[0].startswith("-") and args[0] not in registry().commands:
            if advice := INSTEAD.get(args[0]):
                raise UsageError(f"there is no command {args[0]!r}: {advice}")
            registry().commands[args[0]]  # raises
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing any."""
        commands = registry().commands
        rows = [(n, commands.conflict(n) or commands[n].summary) for n in commands]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 data, 4 plugin, 5 impossible pair, 6 storage, 7 Hub, "
    "130 interrupted.\n\n"
    + examples("dfbench eval -d simple_cnn -s replay", "dfbench compare runs/*", "dfbench leaderboard show -b forge5"),
)
@click.version_option(__version__, prog_name="dfbench")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Measure, and help to fix, what deepfake detectors forget."""


def main(args: list[str] | None = None) -> None:
    """Entry point: every :class:`DfbenchError` becomes one line on stderr and its exit code."""
    arguments = sys.argv[1:] if args is None else args
    debug = "--debug" in arguments or bool(os.environ.get("DFBENCH_DEBUG"))
    # --debug is accepted anywhere on the line, where people put it after an error.
    arguments = ["--debug"] * debug + [a for a in arguments if a != "--debug"]
    try:
        with named(registry):
            code = cli.main(args=arguments, prog_name="dfbench", standalone_mode=False)
    except FirstFailed as error:
        sys.exit(error.exit_code)
    except DfbenchError as error:
        _fail(str(error), error.exit_code, debug)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(2)
    except click.ClickException as error:
        where = f" (see '{error.ctx.command_path} --help')" if isinstance(error, click.UsageError) and error.ctx else ""
        _fail(error.format_message() + where, error.exit_code, debug)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", 130, debug)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            _fail(f"cannot write: {error.strerror}; free some space", StorageError.exit_code, debug)
        _fail(f"unexpected {type(error).__name__}: {error} (--debug shows where; please report it)", 1, debug)
    else:
        sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int, debug: bool) -> None:
    distributed = sys.modules.get("torch.distributed")
    who = speaker(joined=bool(distributed and distributed.is_initialized()))
    if who is None:
        sys.exit(code)
    if debug:
        traceback.print_exc()
    word = "error:" if os.environ.get("NO_COLOR") else click.style("error:", fg="red", bold=True)
    click.echo(f"{word} {who}{' '.join(message.split())}", err=True)
    sys.exit(code)

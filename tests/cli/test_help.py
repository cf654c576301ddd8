"""Every command says how it is used, and what to do next."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from dfbench.cli import cli
from dfbench.errors import DataError, UsageError
from tests.cli.harness import on_a_terminal, run_cli, the_error
from tests.publish.board_runs import make_run

Capture = pytest.CaptureFixture[str]


def walk(command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command, click.Context]]:
    yield context.command_path, command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from walk(below, click.Context(below, context, name))


TOP = click.Context(cli, None, "dfbench", **cli.context_settings)
COMMANDS = {path: (command, context) for path, command, context in walk(cli, TOP)}


@pytest.mark.parametrize("path", COMMANDS)
def test_every_help_has_an_example_that_the_command_takes(path: str) -> None:
    command, context = COMMANDS[path]
    _, found, below = command.get_help(context).partition("Examples:\n")
    assert found, "no example"
    lines = [line.strip() for line in below.splitlines() if line.strip()]
    for line in lines:
        words = shlex.split(line.partition("| ")[2] or line)
        assert words[0] == "dfbench"
        name = max((p for p in COMMANDS if shlex.join(words).startswith(p)), key=len)
        assert name == path or name.startswith(f"{path} "), line
        below, itself = COMMANDS[name]
        below.make_context(name, words[len(name.split()) :], itself.parent)  # parses options and arguments


def test_eval_and_compare_say_what_to_do_next(tiny_stream: Path, tmp_path: Path, capfd: Capture) -> None:
    settings = ("--set", "epochs=1", "--set", "width=4", "--device", "cpu", "--out", tmp_path, "--seed", "1")
    command = ("eval", "-d", "simple_cnn", "-s", "naive", "-b", tiny_stream, *settings)
    done = run_cli(capfd, *command, "-q")
    assert done.code == 0
    assert re.fullmatch(r"average AUC 0\.\d{3}, forgetting −?0\.\d{3}\nrecord: \S+\n", done.out)
    assert not re.search("training|next:|loading", done.err)
    (run,) = tmp_path.iterdir()
    full = run_cli(capfd, *command)
    assert full.err.splitlines()[-1] == f"next: dfbench report {run} · the same with --seed 0 and 2"
    assert "next:" not in full.out + run_cli(capfd, *command, "--json").err
    assert run_cli(capfd, "compare", run).err == f"next: dfbench report {run}\n"
    report = run_cli(capfd, "report", run, "--to", tmp_path / "page")
    assert "dfbench leaderboard add RUN" in report.err
    verified = run_cli(capfd, "verify", run, "--no-data")
    assert verified.err == f"next: dfbench verify {run} --rerun (trains it once more) · dfbench leaderboard add {run}\n"
    assert run_cli(capfd, "verify", run, "--no-data", "-q").err == ""


@pytest.mark.parametrize("command", [["compare"], ["report"], ["verify"], ["leaderboard", "add"]], ids=" ".join)
def test_a_folder_of_runs_is_not_a_run(command: list[str], tmp_path: Path, capsys: Capture) -> None:
    for seed in (0, 1):
        make_run(tmp_path / "runs", seed=seed)
    done = run_cli(capsys, *command, tmp_path / "runs")
    assert f"is not a run but a folder of 2: give {tmp_path / 'runs' / '*'}" in the_error(done, DataError.exit_code)
    assert len(done.err.splitlines()) == 1
    missing = run_cli(capsys, *command, tmp_path / "nosuch")
    assert "no such file or folder" in the_error(missing, DataError.exit_code)
    assert len(missing.err.splitlines()) == 1  # no empty line before it


def test_an_error_on_a_terminal_has_no_empty_line_before_it() -> None:
    shown = on_a_terminal("-m", "dfbench", "report", "nosuch", NO_COLOR="1")
    assert re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", shown.rpartition("\x1b[1A")[2]).startswith("error: nosuch")


@pytest.mark.parametrize(("word", "said"), [("detect", "dfbench predict"), ("train", "dfbench eval")])
def test_a_word_for_what_another_command_does_says_which(word: str, said: str, capsys: Capture) -> None:
    error = the_error(run_cli(capsys, word, "x"), UsageError.exit_code)
    assert error.startswith(f"there is no command {word!r}: ")
    assert said in error

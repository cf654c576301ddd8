"""``dfbench data show``."""

from __future__ import annotations

import click
import pytest

from dfbench.data.prepare.opening import data_set
from dfbench.data.prepare.sources import DATA_SETS
from dfbench.errors import UsageError
from tests.cli.harness import run_cli

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("name", DATA_SETS)
def test_a_data_set_s_page_says_everything_within_80_columns(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    shown = click.unstyle(run_cli(capsys, "data", "show", name).out)
    assert max(map(len, shown.splitlines())) <= 80
    about, words = data_set(name).about, " ".join(shown.split())
    for text in (about.title, about.licence, about.counts, about.citation, about.splits, about.access, *about.traps):
        assert " ".join(text.split()) in words
    for line in about.tree.splitlines():
        assert line in shown
    for option in data_set(name).options():
        assert f"\n{option} " in shown


def test_the_list_has_every_data_set(capsys: Capture) -> None:
    shown = run_cli(capsys, "data", "show")
    assert all(f"\n{name} " in shown.out for name in DATA_SETS)
    pages = run_cli(capsys, "data", "show", "--json").json
    assert [page["name"] for page in pages] == sorted(DATA_SETS)


def test_options_are_shown_with_their_values(capsys: Capture) -> None:
    options = run_cli(capsys, "data", "show", "ffpp", "--json").json["options"]
    assert options["compression"] == {"default": "c23", "values": "raw, c23, c40"}
    assert options["methods"]["values"] == "list of Deepfakes, Face2Face, FaceSwap, NeuralTextures, FaceShifter"
    assert options["fakes_per_real"] == {"default": None, "values": "number"}


def test_an_unknown_data_set_names_the_nearest(capsys: Capture) -> None:
    done = run_cli(capsys, "data", "show", "celeb-df")
    assert done.code == UsageError.exit_code
    assert "did you mean 'celeb-df-v" in done.err

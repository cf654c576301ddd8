"""``dfbench reproduce``: the report's tables on a tiny CIFAR-10, and a recipe that is killed in the middle."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest
import yaml

from dfbench.plugins import load_plugins
from dfbench.publish.reproduction.recipe import read_recipe
from dfbench.testing import write_stream
from tests.cli.harness import install, run_cli, the_error
from tests.conftest import ODD, Done, dfbench
from tests.data.test_cifar10 import write_batches, write_parquet


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with 100 training and 20 test pictures in the layout of the Hub."""
    root = tmp_path_factory.mktemp("data")
    write_parquet(root / "cifar10")
    return root


@pytest.fixture(scope="module")
def made(cifar: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Done, Path]:
    """Both tables with two seeds."""
    out = tmp_path_factory.mktemp("made")
    options = ("--seeds", 2, "--data-root", cifar, "--out", out, "--device", "cpu")
    return dfbench("reproduce", "cifar10-2022", *options), out


def read(out: Path) -> dict[str, Any]:
    return json.loads((out / "tables.json").read_text())


def records(out: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((out / "runs").glob("*/record.json"))]


def test_both_tables_are_made(made: tuple[Done, Path]) -> None:
    done, out = made
    assert done.code == 0, done.err
    recipe = read_recipe(Path(load_plugins().reproductions["cifar10-2022"].target))
    assert [table["key"] for table in read(out)["tables"]] == ["1", "2"]
    page = (out / "tables.md").read_text()
    for table in recipe.tables:
        for row in table.rows:
            assert f"| **{row.name}** (n = 2) |" in page
            assert row.name in done.out
    assert (out / "table-1.svg").read_text().count("<svg") == 1
    for number in range(4):
        assert f'id="ours-{number}"' in (out / "table-2.svg").read_text()
        assert f'id="theirs-{number}"' in (out / "table-2.svg").read_text()
        assert page.count("| *the report* |") == page.count("| difference |") == 6
    assert done.out.rstrip().endswith(str(out / "tables.md"))


def test_the_figures_are_the_runs(made: tuple[Done, Path]) -> None:
    out = made[1]
    by_run = {record["run"]: record for record in records(out)}
    tables = read(out)["tables"]
    for row in (row for table in tables for row in table["rows"]):
        for seed, run in row["runs"].items():
            record = by_run[run]
            assert record["spec"]["seed"] == int(seed)
            assert record["spec"]["benchmark"] == row["benchmark"]
            diagonal = [100 * record["matrix"]["accuracy"][k][k] for k in range(10)]  # one test set for all
            assert row["values"][seed] == pytest.approx(diagonal)
        values = list(row["values"].values())
        assert row["mean"] == pytest.approx([statistics.fmean(v) for v in zip(*values, strict=True)])
        assert row["spread"] == pytest.approx([statistics.stdev(v) for v in zip(*values, strict=True)])
        assert row["difference"] == pytest.approx([m - r for m, r in zip(row["mean"], row["reported"], strict=True)])
    first, second = tables
    assert first["rows"][1]["runs"] == second["rows"][0]["runs"]  # naive is run once for both tables
    assert len(by_run) == 2 * 5
    memory = {r["spec"]["strategy"]: r["memory"]["samples"][-1] for r in by_run.values()}
    assert memory == {"naive": 0, "cwr_star": 0, "replay": 100, "gem": 100}  # all that there is


def test_ten_models_from_the_start(made: tuple[Done, Path]) -> None:
    """Each on more pictures than the one before; the first one is where naive is after its first experience."""
    naive = [r for r in records(made[1]) if r["spec"]["strategy"] == "naive"]
    grown = {r["spec"]["seed"]: r for r in naive if r["spec"]["benchmark"] == "cifar10-aggregate"}
    sizes = [sum(e["train"].values()) for e in grown[0]["data"]["experiences"]]
    assert sizes == list(range(10, 110, 10))
    pieces = {r["spec"]["seed"]: r for r in naive if r["spec"]["benchmark"] == "cifar10-ni10"}
    for seed in (0, 1):
        assert grown[seed]["matrix"]["accuracy"][0] == pieces[seed]["matrix"]["accuracy"][0]
        assert grown[seed]["weights_sha256"] != pieces[seed]["weights_sha256"]


def test_finished_runs_are_kept(made: tuple[Done, Path], cifar: Path) -> None:
    _, out = made
    before = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/record.json")}
    again = dfbench(
        "reproduce", "cifar10-2022", "--seeds", "0,1", "--data-root", cifar, "--out", out, "--device", "cpu", "--json"
    )
    assert again.code == 0, again.err
    assert "training" not in again.err
    assert {path: path.stat().st_mtime_ns for path in out.glob("runs/*/record.json")} == before
    shown = again.json
    assert shown.pop("page") == str(out / "tables.md")
    assert sorted(shown.pop("folders")) == sorted(str(path.parent) for path in before)
    assert shown == read(out)


def test_one_table_of_torchvisions_batches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_batches(tmp_path / "cifar10")
    options = ("--table", "1", "--seeds", "1", "--data-root", tmp_path, "--out", tmp_path / "out", "--device", "cpu")
    done = run_cli(capsys, "reproduce", "cifar10-2022", *options)
    assert done.code == 0, done.err
    assert "run 1/2: Data Aggregate, seed 0" in done.err
    assert "run 2/2: Avalanche Naive, seed 0" in done.err
    assert "Table 2" not in done.out
    assert not (tmp_path / "out" / "table-2.svg").exists()
    assert len(records(tmp_path / "out")) == 2


def test_missing_data_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    out = ("--out", tmp_path / "out")
    (tmp_path / "cifar10").mkdir()
    error = the_error(run_cli(capsys, "reproduce", "cifar10-2022", "--data-root", tmp_path, *out), 3)
    assert "neither cifar-10-batches-py/ nor" in error
    assert "get it with" in error
    monkeypatch.delenv("DFBENCH_DATA", raising=False)
    assert "set DFBENCH_DATA" in the_error(run_cli(capsys, "reproduce", "cifar10-2022", *out), 2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["cifar10"], "unknown reproduction 'cifar10': did you mean 'cifar10-2022'?"),
        (["nowhere.yaml"], "nowhere.yaml: not a recipe"),
        (["cifar10-2022", "--seeds", "x"], "--seeds 'x': give a number of seeds, as 3, or the seeds themselves"),
        (["cifar10-2022", "--seeds", "-1"], "--seeds '-1'"),
        (["cifar10-2022", "--seeds", ","], "--seeds ','"),
        (["cifar10-2022", "--seeds", "0"], "at least one seed is needed"),
        (["cifar10-2022", "--table", "3"], "cifar10-2022 has no table '3'; it has 1, 2"),
    ],
)
def test_a_wrong_request_is_one_line(args: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in the_error(run_cli(capsys, "reproduce", *args), 2)


# --- A recipe of a plugin, on a stream of its own ----------------------------------------------------

PLUGIN = """
from pathlib import Path

from dfbench import BenchmarkEntry, ReproductionEntry, hookimpl

HERE = Path(__file__).parent


@hookimpl
def register_benchmarks():
    return [BenchmarkEntry("three", str(HERE / "three" / "tiny.yaml"))]


@hookimpl
def register_reproductions():
    return [ReproductionEntry("paper", str(HERE / "paper.yaml"), "a table of a test")]
"""
ROWS = [
    {"name": "Three", "benchmark": "three", "strategy": "naive", "reported": [50, 50, None]},
    {"name": "Five", "benchmark": "five/tiny.yaml", "strategy": "replay", "reported": [50, 50, 50, 50, 50]},
]
PAPER = {
    "name": "paper",
    "title": "A paper's tables",
    "paper": "nobody 2024",
    "detector": "mortal",
    "tables": [
        {"key": str(n), "title": "t", "columns": [str(k) for k in range(1, len(row["reported"]) + 1)], "rows": [row]}
        for n, row in enumerate(ROWS, 1)
    ],
}


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe in a plugin, its streams next to it."""
    folder = tmp_path_factory.mktemp("plugin")
    install(
        folder, "paper_tables", {"paper_tables/__init__.py": PLUGIN, "paper_tables/paper.yaml": yaml.safe_dump(PAPER)}
    )
    write_stream(folder / "paper_tables" / "three")
    write_stream(folder / "paper_tables" / "five", experiences=5)
    return folder


def reproduce(plugin: Path, out: Path, *more: object, **env: str) -> Done:
    options = ("--seeds", "0,3", "--out", out, "--device", "cpu", *more)
    return dfbench("reproduce", "paper", *options, python_path=(ODD, plugin), **env)


def test_killed_in_the_middle_it_goes_on_and_ends_in_the_same_tables(plugin: Path, tmp_path: Path) -> None:
    undisturbed = reproduce(plugin, tmp_path / "a")
    assert undisturbed.code == 0, undisturbed.err
    # The stream of three has no experience 3: the second run is killed in its fourth.
    killed = reproduce(plugin, tmp_path / "b", MORTAL_AT="3", MORTAL_SIGNAL="SIGKILL")
    assert killed.code == -9
    assert len(records(tmp_path / "b")) == 1
    assert not (tmp_path / "b" / "tables.json").exists()
    interrupted = reproduce(plugin, tmp_path / "b", MORTAL_AT="4", MORTAL_SIGNAL="SIGINT")
    assert interrupted.code == 130
    assert interrupted.err.rstrip().endswith("interrupted; the same command goes on from the last finished experience")
    assert "run 2/4: Five, seed 0" in interrupted.err
    assert "going on after 3 of 5" in interrupted.err
    resumed = reproduce(plugin, tmp_path / "b")
    assert resumed.code == 0, resumed.err
    assert "going on after 4 of 5" in resumed.err
    assert read(tmp_path / "b") == read(tmp_path / "a")
    for name in ("tables.md", "table-1.svg", "table-2.svg"):
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / "a" / name).read_bytes()
    assert [row["reported"] for table in read(tmp_path / "a")["tables"] for row in table["rows"]] == [
        row["reported"] for row in ROWS
    ]


def test_a_table_with_other_columns_than_experiences_is_refused(plugin: Path, tmp_path: Path) -> None:
    wrong = {**PAPER, "tables": [{**PAPER["tables"][0], "columns": ["1"], "rows": [{**ROWS[0], "reported": [1]}]}]}
    recipe = tmp_path / "wrong.yaml"
    recipe.write_text(yaml.safe_dump(wrong))
    done = dfbench("reproduce", recipe, "--out", tmp_path / "out", "--seeds", 1, python_path=(ODD, plugin))
    assert the_error(done, 3) == "Three: tiny has 3 experiences, and there are 1 published columns"
    assert not (tmp_path / "out").exists()

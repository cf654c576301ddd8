"""``dfbench plugins new``: a package that a stranger installs, tests, trains and puts on a leaderboard."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from dfbench.plugins import OWN
from dfbench.scaffold import FILES
from tests.cli.harness import detectors, install, plugins_of, run_cli, the_error


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment, which sees the packages of this one, dfbench included."""
    folder = tmp_path_factory.mktemp("fresh")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own = subprocess.run([python, "-c", where], check=True, capture_output=True, text=True)
    here = sysconfig.get_path("purelib")
    (Path(own.stdout.strip()) / "outer.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    return python


def test_a_strangers_detector_gets_a_row_on_a_leaderboard(fresh: Path, tiny_stream: Path, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PIP_NO_INDEX": "1"}

    def run(*args: object, cwd: Path = tmp_path) -> str:
        done = subprocess.run(
            [fresh, "-m", *map(str, args)], cwd=cwd, env=environment, capture_output=True, text=True
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert run("dfbench", "plugins", "new", "strange_one").splitlines()[0] == "dfbench-strange-one/pyproject.toml"
    package = tmp_path / "dfbench-strange-one"
    # Without the index: what it requires is there already, in the outer environment.
    run("pip", "install", "-q", "--no-build-isolation", "--no-deps", "./dfbench-strange-one")
    assert metadata_of(package)["dependencies"] == [OWN]
    run("ruff", "check", ".", cwd=package)
    run("ruff", "format", "--check", ".", cwd=package)
    tests = run("pytest", "-q", "-rs", "-k", "not hdp and not sur_lid and not mir", cwd=package)  # which take longest
    assert "2 skipped" in tests, tests
    assert "failed" not in tests
    assert "strange_one" in run("dfbench", "list", "detectors")
    for strategy in ("naive", "replay"):
        made = ["-b", tiny_stream, "--preset", "lite", "--device", "cpu"]
        run("dfbench", "eval", "-d", "strange_one", "-s", strategy, *made)
    (tmp_path / "board").mkdir()
    runs = sorted((tmp_path / "runs").iterdir())
    run("dfbench", "leaderboard", "add", *runs, "--to", "board")
    (board,) = json.loads(run("dfbench", "leaderboard", "show", "--board", "board", "--json"))
    assert {row["strategy"] for row in board["rows"] if row["detector"] == "strange_one"} == {"naive", "replay"}


def metadata_of(package: Path) -> dict[str, Any]:
    return dict(tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"])


def test_every_template_is_written_and_the_workflow_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = run_cli(capsys, "plugins", "new", "mine", "--to", tmp_path / "work" / "mine")
    assert done.code == 0, done
    written = {
        str(p.relative_to(tmp_path / "work" / "mine")) for p in (tmp_path / "work" / "mine").rglob("*") if p.is_file()
    }
    assert written == {path.format(name="mine", module="dfbench_mine") for path in FILES}
    assert set(done.out.splitlines()) == {str(tmp_path / "work" / "mine" / path) for path in written}
    for path in written:
        text = (tmp_path / "work" / "mine" / path).read_text(encoding="utf-8")
        assert "{{ name" not in text
        assert "{%" not in text
    workflow = yaml.safe_load((tmp_path / "work" / "mine" / ".github" / "workflows" / "tests.yml").read_text())
    assert workflow["jobs"]["contract"]["steps"][1]["with"]["python-version"] == "${{ matrix.python }}"
    assert sorted(p.name for p in (tmp_path / "work").iterdir()) == ["mine"]


@pytest.mark.parametrize("name", ["Mine", "my-detector", "2mine", "", "class", "a b", "x" * 41, "../mine", "naïve"])
def test_a_name_that_is_none_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = the_error(run_cli(capsys, "plugins", "new", "--to", tmp_path / "p", "--", name), 2)
    assert "cannot be a detector's name here" in error
    assert not (tmp_path / "p").exists()


def test_a_name_that_is_taken_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = install(tmp_path / "plugins", "theirs", {"theirs.py": detectors("other")})
    with plugins_of(folder, monkeypatch):
        error = the_error(run_cli(capsys, "plugins", "new", "other", "--to", tmp_path / "p"), 2)
        assert error.startswith("there is a detector 'other' already, of plugin 'theirs' of theirs-dist 1.0")
        error = the_error(run_cli(capsys, "plugins", "new", "theirs", "--to", tmp_path / "p"), 2)
        assert error.startswith("there is a plugin 'theirs' already")
    assert not (tmp_path / "p").exists()


def test_nothing_of_the_users_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "notes.txt").write_text("mine")
    assert "not an empty folder" in the_error(run_cli(capsys, "plugins", "new", "mine", "--to", tmp_path / "p"), 2)
    assert [p.name for p in (tmp_path / "p").iterdir()] == ["notes.txt"]
    (tmp_path / "file").write_text("")
    assert "not an empty folder" in the_error(run_cli(capsys, "plugins", "new", "mine", "--to", tmp_path / "file"), 2)
    error = the_error(run_cli(capsys, "plugins", "new", "mine", "--to", tmp_path / "file" / "p"), 6)
    assert error.startswith(f"cannot write {tmp_path}/file/p")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.part").mkdir()
    (tmp_path / "empty.part" / "notes.txt").write_text("mine, too")
    assert run_cli(capsys, "plugins", "new", "mine", "--to", tmp_path / "empty").code == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "empty.part", "file", "p"]
    assert (tmp_path / "empty.part" / "notes.txt").exists()

"""``dfbench report`` as it is typed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.harness import run_cli, the_error
from tests.conftest import dfbench
from tests.publish.report_runs import make_run, read_record

Capture = pytest.CaptureFixture[str]


def test_a_run_is_trained_and_reported(tiny_stream: Path, tmp_path: Path) -> None:
    """From the training to the page, in processes of their own."""
    settings = ("--set", "epochs=1", "--set", "width=4", "--device", "cpu", "--out", tmp_path, "--json")
    trained = dfbench("eval", "-d", "simple_cnn", "-s", "naive", "-b", tiny_stream, *settings)
    assert trained.code == 0, trained.err
    folder = Path(trained.json["record"]).parent
    done = dfbench("report", folder, "--json")
    assert done.code == 0, done.err
    assert done.out.count("\n") == 1
    assert Path(done.json["page"]) == folder / "report" / "report.html"
    assert all(Path(path).stat().st_size > 2000 for files in done.json["figures"].values() for path in files.values())
    metrics = done.json["methods"][0]["metrics"]
    assert metrics["average_auc"] == {"mean": trained.json["metrics"]["average_auc"], "sd": None}
    assert trained.json["run"] in Path(done.json["page"]).read_text()


def test_it_says_what_it_wrote(tmp_path: Path, capfd: Capture) -> None:
    done = run_cli(capfd, "report", make_run(tmp_path), "--to", tmp_path / "to")
    assert done.code == 0, done.err
    assert f"page: {tmp_path / 'to' / 'report.html'}" in done.out
    assert f"{tmp_path / 'to' / 'matrix.svg'}" in done.out
    assert "forgot most of" in done.out


def test_several_runs_go_to_a_folder_here(tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [make_run(tmp_path / "runs", "naive", seed) for seed in (0, 1)]
    done = run_cli(capfd, "report", *runs, "--json")
    assert done.json["page"] == "report/report.html"
    assert Path("report/report.html").exists()
    (method,) = done.json["methods"]
    assert method["seeds"] == [0, 1]
    values = [read_record(run)["metrics"]["forgetting"] for run in runs]
    assert method["metrics"]["forgetting"]["mean"] == pytest.approx(sum(values) / 2)


def test_errors_are_one_line_with_their_code(tmp_path: Path, capfd: Capture) -> None:
    folder = make_run(tmp_path)
    assert "there is no record: no such file or folder" in the_error(run_cli(capfd, "report", tmp_path / "none"), 3)
    (tmp_path / "file").write_text("")
    assert "cannot write" in the_error(run_cli(capfd, "report", folder, "--to", tmp_path / "file" / "x"), 6)
    (folder / "scores.parquet").write_bytes(b"PAR1")
    assert "damaged" in the_error(run_cli(capfd, "report", folder), 3)


def test_it_needs_no_torch_and_its_help_no_matplotlib(tmp_path: Path) -> None:
    """A report can be drawn where nothing is trained."""
    script = (
        "import sys\nfrom dfbench.cli import main\ntry:\n    main(sys.argv[2:])\nexcept SystemExit as ended:\n"
        "    assert not ended.code\nassert not set(sys.argv[1].split()) & set(sys.modules)\n"
    )
    for heavy, *command in (
        ("torch avalanche timm", "report", str(make_run(tmp_path))),
        ("torch avalanche timm matplotlib pandas", "report", "--help"),
    ):
        subprocess.run([sys.executable, "-c", script, heavy, *command], check=True)

"""``dfbench score``: metrics of a matrix from a file or a pipe."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from dfbench.errors import UsageError
from tests.cli.harness import run_cli, the_error
from tests.conftest import Done

Capture = pytest.CaptureFixture[str]
LOWER = [[0.9], [0.8, 0.7], [0.6, 0.5, 0.9]]
FULL = [[0.9, 0.5, 0.4], [0.8, 0.7, 0.6], [0.6, 0.5, 0.9]]


def score(capsys: Capture, folder: Path, text: str, *more: object) -> Done:
    path = folder / "matrix.json"
    path.write_text(text)
    return run_cli(capsys, "score", "--matrix", path, *more)


def test_a_lower_triangle(tmp_path: Path, capsys: Capture) -> None:
    done = score(capsys, tmp_path, json.dumps(LOWER), "--json")
    assert done.code == 0
    assert done.err == ""
    metrics = done.json
    assert metrics.pop("final") == [0.6, 0.5, 0.9]
    assert metrics == pytest.approx(
        {
            "average": (0.6 + 0.5 + 0.9) / 3,
            "average_incremental": (0.9 + 0.75 + 2 / 3) / 3,
            "learning_accuracy": (0.9 + 0.7 + 0.9) / 3,
            "next": None,
            "whole": None,
            "bwt": -0.25,
            "fwt": None,
            "forgetting": 0.25,
            "af": 0.25,
        }
    )


def test_a_full_matrix_with_a_baseline_has_forward_transfer(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "baseline.json").write_text("[null, 0.4, 0.5]")
    done = score(capsys, tmp_path, json.dumps(FULL), "--baseline", tmp_path / "baseline.json", "--json")
    assert done.json["fwt"] == pytest.approx((0.5 - 0.4 + 0.6 - 0.5) / 2)
    assert score(capsys, tmp_path, json.dumps(FULL), "--json").json["fwt"] is None


def test_nulls_undefine_what_uses_them_and_nothing_else(tmp_path: Path, capsys: Capture) -> None:
    joint = [[None, None], [0.8, 0.6]]
    metrics = score(capsys, tmp_path, json.dumps(joint), "--json").json
    assert metrics.pop("average") == pytest.approx(0.7)
    assert metrics.pop("final") == [0.8, 0.6]
    assert set(metrics.values()) == {None}


def test_from_stdin(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"[[95.5], [87.5, 81.5]]"), "utf-8"))
    done = run_cli(capsys, "score", "--matrix", "-", "--json")
    assert done.json["average"] == 84.5
    assert done.json["af"] == 8


def test_the_table_shows_a_dash_where_a_metric_is_undefined(tmp_path: Path, capsys: Capture) -> None:
    done = score(capsys, tmp_path, json.dumps(LOWER))
    cells = [line.split() for line in done.out.splitlines() if not line.startswith("─")]
    assert ["bwt", "−0.250"] in cells
    assert ["fwt", "–"] in cells


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[1], [2, 3", "matrix.json, line 1: not JSON"),
        ("[[1],\n[2, oops]]", "matrix.json, line 2: not JSON"),
        ("", "matrix.json, line 1: not JSON"),
        ('{"auc": [[1]]}', "a JSON list is wanted, not dict"),
        ("[]", "non-empty list of rows"),
        ("[1, 2]", "row 0 of the R matrix is 1, not a list"),
        ("[[1, 2], [3]]", "rows of the R matrix have 2, 1 numbers"),
        ("[[1], [2, 3], [4, 5]]", "must all have 3, or 1 to 3"),
        ('[[1], [2, "x"]]', "row 1, column 1 of the R matrix is 'x'"),
        ("[[true]]", "row 0, column 0 of the R matrix is True"),
        ("[[Infinity]]", "infinite"),
        ("[[null]]", "no number in it"),
        ("[" * 100_000, "nested too deeply"),
        (f"[[{'9' * 5000}]]", "digits"),
        (f'[["{"x" * 5000}"]]', "is 'xxx"),
    ],
)
def test_what_is_not_a_matrix_is_reported(text: str, said: str, tmp_path: Path, capsys: Capture) -> None:
    error = the_error(score(capsys, tmp_path, text, "--json"), UsageError.exit_code)
    assert said in error
    assert "matrix" in error
    assert len(error) < 400


@pytest.mark.parametrize(
    "baseline", ['[0, "x"]', "[0, true]", "[0, Infinity]", "[0, 1" + 400 * "0" + "]", "[0]", '{"a": 1}', "oops"]
)
def test_what_is_not_a_baseline_is_reported(baseline: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "baseline.json").write_text(baseline)
    done = score(capsys, tmp_path, "[[1, 2], [3, 4]]", "--baseline", tmp_path / "baseline.json")
    assert "baseline" in the_error(done, UsageError.exit_code)


def test_a_file_that_cannot_be_read_is_reported(tmp_path: Path, capsys: Capture) -> None:
    missing = run_cli(capsys, "score", "--matrix", tmp_path / "none.json")
    assert the_error(missing, UsageError.exit_code).endswith("none.json: cannot be read (No such file or directory)")
    assert "cannot be read" in the_error(run_cli(capsys, "score", "--matrix", tmp_path), UsageError.exit_code)
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe")
    binary = run_cli(capsys, "score", "--matrix", tmp_path / "binary.json")
    assert "cannot be read" in the_error(binary, UsageError.exit_code)


def test_the_matrix_is_needed(capsys: Capture) -> None:
    error = the_error(run_cli(capsys, "score"), UsageError.exit_code)
    assert error == "Missing option '--matrix'. (see 'dfbench score --help')"

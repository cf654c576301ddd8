"""``dfbench predict`` as a user types it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from dfbench.forge import pack, render
from tests.conftest import dfbench


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("asked")
    for row, pixels in render.render(pack.identities("test")[0], "face_swap", (2,)):
        Image.fromarray(pixels).save(place / f"{row['method']}.png")
    (place / "=bad.jpg").write_bytes(b"no picture")
    return place


def test_a_folder_is_judged_and_everything_is_written(folder: Path, tmp_path: Path) -> None:
    done = dfbench(
        "predict", folder, "--faces", "centre", "--device", "cpu", "--json",
        "--csv", tmp_path / "out.csv", "--report", tmp_path / "out.html",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert done.json["model"]["scope"] == "laboratory"
    said = {Path(each["file"]).name: each["verdict"] for each in done.json["files"]}
    assert said == {"=bad.jpg": "not supported", "face_swap.png": "inconclusive", "pristine.png": "inconclusive"}
    rows = list(csv.DictReader((tmp_path / "out.csv").open(encoding="utf-8")))
    assert [row["verdict"] for row in rows] == [each["verdict"] for each in done.json["files"]]
    assert (tmp_path / "out.html").read_text(encoding="utf-8").count("<article") == 3


def test_the_table_says_what_the_model_is_and_why_it_says_nothing(folder: Path) -> None:
    done = dfbench("predict", folder / "pristine.png", "--faces", "centre", "--device", "cpu")
    assert done.code == 0, done.err
    assert "inconclusive" in done.out
    assert "a demonstration" in done.out
    assert "95 % interval" in done.out


def test_nothing_that_can_be_judged_is_a_data_error(folder: Path) -> None:
    done = dfbench("predict", folder / "=bad.jpg", "--faces", "centre", "--device", "cpu")
    assert done.code == 3
    assert "=bad.jpg: not a readable video" in done.err


def test_answers_are_printed_although_a_file_cannot_be_written(folder: Path) -> None:
    out = folder / "pristine.png" / "out.csv"
    done = dfbench("predict", folder / "pristine.png", "--faces", "centre", "--device", "cpu", "--json", "--csv", out)
    assert done.code == 6, done.err
    assert done.json["files"][0]["verdict"] == "inconclusive"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.png"], "no such file"),
        (["https://example.org/a.mp4"], "not addresses"),
        (["{folder}", "-m", "nosuch"], "unknown checkpoint"),
        (["{folder}", "--faces", "nosuch"], "unknown face detector"),
        (["{folder}", "--frames", "0"], "--frames"),
    ],
)
def test_wrong_words_are_one_line(arguments: list[str], message: str, folder: Path) -> None:
    done = dfbench("predict", *(argument.format(folder=folder) for argument in arguments))
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err


def test_avalanche_is_not_imported(folder: Path) -> None:
    code = (
        "import sys; from dfbench.cli import cli\n"
        f"cli.main(['predict', {str(folder / 'pristine.png')!r}, '--faces', 'centre', '--device', 'cpu', '--json'], "
        "standalone_mode=False)\n"
        "assert 'avalanche' not in sys.modules, 'avalanche'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"][0]["faces"]

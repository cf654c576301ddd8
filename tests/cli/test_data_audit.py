"""``dfbench data audit``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dfbench.errors import DataError, UsageError
from tests.cli.harness import run_cli
from tests.data.audit.conftest import film, write_video

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def dfdc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part that trains and one that tests, each with two reals and their fakes."""
    root = tmp_path_factory.mktemp("dfdc")
    for part in (0, 45):
        folder, metadata = root / f"dfdc_train_part_{part}", {}
        for n in range(2):
            for label in (0, 1):
                name = f"{'fake' if label else 'real'}{part}{n}.mp4"
                write_video(folder / name, film(part + n, bool(label)))
                original = {"original": f"real{part}{n}.mp4"} if label else {}
                metadata[name] = {"label": "FAKE" if label else "REAL"} | original
        (folder / "metadata.json").write_text(json.dumps(metadata))
    return root


def test_a_clean_tree_ends_with_0_and_a_table_of_all_checks(capsys: Capture, dfdc: Path) -> None:
    done = run_cli(capsys, "data", "audit", "dfdc", "--root", dfdc)
    assert (done.code, "failed" in done.out) == (0, False)
    assert "8 videos, each in one split" in done.out
    assert "fewer than 20 reals or 20 fakes" in done.out
    assert "2 of 50 parts are here: 0, 45" in done.err


def test_a_leak_ends_with_3_and_names_the_videos(capsys: Capture, dfdc: Path, tmp_path: Path) -> None:
    """A real of the training part lies in the test part too, encoded once more."""
    root = tmp_path / "leaking"
    root.mkdir()
    (root / "dfdc_train_part_0").symlink_to(dfdc / "dfdc_train_part_0")
    part = root / "dfdc_train_part_45"
    write_video(part / "again.mp4", film(0, False), crf="28")
    write_video(part / "other.mp4", film(7, True))
    listing = {"again.mp4": {"label": "REAL"}, "other.mp4": {"label": "FAKE", "original": "gone.mp4"}}
    (part / "metadata.json").write_text(json.dumps(listing | {"absent.mp4": {"label": "REAL"}}))
    done = run_cli(capsys, "data", "audit", "dfdc", "--root", root)
    assert done.code == DataError.exit_code
    failed = "near-duplicates across splits, missing partners, missing files"
    assert f"error: dfdc in {root}: 3 of 14 checks failed: {failed}" in done.err
    assert "dfdc_train_part_0/real00 (train) and dfdc_train_part_45/again (test)" in done.out
    found = run_cli(capsys, "data", "audit", "dfdc", "--root", root, "--json")
    assert found.code == DataError.exit_code
    checks = {check["name"]: check for check in found.json["checks"]}
    assert found.json["clean"] is False
    assert checks["missing files"]["examples"] == ["dfdc_train_part_45/absent.mp4"]
    assert checks["near-duplicates across splits"]["kind"] == "leak"
    quick = run_cli(capsys, "data", "audit", "dfdc", "--root", root, "--headers-only", "--json")
    assert "near-duplicates across splits" not in quick.err
    assert quick.json["checks"][3]["status"] == "not checked"


def test_options_of_the_data_set_are_read_as_yaml(capsys: Capture, dfdc: Path) -> None:
    done = run_cli(capsys, "data", "audit", "dfdc", "--root", dfdc, "--option", "fakes_per_real=0.5", "--json")
    assert done.json["items"] == 6
    for option in ("fakes_per_real", "=1", "nonsense=1", "test=all"):
        bad = run_cli(capsys, "data", "audit", "dfdc", "--root", dfdc, "--option", option)
        assert bad.code == UsageError.exit_code
    wrong = run_cli(capsys, "data", "audit", "dfdc", "--root", dfdc.parent)
    assert wrong.code == DataError.exit_code
    assert "dfbench data show dfdc" in wrong.err

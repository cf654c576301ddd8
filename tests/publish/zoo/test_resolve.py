"""What a reference means: a name, an entry, a folder; from a checkout and from a wheel. Hub ids: test_pull."""

from __future__ import annotations

import ast
import graphlib
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dfbench.errors import UsageError
from dfbench.plugins import Registry
from dfbench.publish.zoo.from_run import package_run
from dfbench.publish.zoo.places import default, packaged
from dfbench.publish.zoo.resolve import open_checkpoint, resolve

ROOT = Path(__file__).parents[3]


def test_the_zoo_is_found_in_a_wheel_too(tmp_path: Path) -> None:
    """Laid out as pyproject.toml lays out a wheel, and loaded from there."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert "zoo" in wheel["packages"]
    site = tmp_path / "site"
    for package in wheel["packages"]:
        target = wheel["sources"].get(package, Path(package).name)
        if (ROOT / package).exists():
            shutil.copytree(ROOT / package, site / target, dirs_exist_ok=True)
    (name, *_) = packaged()
    script = (
        f"import dfbench\nassert dfbench.__file__.startswith({str(site)!r})\n"
        "from dfbench.publish.zoo.resolve import resolve\nfrom dfbench.plugins import registry\n"
        f"assert str(resolve({name!r}, registry()).weights).startswith({str(site)!r})\ndfbench.load({name!r})"
    )
    environment = {**os.environ, "PYTHONPATH": str(site)}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment, cwd=tmp_path)


def test_what_judges_where_no_model_is_named_is_packaged(known: Registry) -> None:
    located = resolve(default(), known)
    assert located.weights.is_file()
    assert located.entry.training.scope == "laboratory"  # so that it calls nobody's picture real or fake
    assert "by chance" in located.entry.limits


def test_a_folder_of_a_run_is_a_checkpoint(finished: Path, known: Registry) -> None:
    assert resolve(str(finished), known).entry.name == "simple_cnn-replay-tiny"


def test_an_entry_next_to_its_weights_is_a_checkpoint(finished: Path, known: Registry, tmp_path: Path) -> None:
    path = package_run(finished, tmp_path / "zoo", known, name="mine")
    assert path == tmp_path / "zoo" / "mine.yaml"
    assert open_checkpoint(str(path), known).entry.files[0].path == "weights/mine.safetensors"


@pytest.mark.parametrize(
    ("ref", "reason"),
    [
        ("nobody", "unknown checkpoint 'nobody'"),
        ("nowhere/at/all", "no such file or folder"),
        ("missing.yaml", "no such file or folder"),
        ("simple_cnn-replay-forge", "did you mean"),
    ],
)
def test_a_name_that_means_nothing(ref: str, reason: str, known: Registry) -> None:
    with pytest.raises(UsageError, match=reason):
        resolve(ref, known)


def test_zoo_and_hub_import_each_other_in_one_direction() -> None:
    """Imports inside functions and for type checkers count too."""
    arrows: dict[str, set[str]] = {}
    for room in ("zoo", "hub"):
        for path in (ROOT / "dfbench" / "publish" / room).glob("*.py"):
            found = {n.module or "" for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom)}
            arrows[f"dfbench.publish.{room}.{path.stem}"] = {name for name in found if "dfbench.publish." in name}
    assert len(list(graphlib.TopologicalSorter(arrows).static_order())) == len(arrows)
    assert arrows["dfbench.publish.hub.pull"] == {
        "dfbench.publish.hub.errors",
        "dfbench.publish.hub.transfer",
        "dfbench.publish.zoo.entry",
        "dfbench.publish.zoo.places",
    }

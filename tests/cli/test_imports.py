"""Help and listings start at once: nothing heavy is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "torchvision", "avalanche", "timm")

SCRIPT = """
import sys
from dfbench.cli import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    assert not ended.code, ended.code
print("\\nimported:", *sys.modules)
"""


@pytest.mark.parametrize(
    "command",
    [
        ["--help"],
        ["--version"],
        ["eval", "--help"],
        ["list", "detectors"],
        ["list", "strategies", "--json"],
        ["list", "benchmarks"],
        ["list", "sources"],
        ["list", "metrics"],
        ["list", "reproductions"],
        ["show", "cifar10-2022"],
        ["reproduce", "--help"],
        ["sweep", "--help"],
        ["score", "--matrix", "matrix.json"],
        ["show", "cifar10-ni10"],
        ["plugins", "list"],
        ["zoo", "list", "--json"],
        ["data", "show"],
        ["data", "show", "ffpp", "--json"],
        ["data", "prepare", "--help"],
    ],
    ids=" ".join,
)
def test_nothing_heavy_is_imported(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "matrix.json").write_text("[[0.9], [0.8, 0.7]]")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *command], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    output, _, imported = done.stdout.rpartition("\nimported:")
    assert output.strip()
    assert {name.partition(".")[0] for name in imported.split()}.isdisjoint(HEAVY)


def test_an_unknown_name_is_an_error_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    script = SCRIPT.replace("assert not ended.code", "assert ended.code == 2")
    command = ["eval", "-d", "simple_cnn", "-s", "reply", "-b", "cifar10-ni10"]
    done = subprocess.run(
        [sys.executable, "-c", script, *command], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "did you mean 'replay'" in done.stderr
    assert {name.partition(".")[0] for name in done.stdout.split()}.isdisjoint(HEAVY)


def test_importing_the_package_imports_nothing_heavy() -> None:
    script = f"import sys, dfbench\nassert not set(sys.modules) & set({HEAVY!r})"
    subprocess.run([sys.executable, "-c", script], check=True)

"""Finding and loading checkpoints: by name, entry, folder; from a checkout and from a wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from dfbench.errors import DataError, DfbenchError, UsageError
from dfbench.plugins import Registry, load_plugins
from dfbench.publish.zoo.checkpoint import Located, entries, find, load, load_located
from dfbench.publish.zoo.entry import read_entry, write_entry
from dfbench.publish.zoo.from_run import package_run
from dfbench.publish.zoo.places import packaged
from tests.cli.harness import install, plugins_of

ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that a test may spoil."""
    return shutil.copytree(finished, tmp_path / finished.name)


def test_a_checkpoint_of_our_own_ships(known: Registry) -> None:
    assert packaged()
    for name, found in entries(known):
        assert isinstance(found, Located), found
        if found.entry.hub is None:
            loaded = load(name, known)
            assert sum(p.numel() for p in loaded.model.parameters()) == found.entry.parameters
            assert not loaded.model.training
            assert not loaded.detector.config.model_dump().keys() - found.entry.config.keys()


def test_a_loaded_checkpoint_predicts_what_the_run_recorded(finished: Path, known: Registry, tiny_stream: Path) -> None:
    """Picture by picture: the scores of the record's last row."""
    from dfbench.data.loader import Batch
    from dfbench.data.pictures import read_picture
    from dfbench.evaluation.scores import Scores

    detector, model, entry = load(str(finished), known)
    group = Scores.read(finished / "scores.parquet").get(2, 1)
    assert group is not None
    pictures = {p.name: p for p in tiny_stream.parent.rglob("*.png")}
    pixels = torch.stack([torch.from_numpy(read_picture(pictures[Path(s).name]).copy()) for s in group.samples])
    zeros = torch.zeros(len(pixels), dtype=torch.int64)
    with torch.no_grad():
        p = detector.predict(model, Batch(pixels, zeros, zeros, zeros))
    assert entry.classes == ("real", "fake")
    assert torch.allclose(p[:, 1], torch.from_numpy(group.scores), atol=1e-5)


def test_loading_imports_no_avalanche() -> None:
    (name, *_) = packaged()
    script = (
        "import sys\nfrom dfbench.publish.zoo.checkpoint import load\n"
        f"assert load({name!r}).model is not None\nassert 'avalanche' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


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
        "from dfbench.publish.zoo.checkpoint import find, load\nfrom dfbench.plugins import registry\n"
        f"assert str(find({name!r}, registry()).weights).startswith({str(site)!r})\nload({name!r})"
    )
    environment = {**os.environ, "PYTHONPATH": str(site)}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment, cwd=tmp_path)


def test_a_folder_of_a_run_is_a_checkpoint(folder: Path, known: Registry) -> None:
    assert find(str(folder), known).entry.name == "simple_cnn-replay-tiny"


def test_an_entry_beside_its_weights_is_a_checkpoint(folder: Path, known: Registry, tmp_path: Path) -> None:
    path = package_run(folder, tmp_path / "zoo", known, name="mine")
    assert path == tmp_path / "zoo" / "mine.yaml"
    assert load(str(path), known).entry.files[0].path == "weights/mine.safetensors"


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
        find(ref, known)


def test_weights_with_one_bit_changed_are_not_opened(folder: Path, known: Registry) -> None:
    located = find(str(folder), known)
    weights = bytearray(located.weights.read_bytes())
    weights[-1] ^= 1
    located.weights.write_bytes(weights)
    with pytest.raises(DataError, match=r"has sha256 .* it is not used"):
        load_located(located, known)
    located.weights.write_bytes(weights[:-1])
    with pytest.raises(DataError, match=r"bytes and not .*not used"):
        load_located(located, known)
    located.weights.unlink()
    with pytest.raises(DataError, match="is missing; fetch it with: dfbench zoo pull"):
        load_located(located, known)


def test_weights_of_another_network_do_not_load(folder: Path, known: Registry) -> None:
    located = find(str(folder), known)
    wider = located.entry.model_copy(update={"config": {**located.entry.config, "width": 12}})
    with pytest.raises(
        DataError, match=r"do not fit .*'simple_cnn'.* is 8×12×3×3 and not 12×12×3×3 .*dfbench-deepfake"
    ):
        load_located(Located(wider, located.folder), known)


def test_a_configuration_of_another_version(folder: Path, known: Registry) -> None:
    located = find(str(folder), known)
    other = located.entry.model_copy(update={"config": {**located.entry.config, "depth": 3}})
    with pytest.raises(DataError, match=r"option 'depth' of its configuration does not suit detector 'simple_cnn'"):
        load_located(Located(other, located.folder), known)


def test_a_detector_that_is_not_installed(folder: Path, known: Registry) -> None:
    located = find(str(folder), known)
    other = located.entry.model_copy(update={"detector": "gone"})
    with pytest.raises(UsageError, match=r"needs plugin 'simple_cnn' of dfbench-deepfake .*unknown detector 'gone'"):
        load_located(Located(other, located.folder), known)


def test_weights_that_diverged_are_refused(folder: Path, known: Registry) -> None:
    from safetensors.torch import load_file, save_file

    from dfbench.files import sha256_of

    located = find(str(folder), known)
    state = load_file(located.weights)
    state["head.bias"][0] = float("nan")
    save_file(state, located.weights)
    weights = located.entry.weights.model_copy(update={"sha256": sha256_of(located.weights)})
    entry = located.entry.model_copy(update={"files": (weights,)})
    with pytest.raises(DataError, match=r"head.bias holds values that are not finite"):
        load_located(Located(entry, located.folder), known)


# --- register_zoo -------------------------------------------------------------------------------------


BRINGS = """
from pathlib import Path
from dfbench import ZooEntry, hookimpl


@hookimpl
def register_zoo():
    return [ZooEntry(path.stem, str(path)) for path in Path(__file__).parent.glob("zoo/*.yaml")]
"""


def test_a_plugin_brings_a_checkpoint(
    finished: Path, known: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = install(tmp_path, "dfbench_bringer", {"dfbench_bringer/__init__.py": BRINGS})
    package_run(finished, folder / "dfbench_bringer" / "zoo", known, name="brought")
    with plugins_of(folder, monkeypatch):
        registry = load_plugins()
        assert registry.zoo.plugin("brought").distribution == "dfbench_bringer-dist"
        assert load("brought", registry).entry.name == "brought"


def test_a_broken_entry_disturbs_no_other(
    finished: Path, known: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = install(tmp_path, "dfbench_spoiler", {"dfbench_spoiler/__init__.py": BRINGS})
    zoo = folder / "dfbench_spoiler" / "zoo"
    path = package_run(finished, zoo, known, name="renamed")
    write_entry(read_entry(path).model_copy(update={"name": "other"}), path)
    (zoo / "spoilt.yaml").write_text("name: spoilt\n")
    with plugins_of(folder, monkeypatch):
        found = dict(entries(load_plugins()))
    renamed, spoilt = found.pop("renamed"), found.pop("spoilt")
    assert isinstance(renamed, DfbenchError)
    assert isinstance(spoilt, DfbenchError)
    assert "calls itself 'other'" in str(renamed)
    assert "spoilt.yaml" in str(spoilt)
    assert found
    assert all(isinstance(f, Located) for f in found.values())

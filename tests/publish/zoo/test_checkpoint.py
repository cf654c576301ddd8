"""Loading: the right weights, strictly, in the right network; and entries that plugins register."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dfbench.errors import DataError, DfbenchError, UsageError
from dfbench.files import sha256_of
from dfbench.plugins import Registry, load_plugins
from dfbench.publish.zoo import entry as entry_module
from dfbench.publish.zoo.checkpoint import LocatedEntry, entries, load_located
from dfbench.publish.zoo.entry import read_entry, write_entry
from dfbench.publish.zoo.from_run import package_run
from dfbench.publish.zoo.places import packaged
from dfbench.publish.zoo.resolve import open_checkpoint, resolve
from tests.cli.harness import install, plugins_of


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that a test may spoil."""
    return shutil.copytree(finished, tmp_path / finished.name)


def test_a_checkpoint_of_our_own_ships(known: Registry) -> None:
    assert packaged()
    for name, found in entries(known):
        assert isinstance(found, LocatedEntry), found
        if found.entry.hub is None:
            loaded = open_checkpoint(name, known)
            assert sum(p.numel() for p in loaded.model.parameters()) == found.entry.parameters
            assert not loaded.model.training
            assert not loaded.detector.config.model_dump().keys() - found.entry.config.keys()


def test_weights_with_one_bit_changed_are_not_opened(folder: Path, known: Registry) -> None:
    located = resolve(str(folder), known)
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


def test_no_file_is_hashed_twice(folder: Path, known: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []

    def counting(path: Path) -> str:
        hashed.append(path.name)
        return sha256_of(path)

    monkeypatch.setattr(entry_module, "sha256_of", counting)
    located = resolve(str(folder), known).check().check()
    load_located(located, known)
    assert sorted(hashed) == ["model.safetensors", "record.json"]


def test_weights_of_another_network_do_not_load(folder: Path, known: Registry) -> None:
    located = resolve(str(folder), known)
    wider = located.entry.model_copy(update={"config": {**located.entry.config, "width": 12}})
    with pytest.raises(
        DataError, match=r"do not fit .*'simple_cnn'.* is 8×12×3×3 and not 12×12×3×3 .*dfbench-deepfake"
    ):
        load_located(LocatedEntry(wider, located.folder), known)


def test_a_configuration_of_another_version(folder: Path, known: Registry) -> None:
    located = resolve(str(folder), known)
    other = located.entry.model_copy(update={"config": {**located.entry.config, "depth": 3}})
    with pytest.raises(DataError, match=r"does not suit the installed detector 'simple_cnn': option depth: Extra"):
        load_located(LocatedEntry(other, located.folder), known)


def test_a_detector_that_is_not_installed(folder: Path, known: Registry) -> None:
    located = resolve(str(folder), known)
    other = located.entry.model_copy(update={"detector": "gone"})
    with pytest.raises(UsageError, match=r"needs plugin 'simple_cnn' of dfbench-deepfake .*unknown detector 'gone'"):
        load_located(LocatedEntry(other, located.folder), known)


def test_weights_that_diverged_are_refused(folder: Path, known: Registry) -> None:
    from safetensors.torch import load_file, save_file

    located = resolve(str(folder), known)
    state = load_file(located.weights)
    state["head.bias"][0] = float("nan")
    save_file(state, located.weights)
    weights = located.entry.weights.model_copy(update={"sha256": sha256_of(located.weights)})
    entry = located.entry.model_copy(update={"files": (weights,)})
    with pytest.raises(DataError, match=r"head.bias holds values that are not finite"):
        load_located(LocatedEntry(entry, located.folder), known)


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
        assert open_checkpoint("brought", registry).entry.name == "brought"


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
    assert all(isinstance(f, LocatedEntry) for f in found.values())

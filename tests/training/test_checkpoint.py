"""Checkpoints: what goes in comes out, and nothing half-written is ever found."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dfbench.errors import StorageError
from dfbench.training.checkpoint import load_checkpoint, save_checkpoint

leaves = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(max_size=5)
trees = st.dictionaries(
    st.text(min_size=1, max_size=5).filter(lambda k: k != "$tensor"),
    st.recursive(leaves, lambda c: st.lists(c, max_size=3) | st.dictionaries(st.text(max_size=3), c, max_size=3)),
    max_size=4,
)


@given(trees)
def test_plain_values_come_back(tmp_path_factory: pytest.TempPathFactory, tree: dict) -> None:
    folder = tmp_path_factory.mktemp("c") / "01"
    save_checkpoint(folder, tree)
    assert load_checkpoint(folder) == tree


def test_tensors_come_back_with_type_and_shape(tmp_path: Path) -> None:
    shared = torch.randn(4, 6, 3, 3).to(memory_format=torch.channels_last)
    tree = {"a": [shared, {"b": shared.half()}], "view": shared[1:], "int": torch.arange(3), "none": torch.empty(0)}
    save_checkpoint(tmp_path / "01", tree)
    loaded = load_checkpoint(tmp_path / "01")
    assert torch.equal(loaded["a"][0], shared)
    assert loaded["a"][1]["b"].dtype == torch.float16
    assert torch.equal(loaded["view"], shared[1:])
    assert loaded["int"].tolist() == [0, 1, 2]
    assert loaded["none"].shape == (0,)


@pytest.mark.parametrize("value", [object(), {1, 2}, {3: 4}, {"$tensor": "0"}])
def test_what_cannot_be_stored_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(TypeError):
        save_checkpoint(tmp_path / "01", {"x": value})


@pytest.mark.parametrize("name", ["state.json", "state.safetensors"])
def test_any_damaged_byte_is_noticed(tmp_path: Path, name: str) -> None:
    save_checkpoint(tmp_path / "01", {"w": torch.ones(10), "count": 12345})
    path = tmp_path / "01" / name
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(StorageError, match="--fresh"):
            load_checkpoint(tmp_path / "01")
    path.write_bytes(whole)
    assert load_checkpoint(tmp_path / "01")["count"] == 12345


def test_an_unwritable_place_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot write checkpoint"):
        save_checkpoint(tmp_path / "file" / "01", {"w": torch.ones(1)})

"""Zoo entries: what they may say, and that they come back as they were written."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from dfbench.errors import DataError
from dfbench.publish.zoo.entry import CheckpointEntry, check_entry, entry_json, parse_entry, read_entry, write_entry

ENTRY: dict[str, Any] = {
    "name": "cnn-replay",
    "summary": "a CNN",
    "detector": "cnn",
    "plugin": {"name": "cnn", "distribution": "dfbench-cnn", "version": "1.0"},
    "preset": "default",
    "config": {"width": 8},
    "classes": ["real", "fake"],
    "hub": {"repo": "me/cnn", "commit": "0" * 40},
    "files": [{"path": "model.safetensors", "sha256": "a" * 64, "size": 10}],
    "parameters": 5,
    "input": {"native_size": [112, 96], "size": None, "normalisation": {"mean": [0.5] * 3, "std": [0.5] * 3}},
    "decision": {"threshold": 0.5},
    "licence": {"code": "Apache-2.0", "weights": "unknown"},
    "training": {"benchmark": "b", "fingerprint": "f" * 64, "experiences": ["one", "two"], "strategy": "s",
                 "strategy_config": {}, "memory": 10, "seed": 0},
    "results": {"metric": "auc", "split": "test", "average": 0.9, "forgetting": None,
                "per_experience": {"one": 0.85, "two": 0.95}},
    "records": ["cnn-default-s-b-s0-01234567"],
    "intended_use": "research",
    "limits": "many",
}  # fmt: skip


def changed(path: str, value: Any) -> dict[str, Any]:
    """The entry with one value replaced; ``path`` as ``files.0.size``."""
    entry: Any = copy.deepcopy(ENTRY)
    *way, last = path.split(".")
    at = entry
    for key in way:
        at = at[int(key)] if key.isdigit() else at[key]
    at[int(last) if last.isdigit() else last] = value
    return entry


def test_an_entry_comes_back_as_it_was(tmp_path: Path) -> None:
    entry = CheckpointEntry.model_validate(ENTRY)
    write_entry(entry, tmp_path / "e.yaml")
    assert read_entry(tmp_path / "e.yaml") == entry
    assert parse_entry(entry_json(entry).decode(), "json") == entry
    assert json.loads(entry_json(entry)) == yaml.safe_load((tmp_path / "e.yaml").read_text())
    assert entry.input.picture_size == (112, 96)


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("unknown", 1, "unknown: Extra inputs are not permitted"),
        ("hub.branch", "main", "hub.branch: Extra"),
        ("hub.commit", "main", "hub.commit"),
        ("hub.repo", "https://huggingface.co/me/cnn", "hub.repo"),
        ("name", "../evil", "name"),
        ("files", [], "files"),
        ("files.0.sha256", "a" * 63, "files.0.sha256"),
        ("files.0.size", 0, "files.0.size"),
        ("files.0.path", "model.bin", "can run code"),
        ("files.0.path", "model.PTH", "can run code"),
        ("files.0.path", "../model.safetensors", "not a path inside"),
        ("files.0.path", "/model.safetensors", "not a path inside"),
        ("files.0.path", "record.json", "must be the weights as .safetensors"),
        ("files", ENTRY["files"] * 2, "named twice"),
        ("classes", ["real"], "classes"),
        ("decision.threshold", 1.5, "decision.threshold"),
        ("decision.calibration", "temperature", "decision.calibration"),
        ("training.fingerprint", "f", "training.fingerprint"),
        ("results.split", "train", "results.split"),
        ("format", 2, "format"),
    ],
)
def test_what_an_entry_may_not_say(path: str, value: Any, reason: str) -> None:
    with pytest.raises(DataError, match=rf"somewhere: .*{reason}"):
        check_entry(changed(path, value), "somewhere")


@pytest.mark.parametrize("key", [k for k in ENTRY if k != "hub"])
def test_what_an_entry_must_say(key: str) -> None:
    entry = {k: v for k, v in ENTRY.items() if k != key}
    with pytest.raises(DataError, match=f"somewhere: {key}: Field required"):
        check_entry(entry, "somewhere")


@pytest.mark.parametrize("text", ["[", "- a", "", "!!python/object/apply:os.getcwd []"])
def test_what_is_no_entry_at_all(text: str, tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(text)
    with pytest.raises(DataError, match=r"e\.yaml(, line 1)?: "):
        read_entry(tmp_path / "e.yaml")


def test_an_entry_cannot_be_changed() -> None:
    entry = CheckpointEntry.model_validate(ENTRY)
    with pytest.raises(ValueError, match="frozen"):
        entry.parameters = 6  # type: ignore[misc]

"""Checkpoints: tensors as safetensors, everything else as JSON, never a pickle.

A checkpoint is a folder that appears all at once (written under another name, then renamed), so a killed run
leaves either the whole of it or nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from dfbench.errors import DataError, StorageError
from dfbench.files import replacing, sha256_of
from dfbench.training.adaptation import Adaptation, metadata_of

_TENSOR = "$tensor"


def save_checkpoint(folder: Path, tree: dict[str, Any]) -> None:
    """Write a checkpoint.

    Args:
        folder: where; an older checkpoint of that name is replaced.
        tree: nested dicts and lists of tensors, numbers, strings and None.

    Raises:
        StorageError: the disk is full or not writable; nothing half-written is left under that name.
    """
    tensors: dict[str, torch.Tensor] = {}
    document = _pack(tree, tensors)
    part = folder.with_name(folder.name + ".part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        save_file(tensors, part / "state.safetensors")
        content = {"tree": document, "sha256": sha256_of(part / "state.safetensors")}
        (part / "state.json").write_text(json.dumps(content | {"check": _check(content)}), encoding="utf-8")
        _sync(part)
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(part, ignore_errors=True)
        raise StorageError(
            f"cannot write checkpoint {folder}: {error}; free some space and run the same command again"
        ) from error


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """Read what :func:`save_checkpoint` wrote.

    Returns:
        The tree, its tensors on the CPU and its tuples as lists.

    Raises:
        StorageError: a file is missing, damaged or not the one that was written.
    """
    try:
        content = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        path = folder / "state.safetensors"
        if content.pop("check") != _check(content) or sha256_of(path) != content["sha256"]:
            raise ValueError("its hash is not the recorded one")
        return _unpack(content["tree"], load_file(path))
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise StorageError(f"checkpoint {folder} is damaged ({error}): start this run again with --fresh") from error


def save_weights(path: Path, weights: dict[str, torch.Tensor], adaptations: Sequence[Adaptation] = ()) -> str:
    """Write a state dict as safetensors, all at once.

    Args:
        path: the file.
        weights: what to write.
        adaptations: what was added to the network that they are of; its header says it.

    Returns:
        SHA-256 of the file, hex.

    Raises:
        StorageError: the disk is full or not writable.
    """
    try:
        with replacing(path) as part:
            plain = {name: _plain(tensor) for name, tensor in weights.items()}
            save_file(plain, part, metadata=metadata_of(adaptations) or None)
    except SafetensorError as error:
        raise StorageError(f"cannot write {path}: {error}") from error
    return sha256_of(path)


def load_weights(path: Path, name: str) -> dict[str, torch.Tensor]:
    """Read a state dict, its tensors on the CPU.

    Args:
        path: the file of safetensors.
        name: what errors call the checkpoint.

    Raises:
        DataError: the file is missing or damaged, or holds values that are not finite.
    """
    try:
        state = load_file(path)
    except FileNotFoundError:
        raise DataError(f"{name}: {path} is missing") from None
    except (OSError, ValueError, SafetensorError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: not a safetensors file ({reason})") from error
    if diverged := [key for key, value in state.items() if not value.isfinite().all()]:
        raise DataError(f"{name}: {diverged[0]} holds values that are not finite; training diverged")
    return state


def misfit(expected: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]) -> str:
    """What keeps weights from fitting a network, in words: the first tensor and how many more; empty if they fit."""
    missing, strange = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    problems = [
        *(f"{name} is missing" for name in missing),
        *(f"{name} is unknown" for name in strange),
        *(
            f"{name} is {_shape(found[name])} and not {_shape(expected[name])}"
            for name in sorted(expected.keys() & found.keys())
            if found[name].shape != expected[name].shape
        ),
    ]
    more = f" ({len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{problems[0]}{more}" if problems else ""


def _shape(tensor: torch.Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a scalar"


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _pack(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        key = str(len(tensors))
        tensors[key] = _plain(value)
        return {_TENSOR: key}
    if isinstance(value, dict):
        bad = [k for k in value if not isinstance(k, str) or k == _TENSOR]
        if bad:
            raise TypeError(f"state keys must be strings, not {bad[0]!r}")
        return {k: _pack(v, tensors) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_pack(v, tensors) for v in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a checkpoint cannot hold a {type(value).__name__}")


def _unpack(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, dict):
        if _TENSOR in value:
            return tensors[value[_TENSOR]]
        return {k: _unpack(v, tensors) for k, v in value.items()}
    if isinstance(value, list):
        return [_unpack(v, tensors) for v in value]
    return value


def _check(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _sync(folder: Path) -> None:
    """Have the files on disk before the rename that makes them count."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())

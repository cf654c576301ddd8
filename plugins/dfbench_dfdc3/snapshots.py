"""Conversion of the authors' published snapshots, downloaded by the user, to a dfbench checkpoint.

A snapshot (``snapshot_100000.fp16.pth``) is a state dict in the key names of the package
``efficientnet-pytorch`` 0.6.3, fp16, with one output row. The weights' licence is not stated: convert
what you have downloaded for yourself, and do not pass it on.
"""

from __future__ import annotations

import hashlib
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from dfbench_imagenet import key_names as named
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from dfbench import DataError, StorageError, UsageError
from dfbench_dfdc3.networks import Ensemble, TemporalExpansion, frame_network, over_time

ORIGINAL_BODY = "tf_efficientnet_b7"
FORMAT = "dfbench-dfdc3-1"
_MARKS = {"large_crop": "A", "_re_": "B", "_seq_": "C"}
"""What tells the published folders apart, whose names begin with ``efficientnet-b``, and whose network is in them."""
_BODIES = {
    (16, 1280): "b0", (23, 1280): "b1", (23, 1408): "b2", (26, 1536): "b3",
    (32, 1792): "b4", (39, 2048): "b5", (45, 2304): "b6", (55, 2560): "b7",
}  # fmt: skip
"""Blocks and channels of the last convolution of each EfficientNet (Tan & Le 2019)."""


def key_names(network: nn.Module) -> dict[str, str]:
    """Names of a network's tensors in the snapshots, and timm's names of the same tensors.

    An expansion convolution that runs over time has the names of its wrapper in network C (``._expand_conv.conv``).

    Raises:
        UsageError: it has layers that the solution's networks do not have.
    """
    return named(network, replaced=(TemporalExpansion,))


def convert(state: Mapping[str, torch.Tensor], body: str, clip_length: int | None, where: str) -> nn.Module:
    """Convert one snapshot's state dict to a one-logit network of timm, float32.

    Args:
        state: the snapshot.
        body: EfficientNet of timm.
        clip_length: frames that network C sees; None for A and B.
        where: names the file in errors.

    Raises:
        DataError: it is not a snapshot of this network; the message names the first tensor that is missing, foreign
            or of another shape.
    """
    network = frame_network(body)
    if clip_length is not None:
        over_time(network, clip_length)
    names, wanted = key_names(network), network.state_dict()
    kind = "clips (C)" if clip_length else "frames (A, B)"
    expected = f"a snapshot of DFDC_3's network of {kind} has"
    hint = _hint(state, body, clip_length is not None)
    if missing := [name for name in names if name not in state]:
        raise DataError(f"{where}: no tensor {missing[0]!r} ({len(missing)} missing), which {expected}{hint}")
    if foreign := [name for name in state if name not in names]:
        raise DataError(f"{where}: tensor {foreign[0]!r} is none that {expected}{hint}")
    converted = {}
    for theirs, ours in names.items():
        tensor = state[theirs]
        if not isinstance(tensor, torch.Tensor) or tensor.shape != wanted[ours].shape:
            given = tuple(tensor.shape) if isinstance(tensor, torch.Tensor) else type(tensor).__name__
            raise DataError(
                f"{where}: tensor {theirs!r} is {given}; {expected} {tuple(wanted[ours].shape)} there{hint}"
            )
        if theirs.endswith(".num_batches_tracked"):  # 99 900 is infinite in fp16; nothing is computed from it
            tensor = torch.nan_to_num(tensor.float(), posinf=0.0)
        converted[ours] = tensor.to(wanted[ours].dtype)
        if not torch.isfinite(converted[ours]).all():
            raise DataError(f"{where}: tensor {theirs!r} holds values that are not finite")
    network.load_state_dict(converted)
    return network


def _hint(state: Mapping[str, Any], body: str, clips: bool) -> str:
    """What a state dict of other tensors probably is, as the end of an error; empty if nothing is known."""
    if all(key.startswith("module.") for key in state):
        return "; its names begin with 'module.': save model.module.state_dict()"
    wrapped = [key for key, value in state.items() if isinstance(value, Mapping) and value]
    if wrapped:
        return f"; it holds a dict under {wrapped[0]!r}: save that alone"
    blocks = {key.split(".")[1] for key in state if key.startswith("_blocks.")}
    last = state.get("_conv_head.weight")
    known = _BODIES.get((len(blocks), len(last) if isinstance(last, torch.Tensor) and last.dim() else 0))
    if known and known != body.partition(".")[0].rpartition("_")[2]:
        return f"; it looks like an EfficientNet-{known.upper()}: --body tf_efficientnet_{known}"
    if any("_expand_conv.conv." in key for key in state) != clips:
        return "; this looks like the other kind of network"
    return ""


def read_snapshot(path: Path) -> dict[str, torch.Tensor]:
    """A snapshot's state dict. Only tensors are unpickled.

    Raises:
        DataError: there is no such file, or it is not a state dict.
    """
    try:
        with path.open("rb") as file:
            start = file.read(64).lstrip()
    except OSError as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise DataError(f"{path}: {reason}") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of old formats before it refuses them
            state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen kinds
        why = f"({type(error).__name__})"
        if start.startswith(b"<"):
            why = "but a web page: download it again"
        elif not start or isinstance(error, EOFError) or start.startswith(b"PK"):
            why += ": an incomplete download?"
        raise DataError(f"{path}: not a PyTorch file of tensors {why}") from None
    if not isinstance(state, Mapping) or not state or not all(isinstance(key, str) for key in state):
        raise DataError(f"{path}: holds a {type(state).__name__}, not the state dict of a network")
    return dict(state)


def convert_files(a: Path, b: Path, c: Path, to: Path, body: str = ORIGINAL_BODY, clip_length: int = 7) -> str:
    """Convert the three snapshots to one file of safetensors.

    Args:
        a: snapshot of network A.
        b: snapshot of network B.
        c: snapshot of network C.
        to: the file to write.
        body: EfficientNet of timm.
        clip_length: frames that network C sees.

    Returns:
        SHA-256 of the file, hex.

    Raises:
        UsageError: a file is in the published folder of another network, or timm has no such body.
        DataError: a file is not the snapshot that it should be, or A's and B's are the same.
        StorageError: ``to`` cannot be written.
    """
    for path, network in ((a, "A"), (b, "B"), (c, "C")):
        _check_folder(path, network)
    check_writable(to)
    networks = [
        convert(read_snapshot(path), body, length, str(path))
        for path, length in ((a, None), (b, None), (c, clip_length))
    ]
    same = zip(networks[0].state_dict().values(), networks[1].state_dict().values(), strict=True)
    if all(torch.equal(one, other) for one, other in same):
        raise DataError(f"{a} and {b} hold the same weights: A's is the folder with large_crop, B's that with _re_")
    ensemble = Ensemble(networks[0], networks[1], networks[2], counts=(1, 1, clip_length))
    tensors = {key: tensor.contiguous() for key, tensor in ensemble.state_dict().items()}
    temporary = to.with_name(f".{to.name}.tmp")
    try:
        save_file(tensors, temporary, metadata={"format": FORMAT, "body": body})
        temporary.replace(to)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise StorageError(f"{to}: cannot be written ({error})") from None
    return sha256_of(to)


def _check_folder(path: Path, network: str) -> None:
    """Compare the name of a published folder with the network whose file it is given as."""
    folder = path.absolute().parent.name
    marks = [mark for mark in _MARKS if mark in folder] if folder.startswith("efficientnet-b") else []
    if marks and _MARKS[marks[0]] != network:
        order = ", ".join(f"{name} ({mark})" for mark, name in _MARKS.items())
        raise UsageError(f"{path} is network {_MARKS[marks[0]]}'s, given as {network}: the order is {order}")


def check_writable(path: Path) -> None:
    """Make the folder of a file that is to be written, and try it, before the work is done.

    Raises:
        StorageError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror})") from None
    if path.is_dir():
        raise StorageError(f"{path}: is a folder; name a file")


def load_converted(model: nn.Module, path: Path) -> str:
    """Load a converted checkpoint into the ensemble.

    Returns:
        SHA-256 of the file, hex.

    Raises:
        DataError: the file is missing, or holds other tensors than the network has.
    """
    body = body_of(path)
    tensors, wanted = load_file(path), model.state_dict()
    problem = next((f"no tensor {name!r}" for name in wanted if name not in tensors), None)
    problem = problem or next((f"tensor {name!r} is none of it" for name in tensors if name not in wanted), None)
    different = (name for name in wanted if name in tensors and tensors[name].shape != wanted[name].shape)
    if name := next(different, None) if problem is None else None:
        problem = f"{name!r} is {tuple(tensors[name].shape)}, not {tuple(wanted[name].shape)}"
    if problem is not None:
        raise DataError(f"weights={path}: not of this network ({problem}): it was converted for body={body}")
    model.load_state_dict(tensors)
    return sha256_of(path)


def body_of(path: Path) -> str:
    """The body that a checkpoint was converted for.

    Raises:
        DataError: the file is missing, or is none that ``dfbench dfdc3 convert`` made.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
    except FileNotFoundError:
        raise DataError(f"weights={path}: there is no such file") from None
    except Exception:
        raise DataError(f"weights={path}: not a file of safetensors; make one with `dfbench dfdc3 convert`") from None
    if about.get("format") != FORMAT or "body" not in about:
        raise DataError(f"weights={path}: not made by `dfbench dfdc3 convert`, whose files are loaded here")
    return about["body"]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

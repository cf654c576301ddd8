"""Conversion of the authors' published snapshots, downloaded by the user, to a dfbench checkpoint.

A snapshot (``snapshot_100000.fp16.pth``) is a state dict in the key names of the package
``efficientnet-pytorch`` 0.6.3, fp16, with one output row. The weights' licence is not stated: convert
what you have downloaded for yourself, and do not pass it on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from dfbench import DataError
from dfbench_dfdc3.networks import HEAD, Ensemble, TemporalExpansion, expansions, frame_network, over_time

ORIGINAL_BODY = "tf_efficientnet_b7"
FORMAT = "dfbench-dfdc3-1"
_STEM = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": HEAD}
_PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_EXPANDED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_SQUEEZE = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}


def key_names(network: nn.Module) -> dict[str, str]:
    """Names of a network's tensors in ``efficientnet-pytorch``, and timm's names of the same tensors.

    An expansion convolution that runs over time has the names of its wrapper in network C (``._expand_conv.conv``).
    """
    modules = dict(_STEM)
    expanded = {id(block) for block, _ in expansions(network)}
    stages: Any = network.blocks
    blocks = [(f"blocks.{s}.{b}", block) for s, stage in enumerate(stages) for b, block in enumerate(stage)]
    for number, (name, block) in enumerate(blocks):
        names = _EXPANDED if id(block) in expanded else _PLAIN
        for theirs, ours in {**names, **_SQUEEZE}.items():
            over_time_too = theirs == "_expand_conv" and isinstance(block.conv_pw, TemporalExpansion)
            suffix = ".conv" if over_time_too else ""
            modules[f"_blocks.{number}.{theirs}{suffix}"] = f"{name}.{ours}"
    theirs_of = {ours: theirs for theirs, ours in modules.items()}
    result = {}
    for key in network.state_dict():
        module, _, tensor = key.rpartition(".")
        result[f"{theirs_of[module]}.{tensor}"] = key
    return result


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
    if missing := [name for name in names if name not in state]:
        hint = ""
        if any("_expand_conv.conv." in key for key in state) != (clip_length is not None):
            hint = "; this looks like the other kind of network"
        raise DataError(f"{where}: no tensor {missing[0]!r} ({len(missing)} missing), which {expected}{hint}")
    if foreign := [name for name in state if name not in names]:
        raise DataError(f"{where}: tensor {foreign[0]!r} is none that {expected}")
    converted = {}
    for theirs, ours in names.items():
        tensor = state[theirs]
        if not isinstance(tensor, torch.Tensor) or tensor.shape != wanted[ours].shape:
            given = tuple(tensor.shape) if isinstance(tensor, torch.Tensor) else type(tensor).__name__
            raise DataError(f"{where}: tensor {theirs!r} is {given}; {expected} {tuple(wanted[ours].shape)} there")
        converted[ours] = tensor.to(wanted[ours].dtype)
        if not torch.isfinite(converted[ours]).all():
            raise DataError(f"{where}: tensor {theirs!r} holds values that are not finite")
    network.load_state_dict(converted)
    return network


def read_snapshot(path: Path) -> dict[str, torch.Tensor]:
    """A snapshot's state dict. Only tensors are unpickled.

    Raises:
        DataError: there is no such file, or it is not a state dict.
    """
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except Exception as error:  # torch raises half a dozen kinds
        raise DataError(f"{path}: not a PyTorch file of tensors ({type(error).__name__})") from error
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
        DataError: a file is not the snapshot that it should be.
    """
    networks = [
        convert(read_snapshot(path), body, length, str(path))
        for path, length in ((a, None), (b, None), (c, clip_length))
    ]
    ensemble = Ensemble(networks[0], networks[1], networks[2], counts=(1, 1, clip_length))
    tensors = {key: tensor.contiguous() for key, tensor in ensemble.state_dict().items()}
    to.parent.mkdir(parents=True, exist_ok=True)
    temporary = to.with_name(f".{to.name}.tmp")
    save_file(tensors, temporary, metadata={"format": FORMAT, "body": body})
    temporary.replace(to)
    return _sha256(to)


def load_converted(model: nn.Module, path: Path) -> str:
    """Load a converted checkpoint into the ensemble.

    Returns:
        SHA-256 of the file, hex.

    Raises:
        DataError: the file is missing, or holds other tensors than the network has.
    """
    try:
        tensors = load_file(path)
    except FileNotFoundError as error:
        raise DataError(f"weights={path}: there is no such file") from error
    except Exception as error:
        raise DataError(f"weights={path}: not a file of safetensors; make one with `dfbench dfdc3 convert`") from error
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise DataError(f"weights={path}: not of this network ({reason}); check the option body") from error
    return _sha256(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Names of an EfficientNet's tensors (Tan & Le 2019) in ``efficientnet-pytorch`` and in timm."""

from __future__ import annotations

from typing import Any

from timm.models._efficientnet_blocks import InvertedResidual
from torch import nn

from dfbench import UsageError

_STEM = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
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


def expansions(network: nn.Module) -> list[tuple[nn.Module, nn.Conv2d]]:
    """Every block whose expansion ratio is not 1, with its 1×1 expansion convolution."""
    return [(m, m.conv_pw) for m in network.modules() if isinstance(m, InvertedResidual)]


def key_names(network: nn.Module, replaced: tuple[type[nn.Module], ...] = ()) -> dict[str, str]:
    """Names of a network's tensors in ``efficientnet-pytorch``, and timm's names of the same tensors.

    Args:
        network: timm's, with a final layer ``classifier``.
        replaced: kinds of layers that hold a convolution as ``conv`` in place of an expansion convolution; their
            tensors are called ``._expand_conv.conv`` there.

    Raises:
        UsageError: it has layers that no EfficientNet has.
    """
    modules = dict(_STEM)
    expanded = {id(block) for block, _ in expansions(network)}
    stages: Any = network.blocks
    blocks = [(f"blocks.{s}.{b}", block) for s, stage in enumerate(stages) for b, block in enumerate(stage)]
    for number, (name, block) in enumerate(blocks):
        names = _EXPANDED if id(block) in expanded else _PLAIN
        for theirs, ours in {**names, **_SQUEEZE}.items():
            suffix = ".conv" if theirs == "_expand_conv" and isinstance(block.conv_pw, replaced) else ""
            modules[f"_blocks.{number}.{theirs}{suffix}"] = f"{name}.{ours}"
    theirs_of = {ours: theirs for theirs, ours in modules.items()}
    result = {}
    for key in network.state_dict():
        module, _, tensor = key.rpartition(".")
        if module not in theirs_of:
            raise UsageError(f"the body has a layer {module!r}, which no EfficientNet of the solution has")
        result[f"{theirs_of[module]}.{tensor}"] = key
    return result

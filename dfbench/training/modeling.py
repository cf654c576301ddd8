"""Small helpers around a detector's network: its input, its heads, one logit lifted to two, a copy."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from dfbench.errors import IncompatibleError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalize(
    pixels: torch.Tensor, mean: Sequence[float] = (0.5, 0.5, 0.5), std: Sequence[float] = (0.5, 0.5, 0.5)
) -> torch.Tensor:
    """Pictures to network input, ``(x/255 − mean) / std``.

    Args:
        pixels: uint8 (N, …, H, W, 3), 0…255.
        mean: of each channel, on a scale from 0 to 1.
        std: of each channel, on the same scale.

    Returns:
        float32 (N, …, 3, H, W). For (N, H, W, 3) it is a channels-last tensor without a copy, the layout in which
        convolutions run fastest on CPUs and on GPUs.
    """
    if len(set(mean)) == len(set(std)) == 1:
        x = pixels.float().mul_(1 / (255 * std[0])).sub_(mean[0] / std[0])
    else:
        # One row of W·3 values at a time: broadcasting over the 3 channels alone is not vectorised.
        width = pixels.shape[-2]
        scale = torch.tensor([1 / (255 * s) for s in std], device=pixels.device).repeat(width)
        shift = torch.tensor([m / s for m, s in zip(mean, std, strict=True)], device=pixels.device).repeat(width)
        x = pixels.flatten(-2).float().mul_(scale).sub_(shift).view(pixels.shape)
    return x.movedim(-1, -3)


class LiftedLogit(nn.Module):
    """A one-logit network with two: (0, z), so that softmax cross-entropy equals its BCE with logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, 2), real and fake, of inputs as the wrapped network takes them."""
        z = self.network(x)
        z = z.reshape(len(z), 1)
        return torch.cat([torch.zeros_like(z), z], dim=1)


def lift_one_logit(network: nn.Module, head: str | None = None) -> nn.Module:
    """The same detector with two logits (real, fake), which methods that treat each class by itself need.

    Args:
        network: returns one logit per picture, (N,) or (N, 1).
        head: name of its final one-row ``nn.Linear``. That layer is replaced by one of two rows with weights
            (−w/2, +w/2) and bias (−b/2, +b/2): P(fake) stays, and every per-class method, CWR* too, can work on
            it. None: the network is wrapped, and its logits are (0, z).

    Raises:
        ValueError: ``head`` is not a linear layer with one output.
    """
    if head is None:
        return LiftedLogit(network)
    parent_name, _, attribute = head.rpartition(".")
    parent = network.get_submodule(parent_name)
    old = getattr(parent, attribute)
    if not isinstance(old, nn.Linear) or old.out_features != 1:
        raise ValueError(f"{head!r} is not a linear layer with one output")
    new = nn.Linear(old.in_features, 2, bias=old.bias is not None, device=old.weight.device, dtype=old.weight.dtype)
    with torch.no_grad():
        new.weight.copy_(torch.cat([-old.weight / 2, old.weight / 2]))
        if old.bias is not None:
            new.bias.copy_(torch.cat([-old.bias / 2, old.bias / 2]))
    setattr(parent, attribute, new)
    return network


def linear_heads(model: nn.Module, head: str | tuple[str, ...] | None) -> dict[str, nn.Linear]:
    """The final linear layers of a network by name, one for all but ensembles.

    Args:
        model: the network.
        head: :attr:`dfbench.Detector.head`. None: the last linear layer.

    Returns:
        Empty if there is no linear layer, or if a layer that ``head`` names is not one.
    """
    if head is not None:
        names = (head,) if isinstance(head, str) else head
        named = {name: model.get_submodule(name) for name in names}
        heads = {name: module for name, module in named.items() if isinstance(module, nn.Linear)}
        return heads if len(heads) == len(named) else {}
    layers = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Linear)]
    return dict(layers[-1:])


def copy_network(model: nn.Module) -> nn.Module:
    """A deep copy with its hooks, also of a network that holds tensors computed from its weights.

    ``copy.deepcopy`` refuses what ``weight_norm`` and ``spectral_norm`` keep as attributes. Here the copy has its
    present value until the copy's first pass computes it.

    Raises:
        IncompatibleError: a part of the network cannot be copied.
    """
    held = (value for module in model.modules() for value in vars(module).values())
    memo: dict[int, Any] = {id(t): t.detach().clone() for value in held for t in _tensors(value) if not t.is_leaf}
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:
        raise IncompatibleError(
            f"a {type(model).__name__} cannot be copied ({type(error).__name__}: {str(error).splitlines()[0][:120]}), "
            "as a teacher or an average needs it: keep such parts out of the network"
        ) from error


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """A tensor, or those in a list, tuple or dict."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        yield from (v for v in (value.values() if isinstance(value, dict) else value) if isinstance(v, torch.Tensor))

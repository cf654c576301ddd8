"""Prompts of several domains in a vision transformer, which finds the domain of each picture itself.

Wang, Huang & Hong, "S-Prompts Learning with Pre-trained Transformers: An Occam's Razor for Domain Incremental
Learning", NeurIPS 2022, arXiv:2207.12819; its image-end form (S-iPrompts), with a linear head for each domain.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import nn

from dfbench import Adapter, AdapterOptions, IncompatibleError


class Domain(nn.Module):
    """What belongs to one domain.

    Attributes:
        prompt: (L, D), tokens that stand behind a picture's own.
        weight: (classes, D), added to the weights of the network's head, which stays as it was built.
        bias: (classes,), the same for its bias.
        centroids: (K, D), of the features of the domain's pictures in the network without prompts.
        known: a scalar, 1 once the centroids are there.
    """

    def __init__(self, width: int, classes: int, length: int, centroids: int, generator: torch.Generator) -> None:
        super().__init__()
        self.prompt = nn.Parameter(0.02 * torch.randn(length, width, generator=generator))
        self.weight = nn.Parameter(torch.zeros(classes, width))
        self.bias = nn.Parameter(torch.zeros(classes))
        self.centroids: torch.Tensor
        self.known: torch.Tensor
        self.register_buffer("centroids", torch.zeros(centroids, width))
        self.register_buffer("known", torch.zeros(()))


class PromptBank(nn.Module):
    """The domains so far.

    Attributes:
        probed: while it is a list, the network computes features without prompts and appends them here.
    """

    def __init__(self) -> None:
        super().__init__()
        self.domains = nn.ModuleList()
        self.probed: list[torch.Tensor] | None = None

    def nearest(self, features: torch.Tensor) -> torch.Tensor:
        """The domain with the centroid nearest to each row, by Euclidean distance.

        Args:
            features: (N, D).

        Returns:
            int64 (N,); the last domain where no centroids are known.
        """
        known = [place for place, domain in enumerate(self.domains) if bool(domain.known)]
        if not known:
            return torch.full((len(features),), len(self.domains) - 1, device=features.device)
        centroids = torch.stack([self.domains[place].centroids for place in known])  # type: ignore[misc]
        rows = features.to(centroids.dtype)
        distance = torch.cdist(rows, centroids.flatten(0, 1), compute_mode="donot_use_mm_for_euclid_dist")
        of_domain = distance.view(len(rows), len(known), -1).amin(2)
        return torch.tensor(known, device=features.device)[of_domain.argmin(1)]


class Prompted(nn.Module):
    """The forward pass of a vision transformer with prompts; it is mixed into the network's class.

    In train mode every picture is of the last domain. In eval mode a first pass without prompts finds the domain of
    each, and a second one is made with that domain's prompt and head.
    """

    prompt_bank: PromptBank
    patch_embed: Any
    norm_pre: Any
    blocks: Any
    norm: Any
    head: Any

    def _tokens(self, x: torch.Tensor) -> torch.Tensor:
        network: Any = self
        return network.norm_pre(network.patch_drop(network._pos_embed(network.patch_embed(x))))  # type: ignore[no-any-return]

    def _features(self, tokens: torch.Tensor, prompts: torch.Tensor | None) -> torch.Tensor:
        network: Any = self
        own = tokens.shape[1]
        if prompts is not None:
            tokens = torch.cat([tokens, prompts.to(tokens.dtype)], dim=1)
        return network.forward_head(network.norm(network.blocks(tokens)[:, :own]), pre_logits=True)  # type: ignore[no-any-return]

    def _logits(self, features: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        weight, bias = self._of_each("weight", chosen), self._of_each("bias", chosen)
        return self.head(features) + torch.einsum("nd,ncd->nc", features, weight.to(features.dtype)) + bias  # type: ignore[no-any-return]

    def _of_each(self, name: str, chosen: torch.Tensor) -> torch.Tensor:
        return torch.stack([getattr(domain, name) for domain in self.prompt_bank.domains])[chosen]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pictures (N, 3, H, W) to logits (N, classes)."""
        bank, tokens = self.prompt_bank, self._tokens(x)
        chosen = torch.full((len(x),), len(bank.domains) - 1, device=x.device)
        if bank.probed is not None:
            plain = self._features(tokens, None)
            bank.probed.append(plain.detach().float())
            return self._logits(plain, chosen)
        if not self.training and len(bank.domains) > 1:
            with torch.no_grad():
                chosen = bank.nearest(self._features(tokens, None))
        return self._logits(self._features(tokens, self._of_each("prompt", chosen)), chosen)


_KINDS: dict[type, type] = {}


def prompted(kind: type) -> type:
    """The class of a network with prompts; the same at each call."""
    return _KINDS.setdefault(kind, type(kind.__name__, (Prompted, kind), {"__module__": kind.__module__}))


class PromptsOptions(AdapterOptions):
    """Size of a domain."""

    length: int = Field(10, ge=1, le=1000)
    centroids: int = Field(5, ge=1, le=1000)


class Prompts(Adapter):
    """One more domain: a prompt, a head and centroids."""

    Options: ClassVar = PromptsOptions

    def add(self, model: nn.Module, options: Any, generator: torch.Generator) -> None:
        """The network gets another class, and a part ``prompt_bank``; its own weights keep their names."""
        head = getattr(model, "head", None)
        if not isinstance(head, nn.Linear) or not hasattr(model, "forward_head"):
            raise IncompatibleError(f"a {type(model).__name__} is no vision transformer that could take prompts")
        if not isinstance(model, Prompted):
            model.__class__ = prompted(type(model))
            model.prompt_bank = PromptBank()
        bank: Any = model.prompt_bank
        width, classes = head.in_features, head.out_features
        bank.domains.append(Domain(width, classes, options.length, options.centroids, generator))


def bank_of(model: nn.Module) -> PromptBank:
    """The domains of a network that has some."""
    bank = model.prompt_bank
    assert isinstance(bank, PromptBank)
    return bank

"""The three networks of DFDC_3: A and B see frames, C sees clips of 7 frames.

Each is an EfficientNet (Tan & Le 2019) of timm with one logit, lifted to two (real, fake). In C the
1×1 expansion convolution of every block that has one runs over three frames (a Conv3d with kernel
(3, 1, 1), padding (1, 0, 0), no bias); everything else stays per frame, and so does the output.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from dfbench_imagenet import expansions
from timm import create_model, list_models
from timm.models import is_model_pretrained
from torch import nn

from dfbench import UsageError, lift_one_logit

HEAD = "classifier"
FAMILY = "efficientnet"
"""Name of timm's module."""
TAPS = 3


class TemporalExpansion(nn.Module):
    """The convolution over (previous, this, next) frame that replaces a 1×1 convolution.

    It is computed as one 1×1 convolution on the concatenated channels of the three frames. Beyond the ends of the clip
    are zeros.

    Args:
        weight: of the Conv3d, (out, in, 3, 1, 1).
        length: T, frames per clip.
    """

    bias: nn.Parameter | None

    def __init__(self, weight: torch.Tensor, length: int) -> None:
        super().__init__()
        self.length = length
        self.weight = nn.Parameter(weight)
        self.register_parameter("bias", None)  # as in the original; folding gives it one

    @classmethod
    def inflate(cls, convolution: nn.Conv2d, length: int) -> TemporalExpansion:
        """Made of a 1×1 convolution: all three taps start as its kernel divided by 3."""
        return cls((convolution.weight.detach() / TAPS).unsqueeze(2).repeat(1, 1, TAPS, 1, 1), length)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Frames (N·T, in, H, W), clip after clip, to (N·T, out, H, W)."""
        clips = x.unflatten(0, (-1, self.length))
        none = torch.zeros_like(clips[:, :1])
        before, after = torch.cat([none, clips[:, :-1]], 1), torch.cat([clips[:, 1:], none], 1)
        stacked = torch.cat([before.flatten(0, 1), x, after.flatten(0, 1)], 1)
        # (out, in, 3, 1, 1) to (out, 3·in, 1, 1), the taps' channels in the order of the frames'.
        return F.conv2d(stacked, self.weight.transpose(1, 2).flatten(1, 2), self.bias)


def frame_network(
    body: str, pretrained: bool = False, dropout: float = 0.0, drop_path: float = 0.0, bn_momentum: float = 0.01
) -> nn.Module:
    """One EfficientNet with one logit: (N, 3, H, W) to (N, 1).

    Args:
        body: its name in timm.
        pretrained: fetch its ImageNet weights.
        dropout: before the final layer.
        drop_path: probability of leaving out the last block, falling linearly to 0 at the first.
        bn_momentum: share of a batch in batch normalisation's running statistics.

    Raises:
        UsageError: timm has no EfficientNet of this name.
    """
    name, _, tag = body.partition(".")
    if name not in list_models(module=FAMILY) or (tag and not is_model_pretrained(body)):
        raise UsageError(f"body {body!r} is no EfficientNet of timm; the solution's is tf_efficientnet_b7")
    network = create_model(body, pretrained=pretrained, num_classes=1, drop_rate=dropout, drop_path_rate=drop_path)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = bn_momentum
    # timm draws a final layer from ±1/√outputs: ±1 for one logit, which starts at |z| = 20 and diverges.
    head = network.get_submodule(HEAD)
    assert isinstance(head, nn.Linear)
    head.reset_parameters()
    return network


def over_time(network: nn.Module, length: int) -> nn.Module:
    """Turn a frame network, in place, into one of clips of ``length`` frames: (N·T, 3, H, W) to (N·T, 1)."""
    for block, convolution in expansions(network):
        block.conv_pw = TemporalExpansion.inflate(convolution, length)
    return network


class Ensemble(nn.Module):
    """A, B and C. Their parameters are disjoint, so a sum of their losses trains each alone.

    Args:
        a: one-logit network, lifted to two logits here.
        b: likewise.
        c: likewise.
        counts: frames that each sees of a training clip.
        clip_share: (k, n): C sees k of n clips of a training batch. None: all.
    """

    heads = ("a.classifier", "b.classifier", "c.classifier")

    def __init__(
        self,
        a: nn.Module,
        b: nn.Module,
        c: nn.Module,
        counts: tuple[int, int, int],
        clip_share: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.a, self.b, self.c = (lift_one_logit(network, HEAD) for network in (a, b, c))
        self.counts, self.clip_share = counts, clip_share

    def forward(self, x: torch.Tensor, counts: tuple[int, int, int] | None = None) -> torch.Tensor:
        """Logits of all frames.

        Args:
            x: (N, A + B + C, 3, H, W).
            counts: (A, B, C), how many of a clip's frames each network sees; C a multiple of its length. None: as in
                training, where C sees M of the clips.

        Returns:
            (N·A + N·B + M·C, 2): the rows of A, then of B, then of C.
        """
        parts = list(x.split(counts or self.counts, dim=1))
        if counts is None:
            parts[2] = parts[2][self.clips_of(len(x))]
        networks = (self.a, self.b, self.c)
        return torch.cat([net(_images(part)) for net, part in zip(networks, parts, strict=True) if part.shape[1]])

    def clips_of(self, count: int) -> slice | list[int]:
        """Which of ``count`` clips of a training batch C sees, spread evenly: of new and of replayed ones alike."""
        if self.clip_share is None:
            return slice(None)
        part, whole = self.clip_share
        kept = max(1, round(count * part / whole))
        return [number * count // kept for number in range(kept)]

    @contextlib.contextmanager
    def without_dropout(self) -> Iterator[None]:
        """A context in which no network drops a feature, whatever its mode."""
        rates = {network: network.drop_rate for network in (self.a, self.b, self.c)}
        for network in rates:
            network.drop_rate = 0.0  # type: ignore[assignment]
        try:
            yield
        finally:
            for network, rate in rates.items():
                network.drop_rate = rate

    def head_parameters(self) -> list[nn.Parameter]:
        """Weights and biases of the three final layers."""
        return [p for name in self.heads for p in self.get_submodule(name).parameters()]


def channels_last(model: nn.Module) -> nn.Module:
    """Put 2-D convolutions into channels-last, in which they are fastest; kernels over time are no 2-D convolutions."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)
    return model


def _images(frames: torch.Tensor) -> torch.Tensor:
    return frames.flatten(0, 1).contiguous(memory_format=torch.channels_last)

"""The three networks of DFDC_3: A and B see frames, C sees clips of 7 frames.

Each is an EfficientNet (Tan & Le 2019) of timm with one logit, lifted to two (real, fake). In C the
1×1 expansion convolution of every block that has one runs over three frames (a Conv3d with kernel
(3, 1, 1), padding (1, 0, 0), no bias); everything else stays per frame, and so does the output.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm import create_model
from timm.models._efficientnet_blocks import InvertedResidual
from torch import nn

from dfbench import lift_one_logit

HEAD = "classifier"
TAPS = 3


class TemporalExpansion(nn.Module):
    """The convolution over (previous, this, next) frame that replaces a 1×1 convolution.

    It is computed as one 1×1 convolution on the concatenated channels of the three frames. Beyond the ends of the clip
    are zeros.

    Args:
        weight: of the Conv3d, (out, in, 3, 1, 1).
        length: T, frames per clip.
    """

    def __init__(self, weight: torch.Tensor, length: int) -> None:
        super().__init__()
        self.length = length
        self.weight = nn.Parameter(weight)

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
        return F.conv2d(stacked, self.weight.transpose(1, 2).flatten(1, 2))


def frame_network(body: str, pretrained: bool = False, dropout: float = 0.0, drop_path: float = 0.0) -> nn.Module:
    """One EfficientNet with one logit: (N, 3, H, W) to (N, 1)."""
    network = create_model(body, pretrained=pretrained, num_classes=1, drop_rate=dropout, drop_path_rate=drop_path)
    # timm draws a final layer from ±1/√outputs: ±1 for one logit, which starts at |z| = 20 and diverges.
    head = network.get_submodule(HEAD)
    assert isinstance(head, nn.Linear)
    head.reset_parameters()
    return network


def expansions(network: nn.Module) -> list[tuple[nn.Module, nn.Conv2d]]:
    """Every block whose expansion ratio is not 1, with its 1×1 expansion convolution."""
    return [(m, m.conv_pw) for m in network.modules() if isinstance(m, InvertedResidual)]


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
    """

    heads = ("a.classifier", "b.classifier", "c.classifier")

    def __init__(self, a: nn.Module, b: nn.Module, c: nn.Module, counts: tuple[int, int, int]) -> None:
        super().__init__()
        self.a, self.b, self.c = (lift_one_logit(network, HEAD) for network in (a, b, c))
        self.counts = counts

    def forward(self, x: torch.Tensor, counts: tuple[int, int, int] | None = None) -> torch.Tensor:
        """Logits of all frames.

        Args:
            x: (N, A + B + C, 3, H, W).
            counts: (A, B, C), how many of a clip's frames each network sees; C a multiple of its length. None: as in
                training.

        Returns:
            (N·A + N·B + N·C, 2): the rows of A, then of B, then of C.
        """
        parts = x.split(counts or self.counts, dim=1)
        networks = (self.a, self.b, self.c)
        return torch.cat([net(_images(part)) for net, part in zip(networks, parts, strict=True) if part.shape[1]])

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

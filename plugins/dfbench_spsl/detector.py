"""SPSL (Liu et al., CVPR 2021, arXiv:2103.01856): a picture, what its phases alone give, and a shallow network."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from dfbench_xception.body import xception_body
from dfbench_xception.detector import Xception, XceptionConfig
from pydantic import Field
from torch import nn

FAINT = 1e-4
"""Amplitude, in an orthonormal transform of a picture in [-1, 1], below which a phase is rounding: that of 8 bits has
2e-3."""


def phase_image(pictures: torch.Tensor) -> torch.Tensor:
    """Each picture rebuilt from the phases of its spectrum, all amplitudes 1.

    Args:
        pictures: (N, C, H, W) in [-1, 1].

    Returns:
        (N, 1, H, W), float32, of the mean of the channels; its root mean square is 1 at every size (the scale is ours).
        A coefficient of an amplitude below ``FAINT`` has amplitude / ``FAINT``, so that rounding is not blown up.
    """
    with torch.autocast(pictures.device.type, enabled=False):
        grey = pictures.float().mean(1, keepdim=True)
        spectrum = torch.fft.rfft2(grey, norm="ortho")
        spectrum = spectrum / spectrum.abs().clamp_min(FAINT)
        return torch.fft.irfft2(spectrum, s=grey.shape[-2:], norm="ortho")


class PhaseNetwork(nn.Module):
    """A network of four input channels, the fourth being :func:`phase_image`."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) in [-1, 1] to (N, classes)."""
        x = torch.cat([x, phase_image(x).to(x.dtype)], dim=1)
        return self.body(x.contiguous(memory_format=torch.channels_last))


class SPSLConfig(XceptionConfig):
    """Options of SPSL: those of Xception, without a middle flow by default."""

    middle_blocks: int = Field(0, ge=0, le=8, description="blocks of the middle flow; 0: shallow, as in the method")


class SPSL(Xception):
    """Xception's entry and exit flow on four channels: R, G, B and the picture rebuilt from its phases.

    The paper makes the network shallow to keep its view local. ``paper`` drops all middle blocks, as the shallow
    Xception in DeepfakeBench's code does; ``deepfakebench`` keeps all, as the detector of their table does. Both are
    trained by DeepfakeBench's recipe: that of the paper was not looked up.
    """

    Config: ClassVar[type[XceptionConfig]] = SPSLConfig
    distributes: ClassVar[bool] = False
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "deepfakebench": {"middle_blocks": 8},
        "lite": {**Xception.presets["lite"], "middle_blocks": 0},
    }
    head: ClassVar[str | None] = "body.fc"

    def build(self) -> nn.Module:
        """Input (N, 3, S, S), output (N, classes). ``facts`` says whether ImageNet weights were available."""
        c = self.config
        body, self.facts["pretrained"] = xception_body(self.task.num_classes, 4, c.middle_blocks, c.pretrained)
        return PhaseNetwork(body)

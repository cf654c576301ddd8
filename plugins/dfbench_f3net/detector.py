"""F3-Net (Qian et al., ECCV 2020, arXiv:2007.09355): two views of a picture's frequencies, two Xceptions."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from dfbench_xception.body import xception_body
from dfbench_xception.detector import Xception, XceptionConfig
from pydantic import Field
from torch import nn

from dfbench_f3net.networks import F3


class F3NetConfig(XceptionConfig):
    """Options of F3-Net: those of Xception, which streams, and dropout as DeepfakeBench has it."""

    streams: Literal["both", "bands"] = Field(
        "both", description="both: DCT bands and local statistics, mixed; bands: the former alone"
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="before the last layer")


class F3Net(Xception):
    """Frequency-aware decomposition and local frequency statistics, each into an Xception; cross-attention mixes them.

    ``deepfakebench`` is the decomposition alone, as DeepfakeBench has it. All are trained by DeepfakeBench's recipe:
    that of the paper was not looked up.
    """

    Config: ClassVar[type[XceptionConfig]] = F3NetConfig
    distributes: ClassVar[bool] = False
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "deepfakebench": {"streams": "bands"},
        "lite": Xception.presets["lite"],
    }
    head: ClassVar[str | None] = "head"

    def build(self) -> nn.Module:
        """Input (N, 3, S, S), output (N, classes). ``facts`` says whether ImageNet weights were available."""
        c = self.config
        channels = (12, 6) if c.streams == "both" else (12,)
        made = [xception_body(0, count, c.middle_blocks, c.pretrained) for count in channels]
        self.facts["pretrained"] = all(fetched for _, fetched in made)
        return F3([body for body, _ in made], c.image_size, self.task.num_classes, c.dropout)

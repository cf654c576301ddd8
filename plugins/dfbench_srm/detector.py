"""SRM (Luo et al., CVPR 2021, arXiv:2103.12376): a picture and its high-frequency residuals, two Xceptions."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from dfbench_xception.body import xception_body
from dfbench_xception.detector import Xception, XceptionConfig
from pydantic import Field
from torch import nn

from dfbench import Batch
from dfbench_srm.networks import TwoStreams


class SRMConfig(XceptionConfig):
    """Options of SRM: those of Xception, and the loss."""

    loss: Literal["am_softmax", "cross_entropy"] = Field(
        "am_softmax", description="am_softmax: cross-entropy of scale · (logits − margin at the label)"
    )
    margin: float = Field(0.45, ge=0, le=10, description="of am_softmax")
    scale: float = Field(30.0, gt=0, le=1000, description="of am_softmax")


class SRM(Xception):
    """Residuals of three SRM filters, at three depths, beside the picture; attention within and across the streams.

    The margin loss is on the plain outputs of the last layer, as in DeepfakeBench, not on cosines: strategies that work
    on the rows of the head need a plain linear layer. P(fake) is the softmax of these outputs. ``paper`` is trained by
    DeepfakeBench's recipe: that of the paper was not looked up.
    """

    Config: ClassVar[type[XceptionConfig]] = SRMConfig
    distributes: ClassVar[bool] = False
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "lite": {**Xception.presets["lite"], "loss": "cross_entropy"},
    }
    head: ClassVar[str | None] = "head"

    def build(self) -> nn.Module:
        """Input (N, 3, S, S), output (N, classes). ``facts`` says whether ImageNet weights were available."""
        c = self.config
        made = [xception_body(0, 3, c.middle_blocks, c.pretrained) for _ in range(2)]
        self.facts["pretrained"] = all(fetched for _, fetched in made)
        return TwoStreams(made[0][0], made[1][0], c.image_size, self.task.num_classes)

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Of the configuration: cross-entropy, or with a margin (additive margin softmax)."""
        logits = model(self.inputs(batch, model.training)).float()
        if self.config.loss == "am_softmax":
            at_label = F.one_hot(batch.labels, logits.shape[1])
            logits = self.config.scale * (logits - self.config.margin * at_label)
        return F.cross_entropy(logits, batch.labels)

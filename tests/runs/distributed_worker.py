"""One of the processes of tests/runs/test_distributed.py, or the one that they are compared with.

In double precision: in single precision Adam makes whole steps of gradients that are nothing but rounding, as that
of a bias before batch normalisation is.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

import dfbench
from dfbench.plugins import registry
from dfbench.training.detector import load_detector

SETTINGS = {
    "simple_cnn": "epochs=2 batch_size=7 width=4 flip=false",
    "timm": "network=test_resnet pretrained=false image_size=32 epochs=2 batch_size=7 flip=0 jitter=0",
    "mesonet": "network=meso4 image_size=32 epochs=2 batch_size=7 flip=0 zoom=0 rotate=0 jitter=0 loss=cross_entropy",
    "xception": "pretrained=false image_size=71 epochs=1 batch_size=8 middle_blocks=0 flip=0 rotate=0 blur=0 jitter=0",
}
"""Nothing is drawn for single pictures, since two processes draw other numbers than one."""


def in_double(detector: str) -> None:
    """Have a detector build and feed networks of double precision that drop nothing."""
    kind: Any = load_detector(registry(), detector)
    build, inputs = kind.build, kind.inputs

    def built(self: Any) -> torch.nn.Module:
        network: torch.nn.Module = build(self).double()
        for module in network.modules():
            if isinstance(module, torch.nn.modules.dropout._DropoutNd):
                module.p = 0.0
        return network

    kind.build = built
    kind.inputs = lambda self, batch, training: inputs(self, batch, training).double()


def check_norm(out: Path) -> None:
    """Batch normalisation of parts of unequal size is that of the whole, gradients and running statistics included."""
    from torch import nn

    from dfbench.training.ranks import ALONE, joined
    from dfbench.training.synced_norm import SyncedNorm

    ranks = joined(torch.device("cpu"))
    torch.manual_seed(3)
    whole = torch.randn(5, 3, 4, 4, dtype=torch.float64) + 2
    target = torch.randn_like(whole)
    differences = []
    for shape in ((5, 3, 4, 4), (5, 48)):
        found = []
        for synced in (False, True):
            norm: Any = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(shape[1]).double()
            x = whole.reshape(shape).clone().requires_grad_()
            rows = ranks.share(torch.arange(5)) if synced else torch.arange(5)
            weight = ranks.weight(5) if synced else 1.0
            if synced:
                with SyncedNorm():
                    y = norm(x[rows])
            else:
                y = norm(x[rows])
            ((y - target.reshape(shape)[rows]).square().mean() * weight).backward()
            (ranks if synced else ALONE).average_gradients([norm.weight, norm.bias, x])
            found.append([norm.weight.grad, norm.bias.grad, x.grad, norm.running_mean, norm.running_var])
        differences += [float((a - b).abs().max()) for a, b in zip(*found, strict=True)]
    if ranks.first:
        (out / "norm.json").write_text(json.dumps(differences))


def main() -> None:
    """``OUT STREAM DETECTOR STRATEGY[,…] [norm]``."""
    out, stream, detector, strategies = Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4].split(",")
    settings = dict(text.split("=") for text in [*SETTINGS[detector].split(), *sys.argv[5:]] if "=" in text)
    if "norm" in sys.argv[5:]:
        check_norm(out)
    if "single" not in sys.argv[5:]:
        in_double(detector)
    for strategy in strategies:
        texts = [f"{key}={value}" for key, value in settings.items()]
        dfbench.run(detector, strategy, stream, out=out, device="cpu", settings=texts)


if __name__ == "__main__":
    main()

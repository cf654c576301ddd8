"""dfbench: continual-learning benchmarks for deepfake detectors.

:func:`run`, :func:`compare` and :func:`load` are the front door; the other names are what plugins build on. All are
listed in ``__init__.pyi`` and imported when first used, so that ``import dfbench`` costs nothing.
"""

import lazy_loader

from dfbench import avalanche_config

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]
avalanche_config.install()

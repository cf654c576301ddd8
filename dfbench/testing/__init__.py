"""What authors of detectors test theirs with: the contract that every detector keeps, check by check.

``dfbench plugins check NAME`` runs it from the command line; a test suite subclasses :class:`DetectorContract`::

    from dfbench.testing import DetectorContract

    class TestMine(DetectorContract):
        detector = "mine"

The checks train the detector, on a small stream of pictures that are made for it, as a benchmark would.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""OpenCV as it is to run here: one thread, without Intel's library, whose pixels differ from OpenCV's own.

dfbench's renderer switches that library off for the process that imports it. A worker process that does not would blend
other bits. Every module of this plugin takes OpenCV from here.
"""

from __future__ import annotations

import cv2

cv2.setNumThreads(1)
if hasattr(cv2, "ipp"):
    cv2.ipp.setUseIPP(False)

__all__ = ["cv2"]

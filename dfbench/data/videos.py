"""Which samples are one video: the key to average over and to cut clips from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dfbench.data.samples import Samples


def video_keys(samples: Samples) -> np.ndarray:
    """A key a video, one for each sample ("" for a still); never one for two forgeries or for real and fake.

    Data sets often give an original and its forgeries the same video name (FaceForensics++ gives four
    manipulations one pair of numbers). Such a name is told apart by label and method.
    """
    content = np.array(
        [f"{label}\0{method}" for label, method in zip(samples.label, samples.method, strict=True)]
    )
    keys = np.array(
        [f"{s}\0{v}" if v else "" for s, v in zip(samples.source, samples.video, strict=True)], dtype=object
    )
    seen: dict[str, set[str]] = {}
    for key, what in zip(keys, content, strict=True):
        seen.setdefault(key, set()).add(what)
    result = np.array(samples.video, dtype=object)
    for i, (key, what) in enumerate(zip(keys, content, strict=True)):
        if key and len(seen[key]) > 1:
            label, method = what.split("\0")
            result[i] = f"{samples.video[i]} ({method or 'label'} {label})"
    return result

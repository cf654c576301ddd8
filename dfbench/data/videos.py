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
    keys = list(zip(samples.source.tolist(), samples.video.tolist(), strict=True))
    contents = list(zip(samples.method.tolist(), samples.label.tolist(), strict=True))
    seen: dict[tuple[str, str], set[tuple[str, int]]] = {}
    for key, content in zip(keys, contents, strict=True):
        seen.setdefault(key, set()).add(content)
    result = np.array(samples.video, dtype=object)
    for i, (key, (method, label)) in enumerate(zip(keys, contents, strict=True)):
        if key[1] and len(seen[key]) > 1:
            result[i] = f"{key[1]} ({method or 'label'} {label})"
    return result

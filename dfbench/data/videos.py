"""Video keys: which samples form one video, for averaging scores and for cutting clips."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dfbench.data.samples import Samples


def video_keys(samples: Samples) -> np.ndarray:
    """The video key of each sample ("" for a still); two forgeries, a real and a fake, or two sources never share one.

    Data sets often give an original and its forgeries the same video name (FaceForensics++ gives four
    manipulations one pair of numbers). Method and label are then appended to the name. So is the source
    where several sources use the name.
    """
    keys = list(zip(samples.source.tolist(), samples.video.tolist(), strict=True))
    contents = list(zip(samples.method.tolist(), samples.label.tolist(), strict=True))
    seen: dict[tuple[str, str], set[tuple[str, int]]] = {}
    for key, content in zip(keys, contents, strict=True):
        seen.setdefault(key, set()).add(content)
    sources: dict[str, set[str]] = {}
    for source, video in keys:
        sources.setdefault(video, set()).add(source)
    result = np.array(samples.video, dtype=object)
    for i, (key, (method, label)) in enumerate(zip(keys, contents, strict=True)):
        if key[1] and len(seen[key]) > 1:
            result[i] = f"{key[1]} ({method or 'label'} {label})"
        if key[1] and len(sources[key[1]]) > 1:
            result[i] += f" [{key[0] or 'no source'}]"
    return result

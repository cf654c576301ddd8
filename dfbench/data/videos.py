"""Video keys: which samples form one video, for averaging scores and for cutting clips."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dfbench.data.texts import first_rows, group_numbers

if TYPE_CHECKING:
    from dfbench.data.samples import Samples


def video_keys(samples: Samples) -> np.ndarray:
    """The video key of each sample ("" for a still); two forgeries, a real and a fake, or two sources never share one.

    Data sets often give an original and its forgeries the same video name (FaceForensics++ gives four
    manipulations one pair of numbers). Method and label are then appended to the name. So is the source
    where several sources use the name.
    """
    contents, count = samples.groups("source", "video", "method", "label")
    first = first_rows(contents, count)
    names, label = samples.texts("video").take(first), samples.label[first]
    method, source = samples.texts("method").take(first).objects, samples.texts("source").take(first).objects
    videos, _ = group_numbers(samples.texts("source").codes[first], names.codes)
    several_contents = (np.bincount(videos) > 1)[videos] if count else np.zeros(0, bool)
    in_source = names.take(first_rows(videos, int(videos.max(initial=-1)) + 1))
    several_sources = np.isin(names.codes, np.flatnonzero(np.bincount(in_source.codes) > 1))
    keys = np.array(names.objects)
    for i in np.flatnonzero((several_contents | several_sources) & ~names.is_empty).tolist():
        if several_contents[i]:
            keys[i] += f" ({method[i] or 'label'} {label[i]})"
        if several_sources[i]:
            keys[i] += f" [{source[i] or 'no source'}]"
    return keys[contents]


def content_numbers(samples: Samples) -> np.ndarray:
    """A number for each video as :func:`video_keys` tells them apart, int64 (N,); -1 for a still."""
    numbers, _ = samples.groups("source", "video", "method", "label")
    return np.where(samples.texts("video").is_empty, -1, numbers)

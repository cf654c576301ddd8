"""Predictions of DFDC_3 (``lite``) with batch normalisation folded into the convolutions, against plain ones.

    python -m perf.dfdc3_folding [--rounds 9]

The two take turns on one thread. The figures are quartiles of the ratio of their processor seconds, which a busy
machine disturbs less than seconds on the wall.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from dfbench_dfdc3.folding import folded
from dfbench_dfdc3.networks import Ensemble, frame_network, over_time

BODY, HEIGHT, WIDTH = "tf_efficientnet_lite0", 112, 96
LOOKS = (2, 2, 7)
"""At a video of ``forge5-clips``; five videos are predicted together."""


def ratios(plain: Callable[[], object], fast: Callable[[], object], rounds: int) -> list[float]:
    """Quartiles of ``fast``'s processor seconds over ``plain``'s."""
    plain(), fast()  # the first pass is slower
    found = []
    for _ in range(rounds):
        start = time.process_time()
        plain()
        middle = time.process_time()
        fast()
        found.append((time.process_time() - middle) / (middle - start))
    return [round(value, 3) for value in statistics.quantiles(found, n=4)]


def main() -> None:
    """Print the ratios as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    a, b, c = (frame_network(BODY) for _ in range(3))
    model = Ensemble(a, b, over_time(c, LOOKS[2]), LOOKS).eval()
    fast = folded(model)
    videos = torch.randn(5, sum(LOOKS), 3, HEIGHT, WIDTH)
    frames = torch.randn(64, 3, HEIGHT, WIDTH).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        result = {
            "a_on_64_frames": ratios(lambda: model.a(frames), lambda: fast.a(frames), rounds),
            "five_videos": ratios(lambda: model(videos, LOOKS), lambda: fast(videos, LOOKS), rounds),
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

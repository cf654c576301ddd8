"""What a run computes is counted, whoever asked for the passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfbench.plugins import registry
from dfbench.runs.prepare import Request
from dfbench.runs.runner import run

UNITS, MEMORY, STEPS = 24, 12, 3  # of each of three experiences; samples stored in all; steps of a pass
EXPECTED = {  # forward rows, backward rows of each training, by hand
    "naive": ([24, 24, 24], [24, 24, 24]),
    "cumulative": ([24, 48, 72], [24, 48, 72]),
    "joint": ([72], [72]),
    "lwf": ([24, 48, 48], [24, 24, 24]),  # the teacher goes forward only
    "gem": ([24, 24 + STEPS * 4, 24 + STEPS * 8], [24, 24 + STEPS * 4, 24 + STEPS * 8]),
    "ewc": ([48, 48, 48], [48, 48, 48]),  # Fisher information after each
}


@pytest.mark.parametrize("strategy", EXPECTED)
def test_rows_are_counted(tiny_stream: Path, tmp_path: Path, strategy: str) -> None:
    settings = ["image_size=32", "epochs=1", "batch_size=8", "width=4"]
    request = Request("simple_cnn", strategy, str(tiny_stream), settings=settings, device="cpu", out=tmp_path)
    compute = run(request, registry()).compute
    assert compute is not None
    forward, backward = EXPECTED[strategy]
    assert (compute.forward, compute.backward) == (forward, backward)
    assert compute.passes == pytest.approx((sum(forward) + 2 * sum(backward)) / 3, abs=0.06)

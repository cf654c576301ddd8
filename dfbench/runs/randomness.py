"""The random generators of Python, NumPy and torch: seeded for a stage of a run, and restored after a detour."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch


def seed_of(seed: int, stage: int) -> int:
    """The seed of a stage of a run, as :func:`seed_everything` sets it."""
    return int(np.random.SeedSequence([seed, stage]).generate_state(1)[0])


def seed_everything(seed: int, stage: int) -> int:
    """Seed all generators for a stage of a run; returns the seed that they got.

    Each experience starts from a seed of its own, so a resumed run draws what an undisturbed one draws.

    Args:
        seed: The run's.
        stage: 0 for the network, i + 1 for experience i.
    """
    value = seed_of(seed, stage)
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)
    return value


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Whatever is drawn or seeded inside, all generators (those of CUDA devices too) go on as if nothing had been."""
    python, numpy = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)

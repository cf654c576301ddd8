"""DFDC_3's training step (``lite``, compression augmentation on): time spent waiting for data, and steps per second.

* Waiting: the share of one experience's training time in which the loop waits for its next batch,
  while worker processes compress, choose, crop and distort the frames of the coming ones.
* Rival: the same step without dfbench: the same network, loss, optimizer and augmentation in a bare
  loop, its batches from a PyTorch ``DataLoader`` with as many worker processes, spawned and kept. The
  two take turns every thirty steps; both have batches ready when their turn comes.

    python -m perf.dfdc3 [--steps 120]
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from dfbench.data.augmentation import AHEAD, worker_count
from dfbench.data.loader import Batch
from dfbench.plugins import registry
from dfbench.runs.prepare import Request, prepare
from dfbench.runs.session import Session
from perf.results import add_json, load, report
from perf.turns import EachStep, Turns

GOALS = {"waiting": 0.10, "time_vs_bare": 1.05}
"""At most."""
CPU = torch.device("cpu")


class Pairs(Dataset[Any]):
    """Augmented pairs of clips, read from the same store."""

    def __init__(self, pixels: Any, rows: np.ndarray, augment: Any) -> None:
        self.pixels, self.rows, self.augment = pixels, rows, augment

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> torch.Tensor:
        random = np.random.default_rng([index, int(torch.initial_seed()) % 2**32])
        return torch.from_numpy(self.augment(self.pixels.fetch(self.rows[index]).numpy(), random))


class Bare:
    """The same procedure, and nothing around it."""

    def __init__(self, session: Session, turns: Turns) -> None:
        self.detector, self.turns = session.detector, turns
        torch.manual_seed(0)
        self.model = session.detector.build().train()
        first = session.loader.units.rows[np.flatnonzero(session.loader._experience.numpy() == 0)]
        workers = worker_count(CPU)
        self.loader = DataLoader(
            Pairs(session.loader.pixels, first, session.detector.augment),
            batch_size=session.detector.config.batch_size,
            shuffle=True,
            num_workers=workers,
            multiprocessing_context="spawn" if workers else None,
            persistent_workers=workers > 0,
            prefetch_factor=AHEAD if workers else None,
        )

    def train(self) -> None:
        """One experience: warm-up of the heads, then everything at a falling rate."""
        c, model = self.detector.config, self.model
        heads = {id(p) for p in model.head_parameters()}
        optimizer = self.detector.optimizer(model, heads_alone=True)
        for step, pixels in enumerate(self._batches(c.steps)):
            if step == 0:
                model.eval()
            for p in model.parameters() if step in (0, c.warm_up) else ():
                p.requires_grad_(step >= c.warm_up or id(p) in heads)
            if step == c.warm_up:
                model.train()
                optimizer = self.detector.optimizer(model)
                rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: (c.steps - i) / c.steps)
            units = torch.arange(len(pixels))
            optimizer.zero_grad()
            self.detector.loss(model, Batch(pixels, units, units, units)).backward()
            optimizer.step()
            if step >= c.warm_up:
                rate.step()
            self.turns.step("bare")

    def _batches(self, count: int) -> Iterator[torch.Tensor]:
        done = 0
        while done < count:
            for pixels in self.loader:
                yield pixels
                done += 1
                if done == count:
                    return


def session(steps: int, turns: Turns | None) -> Session:
    """``dfdc3`` in its ``lite`` preset on the clips of the embedded benchmark, nothing kept."""
    known = registry()
    request = Request("dfdc3", "naive", "forge5-clips", preset="lite", settings=[f"steps={steps}"], device="cpu")
    return Session(prepare(request, known), EachStep(lambda: turns.step("dfbench")) if turns is not None else None)


def waiting(steps: int) -> dict[str, float]:
    """Seconds of one experience's training, and of them those spent on waiting for batches."""
    it = session(steps, None)
    waited = 0.0
    inner = it.loader.stream

    def timed(order: Iterable[torch.Tensor]) -> Iterator[Batch]:
        nonlocal waited
        batches = inner(order)
        while True:
            began = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            finally:
                waited += time.perf_counter() - began
            yield batch

    it.loader.fetch(torch.arange(2))  # the processes are there
    it.loader.stream = timed  # type: ignore[method-assign]
    began = time.perf_counter()
    it.train(1)
    total = time.perf_counter() - began
    it.close()
    return {"seconds": total, "waited": waited, "steps_a_second": steps / total}


def against_bare(steps: int) -> dict[str, float]:
    """Seconds of both ways for the same steps, taking turns."""
    turns = Turns(["dfbench", "bare"], every=30)
    it = session(steps, turns)
    bare = Bare(it, turns)
    it.loader.fetch(torch.arange(2))
    next(iter(bare.loader))
    seconds = turns.run({"dfbench": lambda: it.train(1), "bare": bare.train})
    it.close()
    return seconds


def measure(steps: int) -> dict[str, Any]:
    """Both figures, next to their goals."""
    alone = waiting(steps)
    seconds = against_bare(steps)
    ratios = {"waiting": alone["waited"] / alone["seconds"], "time_vs_bare": seconds["dfbench"] / seconds["bare"]}
    return {
        "name": "dfdc3",
        "ratios": {name: round(value, 3) for name, value in ratios.items()},
        "goals": GOALS,
        "ok": all(ratios[name] <= goal for name, goal in GOALS.items()),
        "steps_a_second": round(alone["steps_a_second"], 3),
        "workers": worker_count(CPU),
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    """Print the ratios as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=120)
    add_json(parser)
    options, busy = parser.parse_args(), load()
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    report(measure(options.steps), options.json, busy)


if __name__ == "__main__":
    main()

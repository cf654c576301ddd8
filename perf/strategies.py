"""Every strategy of ``plugins/dfbench_avalanche`` against native Avalanche's, and what a run spends its time on.

* ``gem``: a step of GEM with 9 past experiences on a network of 20 M parameters. Reference passes are
  the same for both; what is compared is the rest of a step (gradients kept, products, program,
  projection, optimizer): its seconds, and the peak of memory above that of plain training, each way in
  a process of its own. Both get the same batches; the largest difference of a final weight is reported.
* ``others``: the whole training time of every strategy on a small network, over several pairs of trainings.
* ``tune``, ``evaluation``: what ``--tune`` gains, and the share of evaluating (``perf.speed``).

Rivals take turns (``perf.turns``)::

    OMP_NUM_THREADS=1 python -m perf.strategies [gem|others|tune|evaluation|all]
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from avalanche.training.plugins import (
    AGEMPlugin,
    CWRStarPlugin,
    EWCPlugin,
    GEMPlugin,
    LwFPlugin,
    ReplayPlugin,
    SynapticIntelligencePlugin,
)
from avalanche.training.supervised import Cumulative, JointTraining
from avalanche.training.templates import SupervisedTemplate
from torch import nn

from perf.results import add_json, load, report
from perf.rivals import Native, Ours, Passes, Problem
from perf.speed import evaluation, tune
from perf.turns import Turns

PAST, STORED, WARM, STEPS = 9, 16, 2, 8
"""Past experiences; units stored of each; steps before timing; steps timed."""
GOALS = {"projection": 5.0, "memory": 2.0, "step": 1.0, "difference": 1e-5}
"""At least so many times less than native Avalanche; the difference at most."""
AT_MOST, PAIRS = 1.05, 6
"""Time of every other strategy, as a share of native Avalanche's; pairs of trainings whose median that is."""


def wide() -> nn.Module:
    """20.0 M parameters that are quick to pass: what a step costs beyond its passes depends on their number alone."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(768, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 2)
    )


def small() -> nn.Module:
    """A convolutional network of the size of ``simple_cnn``."""
    return nn.Sequential(
        nn.Conv2d(3, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(24, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(48, 96, 3, padding=1), nn.BatchNorm2d(96), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(96, 2),
    )  # fmt: skip


LARGE = Problem(wide, experiences=PAST + 1, units=STORED * (WARM + STEPS), side=16, batch=STORED, lr=1e-3)
SMALL = Problem(small, experiences=3, units=256, side=32, batch=32, epochs=4)


def stored(problem: Problem) -> list[torch.Tensor]:
    """The first units of each past experience."""
    return [torch.arange(i * problem.units, i * problem.units + STORED) for i in range(PAST)]


class LastExperience:
    """GEM in its last experience, all others in its memory: through dfbench, or native."""

    def __init__(self, way: str, step: Callable[[], None]) -> None:
        ids = stored(LARGE)
        if way == "dfbench":
            ours = Ours(LARGE, "gem", PAST * STORED, step)
            self.effects = ours.strategy.effects
            ours.strategy._plugin.memory = dict(enumerate(ids))
            self.model, self.train = ours.model, lambda: ours.template.train(ours.experiences[-1], eval_streams=[])
            return

        class Fixed(GEMPlugin):
            """The same batches and memory."""

            def before_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
                last = torch.arange(PAST * LARGE.units, (PAST + 1) * LARGE.units)
                strategy.dataloader = [
                    [native.inputs[b], native.labels[b], torch.zeros(len(b), dtype=torch.int64)]
                    for b in LARGE.order(last)
                ]

        plugin = Fixed(STORED, 0.5)
        native = Native(LARGE, lambda _: [plugin], step)
        for i, units in enumerate(ids):
            plugin.memory_x[i], plugin.memory_y[i] = native.inputs[units], native.labels[units]
            plugin.memory_tid[i] = torch.zeros(len(units), dtype=torch.int64)
        native.strategy.clock.train_exp_counter = PAST
        self.model, self.train = native.model, lambda: native.strategy.train(native.experiences[-1], eval_streams=[])


def peak() -> int:
    """Largest resident size of this process so far, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def memory_of(way: str) -> int:
    """Peak of GEM above that of a plain step of the same network, bytes; for a process of its own."""
    pictures = torch.randn(STORED, 3, 16, 16)
    model, optimizer = LARGE.build()
    for _ in range(2):
        optimizer.zero_grad()
        model(pictures).sum().backward()
        optimizer.step()
    del model, optimizer
    before = peak()
    LastExperience(way, lambda: None).train()
    return peak() - before


def gem() -> dict[str, Any]:
    """Seconds a step, of the projection in it, and peaks of memory, of both ways."""
    names = ["dfbench", "avalanche"]
    memory = {}
    for name in names:
        command = [sys.executable, "-m", "perf.strategies", "memory", name]
        memory[name] = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
    turns, passes = Turns(names, every=1), Passes()
    marks: dict[str, list[tuple[float, float]]] = {name: [] for name in names}

    def step(name: str) -> Callable[[], None]:
        def counted() -> None:
            turns.step(name)
            marks[name].append((turns.seconds[name], passes.here()))

        return counted

    ways = {name: LastExperience(name, step(name)) for name in names}
    for way in ways.values():
        passes.watch(way.model)
    with passes.backward():
        turns.run({name: way.train for name, way in ways.items()})
    seconds, rest = {}, {}
    for name in names:
        (began, passed), (ended, passing) = marks[name][WARM - 1], marks[name][-1]
        seconds[name] = (ended - began) / STEPS
        rest[name] = seconds[name] - (passing - passed) / STEPS
    models = [way.model.parameters() for way in ways.values()]
    difference = max(float((p - q).detach().abs().max()) for p, q in zip(*models, strict=True))
    found = {"projection": rest, "step": seconds, "memory": memory}
    ratios = {what: values["avalanche"] / values["dfbench"] for what, values in found.items()}
    size = sum(p.numel() for p in ways["dfbench"].model.parameters()) / 1e6
    changed = int(ways["dfbench"].effects.values()["projections"])
    print(f"GEM, {PAST} past experiences, {size:.2f} M parameters; projected in {changed} of {WARM + STEPS} steps")
    print(f"{'':24}{'dfbench':>12}{'Avalanche':>12}{'ratio':>8}{'goal':>8}")
    for what, unit, scale in (("projection", "s a step", 1), ("step", "s", 1), ("memory", "MiB above plain", 2**20)):
        a, b = (found[what][name] / scale for name in names)
        print(f"{what + ', ' + unit:24}{a:12.2f}{b:12.2f}{ratios[what]:8.2f}{GOALS[what]:8.2f}")
    print(f"largest difference of a final weight: {difference:.1e}")
    ok = all(ratios[what] >= GOALS[what] for what in ratios) and difference <= GOALS["difference"] and changed > STEPS
    rounded = {k: round(v, 2) for k, v in ratios.items()}
    return {"name": "gem", "ratios": rounded, "difference": difference, "ok": ok, "measured": found}


Rival = tuple[dict[str, Any], Callable[[nn.Module], list[Any]], Any]
MEMORY = 96
"""Units: 32 of each experience, so that native A-GEM, whose loader ends each round of its memory with a smaller sample
(dfbench's does not), computes as many rows."""
RIVALS: dict[str, Rival] = {
    "naive": ({}, lambda _: [], SupervisedTemplate),
    "replay": ({}, lambda _: [ReplayPlugin(mem_size=MEMORY)], SupervisedTemplate),
    "cumulative": ({}, lambda _: [], Cumulative),
    "joint": ({}, lambda _: [], JointTraining),
    "gem": ({}, lambda _: [GEMPlugin(MEMORY // SMALL.experiences, 0.5)], SupervisedTemplate),
    "agem": ({"sample_size": 32}, lambda _: [AGEMPlugin(MEMORY // SMALL.experiences, 32)], SupervisedTemplate),
    "ewc": ({"strength": 10.0, "fisher": "batch"}, lambda _: [EWCPlugin(10.0)], SupervisedTemplate),
    "si": ({"strength": 1.0}, lambda _: [SynapticIntelligencePlugin(1.0)], SupervisedTemplate),
    "lwf": ({"teacher": "train"}, lambda _: [LwFPlugin(1.0, 2.0)], SupervisedTemplate),
    "cwr_star": ({"bias": False}, lambda model: [CWRStarPlugin(model)], SupervisedTemplate),
}
"""Options of dfbench's strategy; native Avalanche's plugins; its template."""


def pair(name: str, order: Sequence[str]) -> dict[str, float]:
    """Whole training times of a strategy through dfbench and of Avalanche's, side by side in this order."""
    options, plugins, template = RIVALS[name]
    turns = Turns(list(order))
    ours = Ours(SMALL, name, MEMORY, lambda: turns.step("dfbench"), **options)
    native = Native(SMALL, plugins, lambda: turns.step("avalanche"), template)
    ways = {"dfbench": ours.train, "avalanche": native.train_at_once if name == "joint" else native.train}
    return turns.run({way: ways[way] for way in order})


def others() -> dict[str, Any]:
    """Ratios (dfbench / Avalanche) of the training times of every strategy: the median of several pairs."""
    orders = [("dfbench", "avalanche"), ("avalanche", "dfbench")]  # who begins pays for what is made once
    pair("naive", orders[0])
    print(f"the median of {PAIRS} pairs, the lowest and the highest; goal: at most {AT_MOST}")
    print(f"{'strategy':12}{'dfbench s':>12}{'Avalanche s':>12}{'ratio':>8}{'lowest':>8}{'highest':>8}")
    ratios = {}
    for name in RIVALS:
        took = [pair(name, orders[i % 2]) for i in range(PAIRS)]
        ours, native = (statistics.median(t[way] for t in took) for way in orders[0])
        every = sorted(t["dfbench"] / t["avalanche"] for t in took)
        ratios[name] = statistics.median(every)
        print(f"{name:12}{ours:12.2f}{native:12.2f}{ratios[name]:8.3f}{every[0]:8.3f}{every[-1]:8.3f}", flush=True)
    ok = all(ratio <= AT_MOST for ratio in ratios.values())
    return {"name": "strategies", "ratios": {k: round(v, 3) for k, v in ratios.items()}, "goal": AT_MOST, "ok": ok}


def main() -> None:
    """Print a table for each part, and the ratios as JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = {"gem": gem, "others": others, "tune": tune, "evaluation": lambda: evaluation(options.divide)}
    parser.add_argument("part", nargs="?", default="gem", choices=[*parts, "all", "memory"])
    parser.add_argument("way", nargs="?", choices=["dfbench", "avalanche"], help="for memory: which of the two")
    parser.add_argument("--divide", type=int, default=4, help="evaluation: pictures, as a fraction of forge5's")
    add_json(parser)
    options, busy = parser.parse_args(), load()
    if options.json and options.part == "all":
        parser.error("--json keeps one result: name a part")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", message="No loggers specified")
    if options.part == "memory":
        print(memory_of(options.way or "dfbench"))
        return
    for name, part in parts.items():
        if options.part in (name, "all"):
            report(part(), options.json, busy)


if __name__ == "__main__":
    main()

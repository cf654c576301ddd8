"""Strategies on rotated digits, beside native Avalanche: within the spread, and in the order that papers report.

scikit-learn's 1797 digits, turned by 0, 45, 90, 135 and 180°; 1400 of them, shuffled, train. MLP 2×100, SGD .1,
batch 32, 10 epochs, 3 seeds; accuracy over the five test sets after the last experience. Source and detector are an
installed plugin (``tests/plugins/digits``), the runs are those of ``dfbench eval``; Avalanche alone gets the same
pictures. Run it by name:
``pytest -m slow tests/training/test_digits.py -s``.
"""

from __future__ import annotations

import importlib
import math
import random
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from avalanche.benchmarks import benchmark_from_datasets
from avalanche.benchmarks.utils import DataAttribute, TaskAwareClassificationDataset
from avalanche.training.plugins import (
    AGEMPlugin,
    CWRStarPlugin,
    EvaluationPlugin,
    EWCPlugin,
    GEMPlugin,
    LwFPlugin,
    ReplayPlugin,
)
from avalanche.training.supervised import DER, Cumulative
from avalanche.training.templates import SupervisedTemplate
from torch import nn
from torch.utils.data import TensorDataset

from dfbench.plugins import Registry, load_plugins
from dfbench.runs.prepare import Request
from dfbench.runs.runner import run

PLUGIN = Path(__file__).parents[1] / "plugins" / "digits"
ANGLES = (0, 45, 90, 135, 180)
Native = Callable[[nn.Module], tuple[Any, dict[str, Any]]]


def plugin(make: Callable[[nn.Module], list[Any]]) -> Native:
    return lambda model: (SupervisedTemplate, {"plugins": make(model)})


STRATEGIES: dict[str, tuple[list[str], float, Native]] = {
    "naive": ([], 45.0, plugin(lambda _: [])),
    "ewc": (["strategy.strength=100", "strategy.fisher=batch"], 53.3, plugin(lambda _: [EWCPlugin(100.0)])),
    "lwf": (["strategy.teacher=train"], 51.1, plugin(lambda _: [LwFPlugin(1.0, 2.0)])),
    "agem": (["strategy.memory=250"], 56.1, plugin(lambda _: [AGEMPlugin(50, 64)])),
    "gem": (["strategy.memory=250"], 83.9, plugin(lambda _: [GEMPlugin(50, 0.5)])),
    "replay": (["strategy.memory=200"], 85.0, plugin(lambda _: [ReplayPlugin(200)])),
    "der": (["strategy.memory=200"], 91.4, lambda _: (DER, {"mem_size": 200, "alpha": 0.1, "beta": 0.5})),
    "cwr_star": (["strategy.bias=false"], 30.4, plugin(lambda model: [CWRStarPlugin(model)])),
    "cumulative": ([], 96.3, lambda _: (Cumulative, {})),
}
"""Options; average accuracy (%) that native Avalanche gave elsewhere, on digits turned and shuffled in ways that are
not known; the same through Avalanche alone."""
SEEDS = 3
WITHIN = 4.0
"""Points, of the figures from elsewhere. Which 397 digits are the test set moves Avalanche's own means by 1 or 2."""
FURTHER = {"ewc": 8.0}
"""On four other shuffles Avalanche alone gave 53.1 ± 4.6, 59.8 ± 1.8, 58.2 ± 1.5, 41.9 ± 28.5 (a seed diverged)."""


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory):
    """The registry with the plugin installed, the stream's file, and a folder for the runs."""
    folder = tmp_path_factory.mktemp("digits")
    stream = folder / "digits.yaml"
    entries = [f"  - {{name: turned{a}, angle: {a}}}" for a in ANGLES]
    lines = ["name: digits", "metric: accuracy", "defaults: {source: digits}", "experiences:", *entries]
    stream.write_text("\n".join(lines) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PLUGIN))
        importlib.invalidate_caches()
        yield load_plugins(), stream, folder / "runs"


Digits = tuple[Registry, Path, Path]
found: dict[str, list[float]] = {}


def accuracies(name: str, digits: Digits) -> list[float]:
    """Average accuracy (%) after the last experience, of each seed."""
    known, stream, out = digits
    if name not in found:
        requests = [
            Request("mlp", name, str(stream), settings=STRATEGIES[name][0], seed=seed, device="cpu", out=out)
            for seed in range(SEEDS)
        ]
        found[name] = [100 * run(request, known).metrics["average_accuracy"] for request in requests]
    return found[name]


def native(name: str, seed: int) -> float:
    """The same through Avalanche alone, on the same pictures."""
    from dfbench_digits.source import Digits as Source  # installed by the fixture

    parts: dict[str, list[Any]] = {"train": [], "test": []}
    for angle in ANGLES:
        source = Source(None, angle=angle)
        samples = source.samples()
        for split, sets in parts.items():
            rows = samples.split == split
            pixels = np.stack([source.read(sample)[..., 0] for sample in samples.sample[rows]])
            sets.append(
                (torch.from_numpy(pixels).float() / 255, torch.from_numpy(samples.label[rows].astype(np.int64)))
            )
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 10)
    )
    template, options = STRATEGIES[name][2](model)
    strategy = template(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        criterion=nn.CrossEntropyLoss(),
        train_mb_size=32,
        train_epochs=10,
        evaluator=EvaluationPlugin(),
        **options,
    )
    for experience in benchmark_from_datasets(train=[_dataset(*part) for part in parts["train"]]).train_stream:
        strategy.train(experience, eval_streams=[])
    model.eval()
    with torch.no_grad():
        return 100 * statistics.mean(float((model(x).argmax(1) == y).float().mean()) for x, y in parts["test"])


def _dataset(x: torch.Tensor, y: torch.Tensor) -> Any:
    attributes = [
        DataAttribute(y.tolist(), "targets", use_in_getitem=False),
        DataAttribute([0] * len(y), "targets_task_labels", use_in_getitem=True),
    ]
    return TaskAwareClassificationDataset([TensorDataset(x, y)], data_attributes=attributes)


@pytest.mark.slow
@pytest.mark.parametrize("name", STRATEGIES)
def test_rotated_digits(name: str, digits: Digits) -> None:
    """Within three standard errors (and a point) of Avalanche alone, and near the figures from elsewhere."""
    ours, elsewhere = accuracies(name, digits), STRATEGIES[name][1]
    alone = [native(name, seed) for seed in range(SEEDS)]
    mean, other = statistics.mean(ours), statistics.mean(alone)
    spread = [statistics.stdev(values) for values in (ours, alone)]
    print(f"\n{name}: {mean:.1f} ± {spread[0]:.1f}, alone {other:.1f} ± {spread[1]:.1f}, elsewhere {elsewhere}")
    assert abs(mean - other) <= 1 + 3 * math.hypot(*spread) / math.sqrt(SEEDS)
    assert abs(mean - elsewhere) < FURTHER.get(name, WITHIN)


@pytest.mark.slow
def test_what_keeps_data_forgets_least(digits: Digits) -> None:
    """Whatever the digits look like: a frozen trunk, penalties and one pass a step, rehearsal, everything."""
    mean = {name: statistics.mean(accuracies(name, digits)) for name in STRATEGIES}
    assert mean["cwr_star"] < mean["naive"] < mean["ewc"]
    assert max(mean[name] for name in ("naive", "ewc", "lwf", "agem")) + 10 < min(mean["gem"], mean["replay"])
    assert max(mean["gem"], mean["replay"]) < mean["der"] < mean["cumulative"]

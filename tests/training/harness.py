"""A small continual problem, trained by dfbench and by native Avalanche on the same batches."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from avalanche.benchmarks import benchmark_from_datasets
from avalanche.benchmarks.utils import DataAttribute, TaskAwareClassificationDataset
from avalanche.core import SupervisedPlugin
from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.templates import SupervisedTemplate
from torch import nn
from torch.utils.data import TensorDataset

from dfbench import (
    Batch,
    Detector,
    EpochConfig,
    Loop,
    Strategy,
    StrategyContext,
    Task,
    Units,
    normalize,
    unit_dataset,
)
from dfbench.data.loader import UnitLoader
from dfbench.plugins import registry
from dfbench.training.dataset import experiences_of
from dfbench.training.modeling import linear_heads
from dfbench.training.template import LoopTemplate

EXPERIENCES, SIZE, BATCH, EPOCHS, LR = 3, 96, 16, 2, 0.05
TEN = ("naive", "cwr_star", "replay", "gem", "cumulative", "joint", "ewc", "lwf", "si", "agem")
"""What the table of the data card compares."""
FIELD = ("dfil", "cored", "hdp", "sur_lid")
"""The deepfake field's own."""
PRETRAINED = ("ranpac", "slca")
"""For pretrained networks, and possible with any that has a head."""
ALL = (*TEN, "der", "cls_er", "gdumb", "mas", "rwalk", "lfl", "mir", "slda", *PRETRAINED, *FIELD)


class ArrayPixels:
    """Pictures in memory, with the interface of the pixel store."""

    def __init__(self, pictures: torch.Tensor) -> None:
        self.pictures = pictures

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.pictures.shape)

    def fetch(self, rows: Any, out: torch.Tensor | None = None) -> torch.Tensor:
        return self.pictures[torch.as_tensor(rows)]


@dataclass
class Problem:
    """Three experiences of noisy patterns whose cue for 'fake' moves from one to the next."""

    pictures: torch.Tensor
    labels: torch.Tensor
    experience: np.ndarray

    @classmethod
    def make(cls, size: int = SIZE) -> Problem:
        rng = torch.Generator().manual_seed(5)
        count = size * EXPERIENCES
        labels = torch.arange(count) % 2
        pictures = torch.randint(0, 200, (count, 8, 8, 3), generator=rng, dtype=torch.uint8)
        experience = np.repeat(np.arange(EXPERIENCES), size)
        for i in range(EXPERIENCES):
            chosen = (labels == 1) & torch.from_numpy(experience == i)
            pictures[chosen, 2 * i : 2 * i + 3, :, i % 3] += 50
        return cls(pictures, labels, experience)

    @property
    def units(self) -> Units:
        y = self.labels.numpy()
        return Units(np.arange(len(y)), y, y)

    def ids(self, experience: int) -> torch.Tensor:
        return torch.from_numpy(np.flatnonzero(self.experience == experience))

    def inputs(self, ids: torch.Tensor) -> torch.Tensor:
        return normalize(self.pictures[ids]).contiguous()


def plain_network() -> nn.Module:
    """Without batch normalisation: the same output in both modes, and for a row whatever is beside it."""
    torch.manual_seed(11)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 16), nn.ReLU(), nn.Linear(16, 2))


def network() -> nn.Module:
    torch.manual_seed(11)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 64, 10), nn.ReLU(),
        nn.Linear(10, 2),
    )  # fmt: skip


class PlainConfig(EpochConfig):
    """A plain loop's options."""

    batch_size: int = BATCH
    epochs: int = EPOCHS


class PlainDetector(Detector):
    """An ordinary loop with one optimizer kept over the experiences, as native Avalanche keeps it."""

    Config: ClassVar = PlainConfig

    def __init__(self, config: EpochConfig, task: Task) -> None:
        super().__init__(config, task)
        self.seen: list[list[torch.Tensor]] = []
        self.kept: torch.optim.Optimizer | None = None

    def build(self) -> nn.Module:
        return network()

    def inputs(self, batch: Batch, training: bool) -> torch.Tensor:
        return normalize(batch.pixels).contiguous()

    def train(self, loop: Loop) -> None:
        self.seen.append([])
        self.kept = self.kept or torch.optim.SGD(loop.model.parameters(), lr=LR, momentum=0.9)
        loop.optimize(self.kept)
        for _ in loop.epochs(self.config.epochs):
            for batch in loop.batches():
                self.seen[-1].append(batch.units.clone())
                loop.step(self.loss(loop.model, batch))


@dataclass
class Trained:
    """A finished training and all that was observed of it."""

    model: nn.Module
    detector: Any
    strategy: Strategy
    template: LoopTemplate
    events: list[str] = field(default_factory=list)


def strategy_of(name: str, **settings: Any) -> Strategy:
    kind = registry().strategies.load(name)
    return kind(kind.Config(**settings))


def train(
    problem: Problem,
    strategy: Strategy,
    detector: Detector | None = None,
    extra: Sequence[SupervisedPlugin] = (),
    units: Units | None = None,
    experience: np.ndarray | None = None,
    memory: int = 30,
    before: Callable[[LoopTemplate, int], None] | None = None,
) -> Trained:
    """Train through dfbench."""
    detector = detector or PlainDetector(PlainConfig(), Task())
    units = problem.units if units is None else units
    experience = problem.experience if experience is None else experience
    model = detector.build()
    context = StrategyContext(
        model=model,
        heads=tuple(linear_heads(model, detector.head)),
        experiences=EXPERIENCES,
        memory=memory,
        samples_per_unit=units.samples_per_unit,
        batch_size=detector.config.batch_size,
        targets=torch.from_numpy(units.target),
    )
    template = LoopTemplate(
        detector=detector,
        model=model,
        loader=UnitLoader(units, experience, ArrayPixels(problem.pictures), torch.device("cpu")),
        plugins=[*strategy.plugins(context), *extra],
        effects=strategy.effects,
        needs=strategy.needs,
        whole_stream=strategy.whole_stream,
        repeated_passes=strategy.repeated_passes,
    )
    groups = [list(range(EXPERIENCES))] if strategy.whole_stream else [[i] for i in range(EXPERIENCES)]
    datasets = []
    for members in groups:
        ids = np.flatnonzero(np.isin(experience, members))
        datasets.append(unit_dataset(torch.from_numpy(ids), torch.from_numpy(units.target[ids])))
    for index, item in enumerate(experiences_of(datasets)):
        seed(index)
        template.generator.manual_seed(index)
        if before is not None:
            before(template, index)
        template.train(item, eval_streams=[])
    return Trained(model, detector, strategy, template)


class FixedOrder(SupervisedPlugin):
    """Gives native Avalanche the batches that dfbench dealt out, and changes nothing else."""

    def __init__(self, problem: Problem, seen: list[list[torch.Tensor]]) -> None:
        super().__init__()
        self.problem, self.seen, self.epoch = problem, seen, 0

    def before_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
        done = strategy.clock.train_exp_epochs
        batches = self.seen[strategy.clock.train_exp_counter]
        share = len(batches) // EPOCHS
        strategy.dataloader = [
            [self.problem.inputs(ids), self.problem.labels[ids], torch.zeros(len(ids), dtype=torch.int64)]
            for ids in batches[done * share : (done + 1) * share]
        ]


def train_native(
    problem: Problem,
    plugins: Sequence[SupervisedPlugin],
    seen: list[list[torch.Tensor]],
    make: Any = None,
    build: Callable[[], nn.Module] = network,
    template: Any = SupervisedTemplate,
    momentum: float = 0.9,
) -> nn.Module:
    """Train with Avalanche alone: its own template, loop and plugins. ``make`` builds a plugin from the model."""
    model = build()
    datasets = []
    for i in range(EXPERIENCES):
        x, y = problem.inputs(problem.ids(i)), problem.labels[problem.ids(i)]
        attributes = [
            DataAttribute(y.tolist(), "targets"),
            DataAttribute([0] * len(y), "targets_task_labels", use_in_getitem=True),
        ]
        datasets.append(TaskAwareClassificationDataset([TensorDataset(x, y)], data_attributes=attributes))
    strategy = template(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=LR, momentum=momentum),
        criterion=nn.CrossEntropyLoss(),
        train_mb_size=BATCH,
        train_epochs=EPOCHS,
        plugins=[*(make(model) if make else ()), *plugins, FixedOrder(problem, seen)],
        evaluator=EvaluationPlugin(),
    )
    for index, item in enumerate(benchmark_from_datasets(train=datasets).train_stream):
        seed(index)
        strategy.train(item, eval_streams=[])
    return strategy.model  # type: ignore[no-any-return]


def seed(value: int) -> None:
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)


def largest_difference(a: nn.Module, b: nn.Module) -> float:
    return max(
        float((p.double() - q.double()).abs().max())
        for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


def copy_of(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model)

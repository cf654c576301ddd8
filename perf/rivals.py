"""One continual problem, trained through dfbench and by native Avalanche alone (for ``perf.strategies``).

Both get the same network, optimizer, pictures, batch size, passes and memory. Native Avalanche's
pictures are float tensors made in advance; dfbench's are uint8 in memory and become floats a batch at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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

from dfbench import Batch, Detector, EpochConfig, Loop, StrategyContext, Task, Units, normalize, unit_dataset
from dfbench.data.loader import UnitLoader, epoch_order
from dfbench.plugins import registry
from dfbench.training.dataset import experiences_of
from dfbench.training.modeling import linear_heads
from dfbench.training.template import LoopTemplate

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Problem:
    """Noise pictures whose labels turn over from one experience to the next, so that gradients oppose each other."""

    network: Callable[[], nn.Module]
    experiences: int
    units: int
    side: int
    batch: int
    epochs: int = 1
    lr: float = 0.01

    def pictures(self) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
        """uint8 (N, side, side, 3), labels int64 (N,), experience (N,)."""
        count = self.experiences * self.units
        rng = torch.Generator().manual_seed(7)
        pictures = torch.randint(0, 256, (count, self.side, self.side, 3), generator=rng, dtype=torch.uint8)
        experience = np.repeat(np.arange(self.experiences), self.units)
        bright = pictures[:, : self.side // 2].float().mean((1, 2, 3)) > 127.5
        labels = (bright.long() + torch.from_numpy(experience)) % 2
        return pictures, labels, experience

    def build(self) -> tuple[nn.Module, torch.optim.Optimizer]:
        """The network and its optimizer, always the same."""
        torch.manual_seed(0)
        model = self.network()
        return model, torch.optim.SGD(model.parameters(), lr=self.lr, momentum=0.9)

    def order(self, ids: torch.Tensor) -> list[torch.Tensor]:
        """The batches that dfbench deals out first, with a generator seeded 0."""
        return epoch_order(ids, self.batch, torch.Generator().manual_seed(0))


class StepReport(SupervisedPlugin):
    """Calls a function after every step."""

    def __init__(self, step: Callable[[], None]) -> None:
        super().__init__()
        self.step = step

    def after_update(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback."""
        self.step()


class Plain(Detector):
    """An ordinary loop."""

    Config: ClassVar = EpochConfig
    problem: Problem

    def build(self) -> nn.Module:
        """The problem's network; its optimizer is kept over the experiences, as Avalanche keeps it."""
        model, self.kept = self.problem.build()
        return model

    def inputs(self, batch: Batch, training: bool) -> torch.Tensor:
        """Floats, channels first."""
        return normalize(batch.pixels).contiguous()

    def train(self, loop: Loop) -> None:
        """So many passes."""
        loop.optimize(self.kept)
        for _ in loop.epochs(self.config.epochs):
            for batch in loop.batches():
                loop.step(self.loss(loop.model, batch))


class Ours:
    """dfbench's strategy ``name`` on the problem."""

    def __init__(self, problem: Problem, name: str, memory: int, step: Callable[[], None], **options: Any) -> None:
        pictures, labels, experience = problem.pictures()
        units = Units(np.arange(len(labels)), labels.numpy(), labels.numpy())
        detector = Plain(EpochConfig(batch_size=problem.batch, epochs=problem.epochs), Task())
        detector.problem = problem
        self.model = detector.build()
        kind = registry().strategies.load(name)
        self.strategy = kind(kind.Config(**options))
        context = StrategyContext(
            self.model,
            tuple(linear_heads(self.model, detector.head)),
            problem.experiences,
            memory,
            1,
            problem.batch,
            labels,
        )
        self.template = LoopTemplate(
            detector=detector,
            model=self.model,
            loader=UnitLoader(units, experience, Stored(pictures), CPU),
            plugins=[*self.strategy.plugins(context), StepReport(step)],
            effects=self.strategy.effects,
            needs=self.strategy.needs,
            whole_stream=self.strategy.whole_stream,
        )
        groups = (
            [experience >= 0] if self.strategy.whole_stream else [experience == i for i in range(problem.experiences)]
        )
        datasets = [unit_dataset(torch.from_numpy(np.flatnonzero(g)), labels[torch.from_numpy(g)]) for g in groups]
        self.experiences = experiences_of(datasets)
        self.template.generator.manual_seed(0)

    def train(self) -> None:
        """All experiences."""
        for item in self.experiences:
            self.template.train(item, eval_streams=[])


class Stored:
    """Pictures in memory, with the interface of the pixel store."""

    def __init__(self, pictures: torch.Tensor) -> None:
        self.pictures, self.shape = pictures, tuple(pictures.shape)

    def fetch(self, rows: Any, out: torch.Tensor | None = None) -> torch.Tensor:
        """uint8 pictures."""
        return self.pictures[torch.as_tensor(rows)]


class Native:
    """Avalanche's own template (or strategy) and plugins on the problem."""

    def __init__(
        self,
        problem: Problem,
        plugins: Callable[[nn.Module], Sequence[Any]],
        step: Callable[[], None],
        template: Any = SupervisedTemplate,
    ) -> None:
        pictures, labels, experience = problem.pictures()
        self.model, optimizer = problem.build()
        self.inputs, self.labels = normalize(pictures).contiguous(), labels
        self.strategy = template(
            model=self.model,
            optimizer=optimizer,
            criterion=nn.CrossEntropyLoss(),
            train_mb_size=problem.batch,
            train_epochs=problem.epochs,
            plugins=[*plugins(self.model), StepReport(step)],
            evaluator=EvaluationPlugin(),
        )
        datasets = []
        for i in range(problem.experiences):
            ids = torch.from_numpy(np.flatnonzero(experience == i))
            attributes = [
                DataAttribute(labels[ids].tolist(), "targets"),
                DataAttribute([0] * len(ids), "targets_task_labels", use_in_getitem=True),
            ]
            tensors = TensorDataset(self.inputs[ids], labels[ids])
            datasets.append(TaskAwareClassificationDataset([tensors], data_attributes=attributes))
        self.experiences = list(benchmark_from_datasets(train=datasets).train_stream)

    def train(self) -> None:
        """All experiences."""
        for item in self.experiences:
            self.strategy.train(item, eval_streams=[])

    def train_at_once(self) -> None:
        """All experiences as one, for joint training."""
        self.strategy.train(self.experiences, eval_streams=[])


class Passes:
    """Seconds in forward and backward passes, by thread."""

    def __init__(self) -> None:
        self.seconds: dict[int, float] = {}
        self._began: dict[int, float] = {}

    def watch(self, model: nn.Module) -> None:
        """Count this network's forward passes."""
        model.register_forward_pre_hook(lambda *_: self._begin())
        model.register_forward_hook(lambda *_: self._end())

    @contextmanager
    def backward(self) -> Iterator[None]:
        """Count all backward passes while inside."""
        original = torch.Tensor.backward

        def timed(tensor: torch.Tensor, *args: Any, **options: Any) -> None:
            self._begin()
            original(tensor, *args, **options)
            self._end()

        torch.Tensor.backward = timed  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            torch.Tensor.backward = original  # type: ignore[method-assign]

    def here(self) -> float:
        """Seconds in this thread so far."""
        return self.seconds.get(threading.get_ident(), 0.0)

    def _begin(self) -> None:
        self._began[threading.get_ident()] = time.perf_counter()

    def _end(self) -> None:
        me = threading.get_ident()
        self.seconds[me] = self.seconds.get(me, 0.0) + time.perf_counter() - self._began[me]

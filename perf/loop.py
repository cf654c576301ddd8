"""``simple_cnn`` under replay on CIFAR-10: dfbench against native Avalanche and a bare PyTorch loop.

All train the same network with the same optimizer, schedule, batch sizes and memory on the ten
experiences of ``cifar10-ni10``, taking turns every few steps, so that a change of the machine's speed
meets all alike. Training is timed, from the first to the last line of an experience. A ratio is that
of the whole times.

* Avalanche: ``SupervisedTemplate`` with its ``ReplayPlugin``, on the Pillow pictures that torchvision's
  ``CIFAR10`` gives, with ``ToTensor``, ``Normalize`` and ``RandomHorizontalFlip``; and, as a stronger
  rival that a user would have to write, on float tensors made in advance.
* Bare loop: uint8 tensors in memory, indexed a batch at a time, the same steps, nothing else.

Needs CIFAR-10::

    DFBENCH_DATA=/folder/that/holds/cifar10 python -m perf.loop [--experiences 10] [--epochs 1]
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from avalanche.benchmarks import benchmark_from_datasets
from avalanche.benchmarks.utils import DataAttribute, TaskAwareClassificationDataset
from avalanche.core import SupervisedPlugin
from avalanche.training.plugins import EvaluationPlugin, ReplayPlugin
from avalanche.training.templates import SupervisedTemplate
from PIL import Image
from torch.utils.data import Dataset, TensorDataset
from torchvision import transforms

from dfbench import normalize
from dfbench.plugins import registry
from dfbench.runs.prepare import Request, prepare
from dfbench.runs.session import Session
from perf.results import add_json, load, report
from perf.turns import EachStep, Turns

MEMORY = 500
GOALS = {"vs_avalanche": 1.35, "vs_bare": 1 / 1.05}
"""Goals as speed-ups: time of the rival divided by time of dfbench."""


class Cycle(SupervisedPlugin):
    """Gives native Avalanche the detector's optimizer and schedule, anew for each experience."""

    def __init__(self, make: Callable[[Any, int], tuple[Any, Any]], step: Callable[[], None]) -> None:
        super().__init__()
        self.make, self.step = make, step

    def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        strategy.optimizer, self.scheduler = self.make(strategy.model, len(strategy.dataloader))

    def after_update(self, strategy: Any, **kwargs: Any) -> None:
        self.scheduler.step()
        self.step()


class Pictures(Dataset[Any]):
    """What torchvision's ``CIFAR10`` does for an item: a Pillow picture through transforms."""

    def __init__(self, pixels: torch.Tensor, labels: torch.Tensor) -> None:
        self.pixels, self.labels = pixels.numpy(), labels.tolist()
        self.transform = transforms.Compose(
            [transforms.RandomHorizontalFlip(), transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Any:
        return self.transform(Image.fromarray(self.pixels[index])), self.labels[index]


class Flipped(TensorDataset):
    """Float tensors made in advance; only the flip is left to do."""

    def __getitem__(self, index: Any) -> Any:
        x, y = super().__getitem__(index)
        return (x.flip(2) if torch.rand(()) < 0.5 else x), y


class Native:
    """Native Avalanche with its replay."""

    def __init__(
        self, session: Session, parts: list[Any], epochs: int, batch: int, make: Any, dataset: Any, step: Any
    ) -> None:
        torch.manual_seed(0)
        model = session.detector.build()
        self.strategy = SupervisedTemplate(
            model=model,
            optimizer=torch.optim.AdamW(model.parameters()),
            train_mb_size=batch,
            train_epochs=epochs,
            plugins=[ReplayPlugin(mem_size=MEMORY), Cycle(make, step)],
            evaluator=EvaluationPlugin(),
        )
        datasets = [
            TaskAwareClassificationDataset(
                [dataset(x, y)],
                data_attributes=[
                    DataAttribute(y.tolist(), "targets"),
                    DataAttribute([0] * len(y), "targets_task_labels", use_in_getitem=True),
                ],
            )
            for x, y in parts
        ]
        self.experiences = list(benchmark_from_datasets(train=datasets).train_stream)

    def train(self, index: int) -> None:
        """One experience."""
        self.strategy.train(self.experiences[index], eval_streams=[])


class Bare:
    """The same steps with nothing around them."""

    def __init__(self, session: Session, parts: list[Any], epochs: int, batch: int, make: Any, step: Any) -> None:
        torch.manual_seed(0)
        self.model = session.detector.build().train()
        self.parts, self.epochs, self.batch, self.make, self.step = parts, epochs, batch, make, step
        self.memory: tuple[torch.Tensor, torch.Tensor] | None = None

    def batches(self, x: torch.Tensor, y: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Shuffled batches, each with as many stored samples."""
        for ids in torch.randperm(len(x)).split(self.batch):
            if self.memory is None:
                yield x[ids], y[ids]
            else:
                stored = torch.randint(len(self.memory[0]), (self.batch,))
                yield torch.cat([x[ids], self.memory[0][stored]]), torch.cat([y[ids], self.memory[1][stored]])

    def train(self, index: int) -> None:
        """One experience."""
        x, y = self.parts[index]
        optimizer, scheduler = self.make(self.model, -(-len(x) // self.batch))
        for _ in range(self.epochs):
            for pixels, labels in self.batches(x, y):
                flip = torch.rand(len(pixels), 1, 1, 1) < 0.5
                optimizer.zero_grad()
                loss = F.cross_entropy(self.model(normalize(torch.where(flip, pixels.flip(2), pixels))), labels)
                loss.backward()
                optimizer.step()
                scheduler.step()
                self.step()
        kept = torch.randperm(len(x))[: MEMORY // (index + 1)]
        old = self.memory or (x[:0], y[:0])
        share = torch.randperm(len(old[0]))[: MEMORY - len(kept)]
        self.memory = torch.cat([old[0][share], x[kept]]), torch.cat([old[1][share], y[kept]])


def measure(experiences: int, epochs: int) -> dict[str, Any]:
    """Train ``experiences`` experiences in all four ways; ratios of the whole times."""
    known = registry()
    settings = [f"epochs={epochs}", f"strategy.memory={MEMORY}"]
    request = Request("simple_cnn", "replay", "cifar10-ni10", settings=settings, device="cpu")
    prepared = prepare(request, known)
    turns = Turns(["dfbench", "avalanche", "avalanche_tensors", "bare"])

    session = Session(prepared, EachStep(lambda: turns.step("dfbench")))
    config, pixels = prepared.detector.config, session.loader.pixels
    parts = []
    for e in prepared.stream.experiences:
        labels = torch.from_numpy(prepared.stream.samples.label[e.rows["train"]].astype(np.int64))
        parts.append((pixels.fetch(e.rows["train"]), labels))

    def make(model: Any, steps: int) -> tuple[Any, Any]:
        optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
        return optimizer, torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=config.lr, total_steps=epochs * steps + 1
        )

    tensors = [(normalize(x), y) for x, y in parts]

    def native(name: str, data: list[Any], dataset: Any) -> Native:
        return Native(session, data, epochs, config.batch_size, make, dataset, lambda: turns.step(name))

    rivals: dict[str, Any] = {
        "avalanche": native("avalanche", parts, Pictures),
        "avalanche_tensors": native("avalanche_tensors", tensors, Flipped),
        "bare": Bare(session, parts, epochs, config.batch_size, make, lambda: turns.step("bare")),
    }
    total = dict.fromkeys(turns.names, 0.0)
    for index in range(experiences):
        ways: dict[str, Callable[[], None]] = {"dfbench": partial(session.train, index + 1)}
        took = turns.run(ways | {name: partial(rival.train, index) for name, rival in rivals.items()})
        print(f"experience {index + 1}: " + ", ".join(f"{name} {each:.2f} s" for name, each in took.items()))
        if index:  # the first has no replay yet, and starts cold
            total = {name: total[name] + took[name] for name in total}
    ratios = {f"vs_{name}": round(total[name] / total["dfbench"], 3) for name in rivals}
    ok = all(ratios[name] >= goal for name, goal in GOALS.items())
    goals, seconds = ({k: round(v, 3) for k, v in values.items()} for values in (GOALS, total))
    return {"name": "loop", "ratios": ratios, "goals": goals, "ok": ok, "seconds": seconds}


def main() -> None:
    """Print the times, and the ratios as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiences", type=int, default=10, choices=range(2, 11))
    parser.add_argument("--epochs", type=int, default=1)
    add_json(parser)
    options, busy = parser.parse_args(), load()
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", message="No loggers specified")
    report(measure(options.experiences, options.epochs), options.json, busy)


if __name__ == "__main__":
    main()

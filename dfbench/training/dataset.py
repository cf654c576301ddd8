"""Avalanche's view of the data: data sets of unit ids.

Avalanche handles sets of *ids of units*; the pictures stay in the pixel store, and the loop fetches them batch by
batch. So Avalanche's buffers, subsets and balancing work as they are, at no cost in pixels.
"""

from __future__ import annotations

from typing import Any

import torch
from avalanche.benchmarks import DatasetExperience, benchmark_from_datasets
from avalanche.benchmarks.utils import DataAttribute, TaskAwareClassificationDataset
from torch.utils.data import TensorDataset


def unit_dataset(ids: torch.Tensor, targets: torch.Tensor) -> Any:
    """An Avalanche classification data set whose items are (unit id, target, task 0).

    Args:
        ids: int64 (N,).
        targets: int64 (N,), the class that each unit is counted under.
    """
    ids, targets = ids.cpu(), targets.cpu()
    labels = targets.tolist()
    return TaskAwareClassificationDataset(
        [TensorDataset(ids, targets)],
        data_attributes=[
            DataAttribute(labels, "targets"),
            DataAttribute(ids.tolist(), "units"),
            DataAttribute([0] * len(labels), "targets_task_labels", use_in_getitem=True),
        ],
    )


def unit_ids(dataset: Any) -> torch.Tensor:
    """The ids, int64 (N,), of the units in a data set made by :func:`unit_dataset` or cut from one."""
    if len(dataset) == 0:
        return torch.empty(0, dtype=torch.int64)
    # Avalanche's attributes return one value per call, 4 µs each: read all at once what they are made of.
    flat = dataset.units.data
    ids = torch.cat([torch.as_tensor(part, dtype=torch.int64) for part in flat._datasets])
    return ids if flat._indices is None else ids[torch.as_tensor(list(flat._indices), dtype=torch.int64)]


def experiences_of(datasets: list[Any]) -> list[DatasetExperience]:
    """Avalanche's training experiences, one per data set."""
    return list(benchmark_from_datasets(train=datasets).train_stream)

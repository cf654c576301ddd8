"""Avalanche's data sets of unit ids."""

from __future__ import annotations

import torch

from dfbench import unit_dataset, unit_ids


def test_ids_survive_avalanches_subsets_and_concatenations() -> None:
    first = unit_dataset(torch.arange(10, 20), torch.arange(10) % 2)
    second = unit_dataset(torch.tensor([3, 1, 2]), torch.tensor([0, 1, 0]))
    mixed = first.subset([4, 0, 9]).concat(second).subset([5, 0, 2, 3])
    for dataset in (first, second, mixed, first.train(), mixed.concat(mixed), mixed.subset(torch.tensor([1]))):
        assert unit_ids(dataset).tolist() == list(dataset.units) == [int(item[0]) for item in dataset]
    assert unit_ids(mixed).tolist() == [2, 14, 19, 3]
    assert list(mixed.targets) == [0, 0, 1, 0]
    assert unit_ids(first.subset([])).tolist() == []

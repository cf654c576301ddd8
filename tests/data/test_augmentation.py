"""Augmentation in worker processes: in order, seeded by position, and never lost with a worker."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
import torch

from dfbench.data import augmentation
from dfbench.data.augmentation import Augmenter, worker_count
from dfbench.data.loader import UnitLoader
from dfbench.data.units import Units
from dfbench.errors import UsageError


class Numbers:
    """Row i of the store is a picture full of i."""

    shape = (200, 2, 2, 3)

    def fetch(self, rows: object, out: object = None) -> torch.Tensor:
        rows = torch.as_tensor(rows)
        return rows.to(torch.uint8)[..., None, None, None].expand(*rows.shape, *self.shape[1:]).clone()


def mark(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(row, a draw, the process)."""
    return np.array([pixels.flat[0], random.integers(1 << 20), os.getpid()], dtype=np.float64)


def augmenter(monkeypatch: pytest.MonkeyPatch, workers: int) -> Augmenter:
    monkeypatch.setenv("DFBENCH_WORKERS", str(workers))
    made = Augmenter(Numbers(), mark, torch.device("cpu"))
    made.seed(7)
    return made


ORDER = [torch.arange(i, i + 4) for i in range(0, 40, 4)]


def streamed(made: Augmenter) -> torch.Tensor:
    try:
        return torch.cat([pixels for _, pixels in made.stream((ids, ids) for ids in ORDER)])
    finally:
        made.close()


def test_units_come_in_order_with_draws_that_do_not_depend_on_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = (streamed(augmenter(monkeypatch, workers)) for workers in (0, 2))
    assert here[:, 0].tolist() == list(range(40))
    torch.testing.assert_close(here[:, :2], there[:, :2])
    assert len(set(here[:, 1].tolist())) == 40
    assert set(here[:, 2].tolist()) == {os.getpid()}
    assert os.getpid() not in there[:, 2].tolist()


def test_a_seed_starts_the_draws_again_and_another_changes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    made = augmenter(monkeypatch, 0)
    first, later = made.fetch(ORDER[0]), made.fetch(ORDER[0])
    assert (first[:, 1] != later[:, 1]).all()
    made.seed(7)
    torch.testing.assert_close(made.fetch(ORDER[0]), first)
    made.seed(8)
    assert (made.fetch(ORDER[0])[:, 1] != first[:, 1]).all()


def test_a_killed_worker_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = streamed(augmenter(monkeypatch, 0))
    made = augmenter(monkeypatch, 1)
    got, killed = [], set()
    for _, pixels in made.stream((ids, ids) for ids in ORDER):
        worker = int(pixels[0, 2])
        if worker not in {os.getpid(), *killed}:  # what it had made before it was killed still comes
            os.kill(worker, signal.SIGKILL)
            killed.add(worker)
        got.append(pixels)
    made.close()
    assert killed
    torch.testing.assert_close(torch.cat(got)[:, :2], expected[:, :2])


def test_what_cannot_be_pickled_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFBENCH_WORKERS", "2")
    made = Augmenter(Numbers(), lambda pixels, random: pixels + 1, torch.device("cpu"))
    assert made.fetch(torch.tensor([4]))[0, 0, 0, 0] == 5


def test_a_pass_left_early_leaves_the_next_one_right(monkeypatch: pytest.MonkeyPatch) -> None:
    made = augmenter(monkeypatch, 1)
    for ids, _ in made.stream((ids, ids) for ids in ORDER):
        if int(ids[0]) == 8:
            break
    assert made.fetch(torch.tensor([3]))[0, 0] == 3
    made.close()


def test_an_error_in_a_worker_reaches_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFBENCH_WORKERS", "1")
    made = Augmenter(Numbers(), failing, torch.device("cpu"))
    with pytest.raises(ZeroDivisionError):
        made.fetch(torch.tensor([1]))
    made.close()


def failing(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    raise ZeroDivisionError("in the augmentation")


def test_batches_of_the_loader_hold_what_the_augmentation_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFBENCH_WORKERS", "0")
    rows = np.arange(20).reshape(10, 2)
    units = Units(rows, np.arange(10) % 2, np.arange(10) % 2)
    loader = UnitLoader(units, np.zeros(10), Numbers(), torch.device("cpu"), mark)
    loader.seed(1)
    (batch,) = loader.stream([torch.tensor([4, 2])])
    assert batch.pixels[:, 0].tolist() == [8, 4]
    assert batch.labels.tolist() == [0, 0]
    assert loader.fetch(torch.tensor([1])).pixels[0, 0] == 2


def test_the_number_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DFBENCH_WORKERS", raising=False)
    monkeypatch.setattr(augmentation, "cores", lambda: 8)
    assert worker_count(torch.device("cpu")) == 4
    assert worker_count(torch.device("cuda")) == 7
    monkeypatch.setenv("DFBENCH_WORKERS", "many")
    with pytest.raises(UsageError, match="DFBENCH_WORKERS='many'"):
        worker_count(torch.device("cpu"))

"""The order of units, and their batches."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from dfbench.data.loader import UnitLoader, epoch_order, prefetch, replay_order, shuffled_cycle
from dfbench.data.units import Units


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(st.integers(1, 200), st.integers(1, 40), st.integers(0, 5))
def test_an_epoch_deals_out_every_unit_once(count: int, batch: int, seed: int) -> None:
    ids = torch.arange(100, 100 + count)
    batches = epoch_order(ids, batch, generator(seed))
    dealt = torch.cat(batches)
    assert len(set(dealt.tolist())) == len(dealt)
    single = batch > 1 and count > 1 and count % batch == 1
    assert len(dealt) == count - single
    assert all(len(b) > 1 for b in batches) or batch == 1 or count == 1


@given(st.integers(2, 60), st.integers(1, 30), st.integers(1, 20))
def test_replay_follows_each_batch_and_uses_the_memory_evenly(count: int, stored: int, batch: int) -> None:
    ids, memory = torch.arange(count), torch.arange(1000, 1000 + stored)
    batches = replay_order(ids, memory, batch, batch, generator())
    drawn = torch.cat([b[b >= 1000] for b in batches])
    times = torch.bincount(drawn - 1000, minlength=stored)
    assert int(times.max() - times.min()) <= 1
    assert all(int((b >= 1000).sum()) == min(batch, stored) for b in batches)


def test_drawing_without_end_repeats_only_when_all_were_drawn() -> None:
    draw = shuffled_cycle(torch.arange(5), generator())
    assert sorted(draw(5).tolist()) == sorted(draw(5).tolist()) == [0, 1, 2, 3, 4]
    assert len(draw(13)) == 13


class Pictures:
    """Pixels whose value is their row."""

    shape = (50, 2, 2, 3)

    def fetch(self, rows, out=None):  # type: ignore[no-untyped-def]
        rows = torch.as_tensor(rows)
        return rows.to(torch.uint8)[..., None, None, None].expand(*rows.shape, 2, 2, 3).clone()


def test_batches_carry_pixels_labels_rows_and_origin() -> None:
    units = Units(np.arange(20).reshape(10, 2), np.tile([0, 1], (10, 1)), np.arange(10) % 2)
    loader = UnitLoader(units, np.repeat([0, 1], 5), Pictures(), torch.device("cpu"))
    batch = loader.fetch(torch.tensor([7, 0]))
    assert batch.pixels.shape == (2, 2, 2, 2, 3)
    assert batch.pixels[0, :, 0, 0, 0].tolist() == [14, 15]
    assert batch.labels.tolist() == [[0, 1], [0, 1]]
    assert batch.rows is not None
    assert batch.rows.tolist() == [[14, 15], [0, 1]]
    assert batch.experience.tolist() == [1, 0]
    assert loader.rows_of(torch.tensor([7, 7, 0])).tolist() == [0, 1, 14, 15]
    assert loader.experiences_in(torch.tensor([1, 2, 9])) == 2
    assert [len(b) for b in loader.stream([torch.tensor([1]), torch.tensor([2, 3])])] == [1, 2]


def test_prefetching_keeps_the_order_and_is_one_ahead() -> None:
    units = Units(np.arange(6), np.zeros(6, np.int64), np.zeros(6, np.int64))
    loader = UnitLoader(units, np.zeros(6), Pictures(), torch.device("cpu"))
    asked: list[int] = []

    def order():  # type: ignore[no-untyped-def]
        for i in range(6):
            asked.append(i)
            yield torch.tensor([i])

    with ThreadPoolExecutor(1) as pool:
        seen = []
        for batch in prefetch(pool, loader.fetch, order(), lambda b: b):
            seen.append(int(batch.units[0]))
            assert len(asked) == min(len(seen) + 1, 6)
    assert seen == list(range(6))

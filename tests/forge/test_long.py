"""The long stream: drawn once, the same bits everywhere, forgeries with habits that come back."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path

import numpy as np
import pytest

from dfbench.benchmarks import packaged
from dfbench.benchmarks.schema import read_stream_file
from dfbench.data.leaks import check_leaks
from dfbench.errors import UsageError
from dfbench.forge import pack, render
from dfbench.forge.long.clips import render_clip
from dfbench.forge.long.draw import HABIT, TESTED, TRAIN, Habitual, Step, habits, people, steps
from dfbench.forge.long.source import LongSource

TIMES = np.array([7])
PERSON = pack.identities("train")[0]


def test_a_shorter_stream_is_the_beginning_of_a_longer_one() -> None:
    assert steps(9, 0, 0.2) == steps(50, 0, 0.2)[:9]
    assert steps(9, 1, 0.2) != steps(9, 0, 0.2)
    assert [step.name for step in steps(50, 0, 0.2)[8:10]] == ["step09", "step10"]


def test_forgeries_come_back_as_often_as_asked() -> None:
    for recurring in (0.0, 0.2, 0.5):
        returned = [step for seed in range(8) for step in steps(50, seed, recurring) if step.forgery != step.number]
        assert abs(len(returned) / 400 - recurring) < 0.06
    for step in returned:
        assert step.forgery < step.number - 1
    drawn = steps(50, 0, 0.2)
    back = next(step for step in drawn if step.forgery != step.number)
    first = drawn[back.forgery - 1]
    assert (back.family, back.camera, back.forgery) == (first.family, first.camera, first.number)


def test_every_family_occurs_and_none_follows_itself() -> None:
    drawn = steps(50, 0, 0.0)
    assert {step.family for step in drawn} == set(render.families())
    assert all(a.family != b.family for a, b in itertools.pairwise(drawn))
    assert not set(render.held_out()) & {step.family for step in drawn}


def test_a_habit_keeps_a_parameter_within_a_part_of_its_range() -> None:
    """The first draw is the size of autoencoder's code, 30 to 52 cells; a habit leaves 5.5 of these 22."""
    spans = []
    for forgery in (1, 2):
        own = habits(0, forgery)
        values = [Habitual([clip], own).uniform(30, 52) for clip in range(300)]
        low = 30 + (1 - HABIT) * own[0] * 22
        assert low <= min(values) < low + 0.6
        assert low + 4.9 < max(values) <= low + 5.5
        spans.append(low)
    assert abs(spans[0] - spans[1]) > 0.5
    plain, narrowed = np.random.default_rng([3]), Habitual([3], np.zeros(2))
    assert (plain.uniform(0, 1, 5) == narrowed.uniform(0, 1, 5)).all()  # arrays and other draws are as they are
    assert plain.integers(100) == narrowed.integers(100)


def test_people_are_drawn_anew_for_each_experience_within_their_split() -> None:
    one, two = people(0, 1), people(0, 2)
    assert {split: len(names) for split, names in one.items()} == {"train": TRAIN, "val": TESTED, "test": TESTED}
    assert all(set(one[split]) <= set(pack.identities(split)) for split in one)
    assert set(one["test"]) != set(two["test"])
    assert one == people(0, 1)


def test_a_forgery_that_comes_back_is_on_another_clip() -> None:
    first = steps(1, 0, 0.0)[0]
    again = Step(9, first.family, first.forgery, first.camera)
    real, fake = render_clip(0, first, PERSON, TIMES)
    assert all((a == b).all() for a, b in zip(render_clip(0, first, PERSON, TIMES), (real, fake), strict=True))
    other_real, other_fake = render_clip(0, again, PERSON, TIMES)
    assert np.abs(real.astype(int) - other_real).mean() > 3
    assert 0.02 < (np.abs(other_fake.astype(int) - other_real).max(axis=3) > 8).mean() < 0.8


def test_two_builds_are_the_same_and_a_stream_has_its_experiences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DFBENCH_CACHE", str(tmp_path / "a"))
    source = LongSource(experiences=2, people=1)
    source.prepare()
    table = source.samples()
    assert len(table) == 2 * 2 * (3 + 1 + 1)  # experiences, real and fake, frames of each split
    assert dict(zip(*np.unique(table.source, return_counts=True), strict=True)) == {"step01": 10, "step02": 10}
    check_leaks([table], "forge50", None)
    for row in (0, 7, 13, len(table) - 1):
        step = source.steps[int(table.source[row].removeprefix("step")) - 1]
        pictures = render_clip(0, step, table.identity[row], np.array([table.frame[row]]))
        assert (source.read(table.sample[row]) == pictures[table.label[row]][0]).all()
    assert pickle.loads(pickle.dumps(source)).stamp(table.sample[3]) == table.sha256[3]
    monkeypatch.setenv("DFBENCH_CACHE", str(tmp_path / "b"))
    longer = LongSource(experiences=3, people=1)
    longer.prepare()
    assert longer.samples().sha256[: len(table)].tolist() == table.sha256.tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"experiences": 0}, "option experiences: 1 to 200 (got 0)"),
        ({"experiences": 201}, "option experiences: 1 to 200 (got 201)"),
        ({"recurring": 1.5}, "option recurring: 0 to 1 (got 1.5)"),
        ({"seed": -1}, "option seed: 0 to 2147483648 (got -1)"),
        ({"people": 0}, "option people: at least 1 (got 0)"),
    ],
)
def test_wrong_options_are_named(options: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        LongSource(**options)  # type: ignore[arg-type]
    assert message in str(raised.value)


def test_the_packaged_stream_has_fifty_experiences_seen_once() -> None:
    spec, entries = read_stream_file(packaged()["forge50"])
    assert len(entries) == 50 == spec.defaults["experiences"]
    assert (spec.budget.epochs, spec.flow.one_pass, spec.flow.tests) == (1, True, 1)
    assert LongSource(experiences=50).steps[-1].name == entries[-1].name

"""Which rows an experience gets: where, frames, part."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbench.benchmarks.schema import ExperienceSpec
from dfbench.benchmarks.select import cut, few_videos, matching, select, spread_frames
from dfbench.data.samples import Samples
from dfbench.errors import UsageError


def videos(*lengths: int) -> Samples:
    """Videos of the given lengths, frames in a scrambled order."""
    return Samples.from_rows(
        {"sample": f"{v}_{f}", "label": 0, "split": "train", "video": f"v{v}", "frame": f * 7 % n}
        for v, n in enumerate(lengths)
        for f in range(n)
    )


@given(st.lists(st.integers(1, 60), min_size=1, max_size=5), st.integers(1, 20))
def test_frames_are_evenly_spread(lengths: list[int], frames: int) -> None:
    lengths = [length for length in lengths if length % 7] or [5]  # so that 7·f mod n meets every frame
    samples = videos(*lengths)
    kept = spread_frames(samples, np.arange(len(samples)), frames)
    assert (np.diff(kept) > 0).all()
    for number, length in enumerate(lengths):
        chosen = np.sort(samples.frame[kept][samples.video[kept] == f"v{number}"])
        assert len(chosen) == min(frames, length)
        if 1 < frames < length:  # the same distance everywhere, and as much left over at both ends
            gaps = np.diff(chosen)
            assert gaps.max() - gaps.min() <= 1
            assert abs(chosen[0] - (length - 1 - chosen[-1])) <= 1


def test_the_first_frames_are_not_taken() -> None:
    samples = videos(100)
    kept = spread_frames(samples, np.arange(100), 4)
    assert np.sort(samples.frame[kept]).tolist() == [12, 37, 62, 87]


def test_rows_without_a_video_are_all_kept() -> None:
    samples = Samples.from_rows({"sample": str(i), "label": 0, "split": "train"} for i in range(9))
    assert spread_frames(samples, np.arange(9), 2).tolist() == list(range(9))


def test_equal_names_of_two_sources_are_two_videos() -> None:
    rows = [
        {"sample": f"{source}{frame}", "label": 0, "source": source, "video": "v", "frame": frame, "split": "train"}
        for source in "AB"
        for frame in range(3)
    ]
    samples = Samples.from_rows(rows)
    assert samples.sample[spread_frames(samples, np.arange(6), 1)].tolist() == ["A1", "B1"]


def test_fakes_of_one_video_by_several_methods_are_several_videos() -> None:
    samples = Samples.from_rows(
        {"sample": f"{m}{f}", "label": 1, "split": "train", "video": "v", "method": m, "frame": f}
        for m in "ab"
        for f in range(8)
    )
    kept = spread_frames(samples, np.arange(16), 2)
    assert samples.sample[kept].tolist() == ["a2", "a6", "b2", "b6"]


@given(st.integers(0, 200), st.integers(1, 12), st.none() | st.integers(0, 3))
def test_pieces_are_equal_and_make_up_the_whole(count: int, parts: int, seed: int | None) -> None:
    samples = Samples.from_rows({"sample": str(i), "label": 0, "split": "train"} for i in range(count))
    rows = np.arange(count)
    pieces = cut(samples, rows, parts, seed=seed)
    sizes = [len(piece) for piece in pieces]
    assert len(pieces) == parts
    assert max(sizes) - min(sizes) <= 1
    assert np.array_equal(np.sort(np.concatenate(pieces)), rows)
    if seed is None:
        assert np.array_equal(np.concatenate(pieces), rows)


def test_shuffled_pieces_follow_from_the_seed_alone() -> None:
    samples = Samples.from_rows({"sample": str(i), "label": 0, "split": "train"} for i in range(10))
    first = [piece.tolist() for piece in cut(samples, np.arange(10), 2, seed=0)]
    assert first == FIRST
    assert first != [piece.tolist() for piece in cut(samples, np.arange(10), 2, seed=1)]


FIRST = [[1, 4, 6, 8, 9], [0, 2, 3, 5, 7]]


def table() -> Samples:
    return Samples.from_rows(
        {"sample": str(i), "label": i % 2, "split": "test" if i >= 8 else "train", "method": "xyz"[i % 3]}
        for i in range(12)
    )


def test_only_the_training_rows_are_cut() -> None:
    spec = ExperienceSpec(name="a", source="s", part=[2, 3], parts=4)
    rows = select(table(), spec)
    assert rows["train"].tolist() == [2, 3, 4, 5]
    assert rows["test"].tolist() == [8, 9, 10, 11]
    assert rows["val"].tolist() == []
    assert rows["train"].dtype == rows["val"].dtype == np.int64


def test_where_matches_texts_and_numbers() -> None:
    assert matching(table(), {"method": "x", "label": 1}).tolist() == [3, 9]
    assert matching(table(), {"method": ["x", "z"], "label": 0}).tolist() == [0, 2, 6, 8]
    assert matching(table(), {}).tolist() == list(range(12))


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"methd": "x"}, "unknown column in where 'methd': did you mean 'method'?"),
        ({"method": "X"}, "no sample has method 'X'; there is x, y, z"),
        ({"split": ["train", "tset"]}, "no sample has split 'tset'; did you mean 'test'?"),
        ({"label": 2}, "no sample has label 2; there is 0, 1"),
    ],
)
def test_values_that_do_not_occur(where: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        matching(table(), where)  # type: ignore[arg-type]
    assert message in str(caught.value)


def table_of_videos(count: int, frames: int = 3) -> Samples:
    """A real and two aligned fakes of each video, and a fake without a partner."""
    rows = []
    for number in range(count):
        for frame in range(frames):
            common = {"frame": frame, "split": "train", "source": "s", "pair": f"r{number}/{frame}"}
            rows.append({"sample": f"r{number}/{frame}", "label": 0, "video": f"r{number}", "method": "real", **common})
            for method in ("A", "B"):
                name = f"{method}{number}"
                rows.append({"sample": f"{name}/{frame}", "label": 1, "video": name, "method": method, **common})
            rows.append({"sample": f"x{number}/{frame}", "label": 1, "video": f"x{number}", "method": "C",
                         **common, "pair": ""})  # fmt: skip
    return Samples.from_rows(rows)


def test_few_videos_are_whole_per_class_and_aligned_where_they_can_be() -> None:
    samples = table_of_videos(10)
    rows = few_videos(samples, np.arange(len(samples)), 4)
    taken = {label: set(samples.video[rows[samples.label[rows] == label]]) for label in (0, 1)}
    assert [len(taken[label]) for label in (0, 1)] == [4, 4]
    assert len(rows) == 8 * 3  # every frame of them
    assert rows.tolist() == sorted(rows.tolist())
    assert {f"r{video[1:]}" for video in taken[1]} <= taken[0]
    assert not any(video.startswith("x") for video in taken[1])


def test_few_videos_follow_from_names_alone() -> None:
    samples = table_of_videos(10)
    whole = set(samples.video[few_videos(samples, np.arange(len(samples)), 3)])
    shuffled = samples.take(np.random.default_rng(0).permutation(len(samples)))
    assert set(shuffled.video[few_videos(shuffled, np.arange(len(samples)), 3)]) == whole
    part = samples.take(np.flatnonzero(np.isin(samples.video, list(whole | {"r0", "x1"}))))
    assert (
        whole
        <= {*samples.video[few_videos(samples, np.arange(len(samples)), 3)]}
        == {*part.video[few_videos(part, np.arange(len(part)), 3)]}
    )
    everything = few_videos(samples, np.arange(len(samples)), 99)
    assert len(everything) == len(samples)

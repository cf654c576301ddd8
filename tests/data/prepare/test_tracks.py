"""Detections joined over time, and the choice of a face per frame."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dfbench.data.prepare.tracks import Track, build_tracks, choose, iou, scene_changes, share_inside


def box(x: float, y: float = 10, side: float = 40, score: float = 1.0) -> list[float]:
    return [x, y, x + side, y + side, score]


def found(*frames: list[list[float]] | None) -> list[np.ndarray | None]:
    return [None if each is None else np.array(each, float).reshape(-1, 5) for each in frames]


def tracks_of(*frames: list[list[float]] | None, cuts: tuple[int, ...] = ()) -> list[Track]:
    return build_tracks(found(*frames), [position in cuts for position in range(len(frames))])


def test_iou_is_the_shared_area_over_the_whole_area() -> None:
    assert iou(np.array([0, 0, 2, 2.0]), np.array([[1, 0, 3, 2.0], [5, 5, 6, 6], [0, 0, 2, 2]])).tolist() == [
        1 / 3,
        0,
        1,
    ]


def test_a_moving_face_is_one_track_whose_gaps_are_interpolated() -> None:
    (track,) = tracks_of([box(10)], [], None, [box(34, side=46)], [box(40)])
    assert (track.start, track.stop) == (0, 5)
    assert track.at(1).tolist() == [18, 10, 60, 52]
    assert track.at(2).tolist() == [26, 10, 70, 54]
    assert track.scores.tolist() == [1, 0, 0, 1, 1]


def test_a_face_that_leaves_for_long_and_returns_has_two_tracks_that_are_both_cropped() -> None:
    tracks = tracks_of([box(10)], [box(11)], [], [], [], [box(12)])
    assert [(t.start, t.stop) for t in choose(tracks)] == [(0, 2), (5, 6)]


def test_a_cut_ends_a_track_though_the_next_face_is_at_the_same_place() -> None:
    tracks = tracks_of([box(10)], [box(10)], [box(10)], cuts=(2,))
    assert sorted((t.start, t.stop) for t in tracks) == [(0, 2), (2, 3)]


def test_two_people_are_two_tracks_and_the_larger_face_is_chosen() -> None:
    frames = [[box(10 + i, side=30), box(100 - i, side=44)] for i in range(5)]
    tracks = tracks_of(*frames)
    assert len(tracks) == 2
    (chosen,) = choose(tracks)
    assert chosen.at(4).tolist() == [96, 10, 140, 54]


def test_the_forged_face_is_chosen_though_it_is_the_smaller_one() -> None:
    tracks = tracks_of(*[[box(10, side=30), box(100, side=44)]] * 4)
    forged = [0.9 if track.at(0)[0] == 10 else 0.05 for track in tracks]
    (chosen,) = choose(tracks, forged)
    assert chosen.at(0)[0] == 10


def test_a_face_that_was_found_once_and_barely_is_none() -> None:
    assert tracks_of([box(10, score=0.8)], []) == []


def test_share_inside_is_the_part_of_the_change_that_lies_in_the_box() -> None:
    areas = np.zeros((20, 20))
    areas[2:6, 2:6] = 1
    areas[10:12, 10:12] = 2
    assert share_inside(areas, np.array([0, 0, 8, 8.0])) == 16 / 24
    assert share_inside(np.zeros((4, 4)), np.array([0, 0, 8, 8.0])) == 0


def test_a_cut_is_seen_and_motion_is_not() -> None:
    random = np.random.default_rng(0)
    one = random.integers(0, 100, (32, 32, 3)).astype(np.uint8)
    moved = np.roll(one, 3, axis=1)
    other = random.integers(120, 255, (32, 32, 3)).astype(np.uint8)
    assert scene_changes([one, moved, other, other]) == [False, False, True, False]


BOXES = st.lists(
    st.builds(box, st.integers(0, 300), st.integers(0, 200), st.integers(8, 90), st.floats(0.5, 1)), max_size=4
)


@settings(deadline=None)
@given(st.lists(st.none() | BOXES, min_size=1, max_size=12), st.data())
def test_no_frame_has_two_chosen_faces_and_tracks_start_and_end_with_detections(frames, data) -> None:
    tracks = tracks_of(*frames, cuts=tuple(data.draw(st.sets(st.integers(0, len(frames))))))
    for track in tracks:
        assert track.scores[0] > 0
        assert track.scores[-1] > 0
        assert track.stop <= len(frames)
    forged = data.draw(st.none() | st.lists(st.floats(0, 1), min_size=len(tracks), max_size=len(tracks)))
    taken = [position for track in choose(tracks, forged) for position in range(track.start, track.stop)]
    assert len(taken) == len(set(taken))
    assert bool(taken) == bool(tracks)

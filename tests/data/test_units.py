"""Units: frames, clips and aligned pairs over a sample table."""

from __future__ import annotations

import numpy as np
import pytest

from dfbench.data.samples import Samples
from dfbench.data.units import Units, clip_pairs, clips, concat, frames, pairs, units_of_experiences
from dfbench.data.videos import video_keys
from dfbench.errors import DataError


def table() -> Samples:
    """Two videos of 7 frames, each with an aligned fake; frames stored out of order; one still."""
    rows = []
    for video in ("a", "b"):
        for label in (0, 1):
            for frame in (3, 0, 1, 2, 6, 5, 4):
                rows.append(
                    {
                        "sample": f"{video}{label}{frame}",
                        "label": label,
                        "source": "s",
                        "method": "swap" if label else "",
                        "video": f"{video}-{label}",
                        "frame": frame,
                        "pair": f"{video}{frame}" if frame != 5 else "",
                        "split": "train",
                    }
                )
    rows.append({"sample": "still", "label": 0, "source": "s", "split": "train"})
    return Samples.from_rows(rows)


def names(samples: Samples, rows: np.ndarray) -> list[str]:
    return samples.sample[rows.reshape(-1)].tolist()


def test_frames_are_samples() -> None:
    samples = table()
    units = frames(samples, np.array([0, 28]))
    assert names(samples, units.rows) == ["a03", "still"]
    assert units.labels.tolist() == units.target.tolist() == [0, 0]
    assert units.samples_per_unit == 1


def test_clips_are_windows_in_frame_order() -> None:
    samples = table()
    units = clips(samples, np.arange(len(samples)), length=3)
    assert units.rows.shape == (8, 3)  # 7 frames: two windows a video
    assert names(samples, units.rows[0]) == ["a00", "a01", "a02"]
    assert units.labels.tolist() == [0, 0, 1, 1] * 2
    assert len(clips(samples, np.arange(len(samples)), length=3, stride=1)) == 20
    with pytest.raises(DataError, match="8 frames"):
        clips(samples, np.arange(len(samples)), length=8)


def test_pairs_are_real_first_and_hold_both_classes() -> None:
    samples = table()
    units = pairs(samples, np.arange(len(samples)))
    assert units.rows.shape == (12, 2)  # frame 5 has no partner
    assert samples.label[units.rows].tolist() == [[0, 1]] * 12
    assert (samples.pair[units.rows[:, 0]] == samples.pair[units.rows[:, 1]]).all()
    assert np.bincount(units.target).tolist() == [6, 6]
    with pytest.raises(DataError, match="no aligned"):
        pairs(samples, np.array([28]))


def test_pairs_of_clips_are_aligned_frame_by_frame() -> None:
    samples = table()
    units = clip_pairs(samples, np.arange(len(samples)), length=3)
    assert units.rows.shape == (4, 2, 3)
    assert units.samples_per_unit == 6
    assert (samples.frame[units.rows[:, 0]] == samples.frame[units.rows[:, 1]]).all()


def test_units_of_other_shapes_cannot_be_joined() -> None:
    samples = table()
    with pytest.raises(ValueError, match="different shapes"):
        concat([frames(samples, np.array([0])), pairs(samples, np.arange(len(samples)))])
    with pytest.raises(ValueError, match="unequal length"):
        Units(np.zeros(2), np.zeros(1), np.zeros(2))


def test_a_video_name_shared_by_real_and_fakes_is_told_apart() -> None:
    """FaceForensics++: one pair of numbers, an original and several manipulations."""
    rows = [
        {"sample": str(i), "label": label, "source": "ffpp", "method": method, "video": "003_000", "split": "train"}
        for i, (label, method) in enumerate([(0, ""), (1, "Deepfakes"), (1, "FaceSwap"), (1, "FaceSwap")])
    ]
    rows.append({"sample": "alone", "label": 1, "source": "ffpp", "method": "x", "video": "004", "split": "train"})
    keys = video_keys(Samples.from_rows(rows)).tolist()
    assert len(set(keys[:3])) == 3
    assert keys[2] == keys[3]
    assert keys[4] == "004"


def test_two_sources_may_name_their_videos_alike() -> None:
    rows = [
        {"sample": f"{source}{label}", "label": label, "source": source, "video": f"v{label}", "split": "test"}
        for source in ("A", "B")
        for label in (0, 1)
    ]
    rows.append({"sample": "alone", "label": 1, "source": "A", "video": "only", "split": "test"})
    assert video_keys(Samples.from_rows(rows)).tolist() == ["v0 [A]", "v1 [A]", "v0 [B]", "v1 [B]", "only"]


def of_videos(**frames_of: int) -> Samples:
    """Videos called r… (real) or f… (fake) with so many frames; the pair key is the name's rest."""
    return Samples.from_rows(
        {
            "sample": f"{video}-{frame}",
            "label": int(video.startswith("f")),
            "video": video,
            "frame": frame,
            "pair": video[1:],
            "split": "train",
        }
        for video, count in frames_of.items()
        for frame in range(count)
    )


def test_frames_of_one_pair_key_are_aligned_by_their_number() -> None:
    samples = of_videos(r1=3, f1=4, r2=1, f2=2)
    units = pairs(samples, np.arange(len(samples))[::-1])
    assert [names(samples, unit) for unit in units.rows] == [
        ["r2-0", "f2-0"],  # the only real is no partner of frame 1
        ["r1-2", "f1-2"],
        ["r1-1", "f1-1"],
        ["r1-0", "f1-0"],
    ]


def test_two_reals_of_one_frame_under_one_pair_key_are_refused() -> None:
    samples = of_videos(r1=2, f1=2)
    with pytest.raises(DataError, match="pair '1': r1-0 and r1-1 are two reals of frame 0; number the frames"):
        pairs(samples.replace(frame=np.zeros(4, np.int32)), np.arange(4))


def test_videos_that_are_too_short_are_counted_by_class() -> None:
    samples = of_videos(ra=4, rb=2, rc=3, fa=4, fb=9)
    rows = np.arange(len(samples))

    def make(rows: np.ndarray) -> Units:
        return clips(samples, rows, 4)

    parts, notices = units_of_experiences(make, samples, {"one": rows}, "test", ("real", "fake"))
    assert [len(part) for part in parts] == [4]
    (notice,) = notices
    assert notice.startswith("left out of the test units of this detector, too short for a clip")
    assert notice.endswith("one: 2 of 3 real videos")
    whole = {"one": samples.where(video=["ra", "fa"])}
    assert units_of_experiences(make, samples, whole, "test", ("real", "fake"))[1] == []


def test_units_of_one_class_are_refused_with_what_was_left_out() -> None:
    samples = of_videos(ra=4, fa=3, fb=3)

    def make(rows: np.ndarray) -> Units:
        return clips(samples, rows, 4)

    with pytest.raises(DataError, match=r"experience 'one': the train units .* one class; .* 2 of 2 fake videos"):
        units_of_experiences(make, samples, {"one": np.arange(len(samples))}, "train", ("real", "fake"))
    with pytest.raises(DataError, match="experience 'two', val: no video has the 4 frames"):
        units_of_experiences(make, samples, {"two": samples.where(video="fa")}, "val", ("real", "fake"))

"""Test units of a stream are whole videos, short ones too: each looked at by its own frame rate, pooled once."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from dfbench_dfdc3.detector import DFDC3, DFDC3Config
from dfbench_dfdc3.inference import plan, pool, sampled
from dfbench_dfdc3.predicting import track_scores

from dfbench import DataError, Samples, Task
from dfbench.data.loader import Batch, UnitLoader
from tests.plugins.dfdc3.test_inference import Brightness
from tests.training.harness import ArrayPixels


def table(videos: dict[str, list[int]], split: str = "test") -> Samples:
    rows = [
        {"sample": f"{video}/{frame}", "label": int(video > "m"), "split": split, "video": video, "frame": frame}
        for video, frames in videos.items()
        for frame in frames
    ]
    return Samples.from_rows(rows)


def detector(**options: object) -> DFDC3:
    small = {"height": 32, "width": 32, "body": "tinynet_e", "pretrained": False}
    return DFDC3(DFDC3Config.model_validate(small | options), Task(native_size=(32, 32)))


def scores(it: DFDC3, samples: Samples, rows: np.ndarray) -> dict[str, float]:
    """Score of each video; the grey level of a frame is its row, so that every mistaken frame changes the score."""
    units = it.units(samples, rows, training=False)
    grey = (torch.arange(len(samples)) * 255 // len(samples)).to(torch.uint8)
    pixels = ArrayPixels(grey.view(-1, 1, 1, 1).expand(-1, 32, 32, 3).contiguous())
    batch = UnitLoader(units, np.zeros(len(units)), pixels, torch.device("cpu")).fetch(torch.arange(len(units)))
    p = it.predict(Brightness(), batch)[:, 1]
    return dict(zip(samples.video[units.rows[:, 0]].tolist(), p.tolist(), strict=True))


def expected(samples: Samples, parts: list[np.ndarray], fps: float) -> float:
    """One pooling over the looks of all tracks, from the rows of each."""
    grey = (torch.arange(len(samples)) * 255 // len(samples)).to(torch.uint8)
    seen = []
    for rows in parts:
        track = grey[torch.from_numpy(rows[sampled(len(rows), fps)])].view(1, -1, 1, 1, 1).expand(-1, -1, 32, 32, 3)
        seen.append(track_scores(Brightness(), track, detector().config).probabilities)
    return float(pool(torch.cat(seen, dim=1)))


def test_a_long_video_is_pooled_once_and_a_short_one_scores_a_half(caplog: pytest.LogCaptureFixture) -> None:
    samples = table({"long": list(range(120)), "short": list(range(36)), "just": list(range(37)), "z": [0]})
    with caplog.at_level(logging.WARNING):
        got = scores(detector(), samples, np.arange(len(samples)))
    assert list(got) == ["long", "short", "just", "z"]
    assert got["short"] == got["z"] == 0.5
    assert "2 of 4 videos have no track of 19 sampled frames and score ½: short, z" in caplog.text
    assert got["long"] == pytest.approx(expected(samples, [np.arange(120)], 30), abs=1e-6)
    assert got["just"] == pytest.approx(expected(samples, [np.arange(156, 193)], 30), abs=1e-6)
    # Windows of 50 frames, pooled one by one and averaged, would be another score.
    windows = [expected(samples, [np.arange(start, start + 50)], 30) for start in (0, 50)]
    assert abs(got["long"] - np.mean(windows)) > 0.001


def test_a_gap_in_the_frame_numbers_parts_two_tracks_of_one_score() -> None:
    samples = table({"two": [*range(40, 100), *range(200, 280), *range(400, 420)]})
    got = scores(detector(), samples, np.arange(len(samples)))
    assert got["two"] == pytest.approx(expected(samples, [np.arange(60), np.arange(60, 140)], 30), abs=1e-6)


def test_frames_are_put_in_order_and_every_split_is_for_itself() -> None:
    order = np.random.default_rng(0).permutation(80).tolist()
    samples = table({"a": order})
    units = detector().units(samples, np.arange(80), training=False)
    assert samples.frame[units.rows[0]].tolist() == sampled(80, 30).tolist()
    both = Samples.concatenate([samples, table({"longer": list(range(300))}, "val")])
    assert detector().units(both, np.arange(80), training=False).rows.shape == (1, 40)


def test_experiences_have_units_of_one_length() -> None:
    samples = table({"a": list(range(50)), "z": list(range(200))})
    first, second = (
        detector().units(samples, rows, training=False).rows for rows in (np.arange(50), np.arange(50, 250))
    )
    assert first.shape == second.shape == (1, 100)
    assert (first[0, 25:] == first[0, 24]).all()  # padded with its last frame, which nothing looks at


def test_the_frame_rate_is_that_of_each_video(tmp_path: Path) -> None:
    samples = table({"a": list(range(60)), "b": list(range(60)), "slow": list(range(60))})
    file = tmp_path / "report.csv"
    file.write_text("video,error,fps\na,,15\nb,,60.0\nslow,,6\nbroken,no frame,\n")
    it = detector(fps=str(file))
    units = it.units(samples, np.arange(180), training=False)
    assert it._tracks == {0: (58,), 60: (13,), 120: (1,)}
    assert samples.frame[units.rows[1, :13]].tolist() == list(range(0, 49, 4))
    got = scores(it, samples, np.arange(180))
    assert got["b"] == got["slow"] == 0.5
    assert got["a"] == pytest.approx(expected(samples, [np.arange(60)], 15), abs=1e-6)
    it.build()
    assert len(it.facts["fps"]) == 64


def test_a_rate_that_is_missing_or_none_is_named(tmp_path: Path) -> None:
    file, samples = tmp_path / "rates.csv", table({"a": list(range(60))})
    for text, problem in [
        ("video,fps\nb,30\n", "no frame rate for video 'a'"),
        ("video,fps\na,fast\n", "the frame rate 'fast' of 'a' is not a number from 1 to 1000"),
        ("video,fps\na,nan\n", "the frame rate 'nan' of 'a' is not a number from 1 to 1000"),
        ("video,fps\na,30\na,25\n", "'a' has two frame rates, 30 and 25"),
        ("name,fps\na,30\n", "needs the columns 'fps' and 'video'"),
        ("", "needs the columns"),
    ]:
        file.write_text(text)
        with pytest.raises(DataError, match=problem):
            detector(fps=str(file)).units(samples, np.arange(60), training=False)
    with pytest.raises(DataError, match="not a readable CSV file"):
        detector(fps=str(tmp_path / "none.csv")).build()
    with pytest.raises(ValueError, match="8 per second"):
        DFDC3Config(fps=7)


def test_a_set_of_short_videos_alone_is_refused() -> None:
    samples = table({"a": list(range(36)), "z": list(range(30))})
    with pytest.raises(DataError, match="no video has a track of 19 sampled frames, the longest has 16"):
        detector().units(samples, np.arange(66), training=False)
    assert len(detector(shortest=13).units(samples, np.arange(66), training=False)) == 2


def test_a_batch_without_a_look_still_shows_what_the_network_gives() -> None:
    """Strategies are checked on two videos, and these may be short ones."""
    calls = []
    network = Brightness()
    network.register_forward_hook(lambda module, args, output: calls.append(output.shape))
    short = Batch(torch.zeros(2, 16, 32, 32, 3, dtype=torch.uint8), torch.zeros(2), torch.arange(2), torch.zeros(2))
    assert detector().predict(network, short).tolist() == [[0.5, 0.5]] * 2
    assert calls == [(15, 2)]


def test_pictures_of_no_video_are_refused() -> None:
    samples = Samples.from_rows([{"sample": "x", "label": 0, "split": "test"}])
    with pytest.raises(DataError, match="no sample is a frame of a video"):
        detector().units(samples, np.arange(1), training=False)


@pytest.mark.parametrize(
    ("native", "aspect", "stored"),
    [
        ((112, 112), None, None),
        ((300, 230), None, None),
        ((600, 460), None, (334, 256)),
        ((460, 600), None, (256, 334)),
        (None, None, (256, 256)),
        (None, 1.3, (333, 256)),
        (None, 0.5, (256, 512)),
        ((300, 230), 1.0, (256, 256)),
    ],
)
def test_pictures_are_stored_with_their_aspect_ratio(
    native: tuple[int, int] | None, aspect: float | None, stored: tuple[int, int] | None
) -> None:
    assert DFDC3(DFDC3Config(aspect=aspect), Task(native_size=native)).image_size == stored


@pytest.mark.parametrize(
    ("native", "aspect", "said"), [(None, None, True), (None, 1.3, False), ((64, 64), None, False)]
)
def test_a_stream_that_is_squashed_says_so(
    native: tuple[int, int] | None, aspect: float | None, said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [
        {"sample": f"{kind}{i}", "label": kind, "split": "train", "video": f"v{kind}", "frame": i, "pair": "p"}
        for kind in (0, 1)
        for i in range(50)
    ]
    it = DFDC3(DFDC3Config(aspect=aspect), Task(native_size=native))
    with caplog.at_level(logging.WARNING):
        it.units(Samples.from_rows(rows), np.arange(100), training=True)
    assert ("differ in size and are squashed to 256 × 256" in caplog.text) == said


def test_lite_scores_the_short_videos_of_its_benchmark() -> None:
    lite = DFDC3Config.model_validate(DFDC3.presets["lite"])
    assert len(sampled(16, lite.fps)) == lite.shortest == 7
    assert len(plan(7)) == 11

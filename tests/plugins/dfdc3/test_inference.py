"""From frames to a score, against plans worked out by hand from the published description."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dfbench_dfdc3.detector import DFDC3, DFDC3Config
from dfbench_dfdc3.inference import Look, counts, plan, pool, sampled
from dfbench_dfdc3.predicting import track_scores
from dfbench_dfdc3.views import cropped, views
from torch import nn

from dfbench import Task
from dfbench.data.loader import Batch

RATES = (15, 25, 29.97, 30, 60)
LENGTHS = (7, 8, 13, 15, 29, 50, 300)


def looked_at(looks: tuple[Look, ...], network: str) -> list[int]:
    return [look.frame for look in looks if look.network == network]


def by_hand(length: int, fps: float) -> tuple[list[int], int]:
    """The frames of the track, and how many are sampled: as ``docs/dfdc3.md`` has the rule, frame by frame."""
    step = {15: 1, 25: 2, 29.97: 2, 30: 2, 60: 4}[fps]
    kept = [frame for frame in range(length) if frame % step == 0]
    detections = [place for place in range(len(kept)) if place % 3 == 0]
    return [kept[place] for place in range(detections[-1] + 1)], len(kept)


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("length", LENGTHS)
def test_a_track_is_sampled_from_its_first_to_its_last_detection(length: int, fps: float) -> None:
    assert sampled(length, fps).tolist() == by_hand(length, fps)[0]


LOOKS = {
    # (frames, fps): (A's, B's and C's looks, first frames of C's windows); those not named have no track.
    (29, 15): (8, 6, 14, [0, 14]),
    (50, 15): (13, 12, 28, [0, 14, 28, 42]),
    (50, 25): (7, 6, 14, [0, 28]),
    (50, 29.97): (7, 6, 14, [0, 28]),
    (50, 30): (7, 6, 14, [0, 28]),
    (300, 15): (75, 74, 147, [14 * i for i in range(21)]),
    (300, 25): (38, 36, 77, [28 * i for i in range(11)]),
    (300, 29.97): (38, 36, 77, [28 * i for i in range(11)]),
    (300, 30): (38, 36, 77, [28 * i for i in range(11)]),
    (300, 60): (19, 18, 35, [0, 56, 112, 168, 224]),
}


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("length", LENGTHS)
def test_windows_mirroring_and_networks_of_a_video(length: int, fps: float) -> None:
    """A track needs seven detections, one on every third sampled frame: 19 sampled frames."""
    track, seen = by_hand(length, fps)
    if (length, fps) not in LOOKS:
        assert seen < 19
        assert len(track) < DFDC3Config().shortest
        return
    assert seen >= 19
    assert len(track) >= DFDC3Config().shortest
    a, b, c, starts = LOOKS[length, fps]
    looks = plan(len(track))
    assert counts(looks) == (a, b, c)
    every_second = track[::2]
    for network, quarter in (("a", (0, 1)), ("b", (2, 3))):
        wanted = [(frame, i % 2 == 0) for i, frame in enumerate(every_second) if i % 4 in quarter]
        assert [(track[look.frame], look.flipped) for look in looks if look.network == network] == wanted
    windows = [look for look in looks if look.network == "c"]
    for number, start in enumerate(starts):
        place = track.index(start)
        window = windows[7 * number : 7 * number + 7]
        assert [track[look.frame] for look in window] == track[place : place + 7]
        assert {look.flipped for look in window} == {number % 2 == 0}


def test_which_network_looks_at_which_frame() -> None:
    """90 frames at 30 a second: 45 sampled, the last detection at 42; of 43 every second one is 0, 4, 8, …, 84."""
    track = sampled(90, 30)
    looks = plan(len(track))
    seen = {network: track[looked_at(looks, network)].tolist() for network in "abc"}
    assert seen["a"] == [0, 4, 16, 20, 32, 36, 48, 52, 64, 68, 80, 84]
    assert seen["b"] == [8, 12, 24, 28, 40, 44, 56, 60, 72, 76]
    assert seen["c"] == [*range(0, 14, 2), *range(28, 42, 2), *range(56, 70, 2)]
    mirrored = [(look.network, int(track[look.frame])) for look in looks if look.flipped]
    assert [frame for network, frame in mirrored if network == "a"] == [0, 16, 32, 48, 64, 80]
    assert [frame for network, frame in mirrored if network == "b"] == [8, 24, 40, 56, 72]
    # The first and the third window.
    assert [frame for network, frame in mirrored if network == "c"] == [*range(0, 14, 2), *range(56, 70, 2)]


def test_the_rate_is_cut_to_a_whole_number_and_halves_go_to_the_even_step() -> None:
    steps = {7.9: None, 8: 1, 15: 1, 22.99: 1, 23: 2, 29.97: 2, 37: 2, 38: 3, 52.99: 3, 53: 4, 60: 4, 120: 8}
    for fps, step in steps.items():
        expected = [] if step is None else list(range(0, 3 * step + 1, step))
        assert sampled(4 * step if step else 40, fps).tolist() == expected, fps


def test_short_tracks() -> None:
    assert looked_at(plan(7), "c") == list(range(7))
    assert looked_at(plan(6), "c") == []
    assert counts(plan(1)) == (1, 0, 0)
    assert plan(0) == ()
    assert sampled(0, 30).tolist() == []
    assert len(sampled(36, 30)) == 16  # 18 sampled
    assert len(sampled(37, 30)) == 19


def test_pooling_by_hand() -> None:
    """p = .9: d = .4, p' = .5 + .4^.65 = 1.05 → .99, w = .4001. p = .4: d = −.1, p' = .5 − .1^.65, w = .1001."""
    low = 0.5 - 0.1**0.65
    expected = (0.99 * 0.4001 + low * 0.1001) / (0.4001 + 0.1001)
    assert pool(torch.tensor([[0.9, 0.4]], dtype=torch.float64)).item() == pytest.approx(expected, abs=1e-12)
    assert expected == pytest.approx(0.8471, abs=1e-4)
    assert pool(torch.tensor([[0.5, 0.5]])).item() == 0.5
    assert pool(torch.tensor([[1.0]])).item() == pytest.approx(0.99)
    assert pool(torch.tensor([[0.0]])).item() == pytest.approx(0.01)
    assert pool(torch.empty(2, 0)).tolist() == [0.5, 0.5]  # no frame, no face


class Brightness(nn.Module):
    """Stands where the ensemble stands: the logit of a frame is its mean red."""

    def forward(self, x: torch.Tensor, counts: tuple[int, int, int]) -> torch.Tensor:
        z = torch.cat([part[:, :, 0].mean((-1, -2)).flatten() for part in x.split(counts, dim=1)])
        return torch.stack([torch.zeros_like(z), z], dim=1)


def detector(**options: object) -> DFDC3:
    lite = DFDC3.presets["lite"] | options
    return DFDC3(DFDC3Config.model_validate(lite), Task(native_size=(112, 112)))


def test_every_look_is_kept_with_its_frame_and_pooled() -> None:
    clip = torch.arange(7, dtype=torch.uint8).view(1, 7, 1, 1, 1).expand(3, -1, 112, 112, 3) * 32
    clip = clip.clone()
    clip[1] = 255 - clip[1]
    it = detector()
    seen = track_scores(Brightness(), clip, it.config)
    assert [look.frame for look in seen.looks] == [0, 2, 4, 6, 0, 1, 2, 3, 4, 5, 6]
    assert [look.network for look in seen.looks] == ["a"] * 2 + ["b"] * 2 + ["c"] * 7
    c = seen.probabilities[:, 4:]
    assert (c[0].diff() > 0).all()
    assert (c[1].diff() < 0).all()
    torch.testing.assert_close(seen.scores, pool(seen.probabilities))
    torch.testing.assert_close(seen.probabilities[0], seen.probabilities[2])
    batch = Batch(clip, torch.zeros(3), torch.arange(3), torch.zeros(3))
    torch.testing.assert_close(it.predict(Brightness(), batch)[:, 1], seen.scores)


def test_even_frames_and_even_windows_are_mirrored() -> None:
    track = torch.zeros(1, 22, 112, 112, 3, dtype=torch.uint8)
    track[:, :, :, :56] = 255  # the left half
    looks = plan(22)
    x = views(lambda index: track[:, index], looks, 112, 96)[0, :, 0]
    left, right = x[:, 50, :30].mean(1), x[:, 50, -30:].mean(1)
    assert (right > left).tolist() == [look.flipped for look in looks]
    assert [look.flipped for look in looks if look.network == "c"] == [True] * 7 + [False] * 7


def test_a_frame_is_mirrored_before_its_middle_is_cut_out() -> None:
    """Of 225 columns 192 are kept, from number 16 on: mirrored, the first of them is 224 − 16."""
    columns = torch.arange(225, dtype=torch.uint8).view(1, 1, 1, 225, 1).expand(1, 1, 224, 225, 3)
    for flipped, first in ((False, 16), (True, 208)):
        x = views(lambda index: columns[:, index], [Look("b", 0, flipped)], 224, 192)
        assert round(float(x[0, 0, 0, 0, 0] * 0.229 + 0.485) * 255) == first


@pytest.mark.parametrize(("height", "width"), [(130, 100), (300, 230), (100, 130)])
def test_the_aspect_ratio_of_a_face_is_kept(height: int, width: int) -> None:
    """A disc stays one, in all three networks."""
    y, x = np.mgrid[:height, :width]
    radius = min(height, width) * 0.3
    disc = ((y - height / 2 + 0.5) ** 2 + (x - width / 2 + 0.5) ** 2 < radius**2) * np.uint8(255)
    picture = torch.from_numpy(disc).view(1, height, width, 1).expand(1, height, width, 3)
    for whole in (True, False):
        seen = cropped(picture, 224, 192, whole)[0, :, :, 0] > 127
        tall, wide = int(seen[:, 96].sum()), int(seen[112].sum())
        assert abs(tall - wide) <= 3
        assert wide == pytest.approx(2 * radius * (192 if whole else 224) / min(height, width), abs=3)


def test_frames_differ_in_size_and_each_keeps_its_own() -> None:
    pictures = [torch.full((1, side, side + 10, 3), side, dtype=torch.uint8) for side in (60, 70, 80)]
    x = views(lambda index: [pictures[i] for i in index], [Look("b", 2), Look("b", 0, True)], 56, 48)
    assert x.shape == (1, 2, 3, 56, 48)
    assert ((x[0, :, 0] * 0.229 + 0.485) * 255).mean((-1, -2)).tolist() == pytest.approx([80, 60], abs=0.01)

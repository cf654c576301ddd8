"""From frames to a score, against numbers worked out by hand from the published description."""

from __future__ import annotations

import pytest
import torch
from dfbench_dfdc3.detector import DFDC3, DFDC3Config, resized
from dfbench_dfdc3.inference import Look, counts, plan, pool
from torch import nn

from dfbench import Task
from dfbench.data.loader import Batch


def looked_at(looks: tuple[Look, ...], network: str) -> list[int]:
    return [look.frame for look in looks if look.network == network]


def test_which_network_looks_at_which_frame() -> None:
    """90 stored frames at 30 a second: 45 at 15 a second, every second of them is 0, 4, 8, … ."""
    looks = plan(90, 30)
    assert looked_at(looks, "a") == [0, 4, 16, 20, 32, 36, 48, 52, 64, 68, 80, 84]
    assert looked_at(looks, "b") == [8, 12, 24, 28, 40, 44, 56, 60, 72, 76, 88]
    assert looked_at(looks, "c") == [*range(0, 14, 2), *range(28, 42, 2), *range(56, 70, 2)]
    assert [look.frame for look in looks if look.flipped] == [0, 16, 32, 48, 64, 80, 8, 24, 40, 56, 72, 88]
    assert counts(looks) == (12, 11, 21)


def test_other_frame_rates_and_short_clips() -> None:
    assert looked_at(plan(7, 15), "c") == list(range(7))
    assert looked_at(plan(14, 25), "a") == [0, 4]  # 25/15 rounds to 2: 7 frames are left, every second is 0, 4, 8, 12
    assert looked_at(plan(14, 25), "c") == list(range(0, 14, 2))
    assert looked_at(plan(12, 30), "c") == []  # six frames are left: no window
    assert counts(plan(1, 30)) == (1, 0, 0)
    assert plan(0, 30) == ()


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
    clip = torch.arange(16, dtype=torch.uint8).view(1, 16, 1, 1, 1).expand(3, -1, 112, 112, 3) * 16
    clip = clip.clone()
    clip[1] = 255 - clip[1]
    seen = detector().frame_scores(Brightness(), clip)
    assert [look.frame for look in seen.looks] == [0, 4, 8, 12, 0, 2, 4, 6, 8, 10, 12]
    assert [look.network for look in seen.looks] == ["a"] * 2 + ["b"] * 2 + ["c"] * 7
    c = seen.probabilities[:, 4:]
    assert (c[0].diff() > 0).all()
    assert (c[1].diff() < 0).all()
    torch.testing.assert_close(seen.scores, pool(seen.probabilities))
    torch.testing.assert_close(seen.probabilities[0], seen.probabilities[2])
    batch = Batch(clip, torch.zeros(3), torch.arange(3), torch.zeros(3))
    torch.testing.assert_close(detector().predict(Brightness(), batch)[:, 1], seen.scores)


def test_even_frames_are_mirrored() -> None:
    clip = torch.zeros(1, 16, 112, 112, 3, dtype=torch.uint8)
    clip[:, :, :, :56] = 255  # the left half
    looks = plan(16, 30)
    x = detector()._look(clip, looks)[0, :, 0]
    left, right = x[:, 50, :30].mean(1), x[:, 50, -30:].mean(1)
    assert (right > left).tolist() == [look.flipped for look in looks]


def test_frames_are_resized_as_in_training() -> None:
    x = torch.ones(1, 2, 3, 64, 64)
    a, b = resized(x, 56, 48, whole=True), resized(x, 56, 48, whole=False)
    assert a.shape == b.shape == (1, 2, 3, 56, 48)
    assert (a[..., :4, :] < -1).all()  # black, after normalisation
    assert (a[..., 4:52, :] == 1).all()
    torch.testing.assert_close(b, torch.ones_like(b))

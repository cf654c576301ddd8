"""Self-blended pictures: what is changed, where, and that a seed decides it."""

from __future__ import annotations

import numpy as np
import pytest
from dfbench_sbi.augmentation import Augmentation, compressed, cropped, reduced
from dfbench_sbi.blending import changed, self_blended
from dfbench_sbi.colours import brightness_contrast, hue_saturation_value, rgb_shift
from dfbench_sbi.shapes import OUTLINE, bent, face_mask, softened

from dfbench.forge import pack
from dfbench.forge.portraits.views import make_view

PLAIN = Augmentation(side=224, crop=1.0, jpeg=0.0, quality=40, shrink=0.0, smallest=0.3)


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    """A portrait, uint8 (224, 224, 3)."""
    return make_view(pack.portrait(pack.identities("train")[3]), np.random.default_rng(0))[0]


def test_the_outline_is_the_mean_of_the_packs_training_faces() -> None:
    part = pack.mesh().groups["oval"]
    shapes = []
    for name in pack.identities("train"):
        points = pack.landmarks(name)[:, :2]
        low, high = points.min(axis=0), points.max(axis=0)
        shapes.append(((points - (low + high) / 2) / (high - low).max())[part])
    mean = np.mean(shapes, axis=0)
    left = np.roll(mean[::-1], 1, axis=0) * [-1, 1]  # the other half, mirrored
    assert np.abs((mean + left)[:19] / 2 - OUTLINE).max() < 0.002


def test_the_real_one_and_the_fake_differ_inside_the_mask_alone(face: np.ndarray) -> None:
    apart, unlike = 0, []
    for seed in range(40):
        real, fake, mask = self_blended(face, 1.3, np.random.default_rng(seed))
        difference = np.abs(real.astype(int) - fake).max(axis=2)
        assert difference[mask == 0].max(initial=0) == 0
        assert mask.max() in (0.25, 0.5, 0.75, 1.0)
        assert 0.02 < (mask > 0).mean() < 0.75
        apart += (real != face).any()
        unlike.append(difference[mask > 0.2].mean())
    assert 10 <= apart <= 30  # in half of the cases it is the real one that is changed
    assert min(unlike) > 0.5  # a fake that equals its real would be a wrong label


def test_a_larger_margin_means_a_smaller_face() -> None:
    shares = {
        m: np.mean([face_mask((224, 224), m, np.random.default_rng(s)).mean() for s in range(30)]) for m in (1, 2)
    }
    assert 3.5 < shares[1] / shares[2] < 4.5


def test_masks_are_bent_and_softened_anew_each_time() -> None:
    plain = face_mask((224, 224), 1.3, np.random.default_rng(0))
    assert set(np.unique(plain)) == {0.0, 1.0}
    first, second = (bent(plain, np.random.default_rng(seed)) for seed in (1, 2))
    for moved in (first, second):
        assert 0.01 < ((moved > 0.5) != (plain > 0.5)).mean() < 0.2
    assert (first != second).any()
    soft = softened(plain, np.random.default_rng(3))
    assert ((soft > 0) & (soft < soft.max())).mean() > 0.02  # a seam, not a step
    assert softened(np.zeros((64, 64), np.float32), np.random.default_rng(0)).max() == 0  # nothing left, no division


def test_a_changed_copy_is_coarser_or_sharper(face: np.ndarray) -> None:
    def detail(picture: np.ndarray) -> float:
        return float(np.abs(np.diff(picture.astype(int), axis=1)).mean())

    ratios = [detail(changed(face, np.random.default_rng(seed))) / detail(face) for seed in range(40)]
    assert sum(ratio < 0.95 for ratio in ratios) > 10
    assert sum(ratio > 1.1 for ratio in ratios) > 10


def test_colours_move_within_their_ranges() -> None:
    grey = np.full((1, 4, 4, 3), 100, np.uint8)
    for seed in range(20):
        random = np.random.default_rng(seed)
        assert np.abs(rgb_shift(grey, 20, random).astype(int) - 100).max() <= 20
        assert np.abs(brightness_contrast(grey, 0.1, random).astype(int) - 100).max() <= 10 + 26
    red = np.zeros((2, 4, 4, 3), np.uint8)
    red[..., 0] = 200
    seen = {tuple(hue_saturation_value(red, np.random.default_rng(seed))[0, 0, 0].tolist()) for seed in range(20)}
    assert len(seen) > 5
    assert all(r > 150 and r > max(g, b) + 80 for r, g, b in seen)  # red stays red


def test_both_pictures_get_the_same_augmentation(face: np.ndarray) -> None:
    """Where the two were equal before, they are equal after: nothing in it gives the class away."""
    strong = Augmentation(side=160, crop=0.6, jpeg=1.0, quality=30, shrink=1.0, smallest=0.3)
    results = []
    for seed in range(10):
        pair = strong(np.stack([face, face]), np.random.default_rng(seed))
        assert pair.shape == (2, 160, 160, 3)
        assert (pair[0] == pair[1]).all()
        results.append(pair[0])
    assert len({result.tobytes() for result in results}) == 10


def test_each_part_of_the_augmentation_does_what_it_says(face: np.ndarray) -> None:
    pair = np.stack([face, face])
    assert (cropped(pair, 1.0, 224, np.random.default_rng(0)) == pair).all()
    part = cropped(pair, 0.5, 112, np.random.default_rng(0))[0]
    windows = np.lib.stride_tricks.sliding_window_view(face[..., 0], (112, 112))
    assert (windows == part[..., 0]).all(axis=(2, 3)).any()  # a crop of half the side, as it is in the picture
    rough = [
        np.abs(np.diff(p.astype(int), axis=2)).mean() for p in (reduced(pair, 0.3, np.random.default_rng(0)), pair)
    ]
    assert rough[0] < 0.8 * rough[1]
    errors = [np.abs(compressed(pair, q).astype(int) - pair).mean() for q in (30, 95)]
    assert errors[0] > 2 * errors[1] > 0


def test_a_seed_decides_everything(face: np.ndarray) -> None:
    first, second, other = (self_blended(face, 1.3, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    assert (first[1] != other[1]).any()
    assert (
        PLAIN(np.stack([face]), np.random.default_rng(1)) == PLAIN(np.stack([face]), np.random.default_rng(1))
    ).all()

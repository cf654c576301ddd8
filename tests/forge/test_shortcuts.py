"""The trivial features: they find what they are for, and not what they are blind to."""

from __future__ import annotations

import numpy as np
import pytest

from dfbench.forge import pixels, render, shortcuts


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.ascontiguousarray(render.render(render.identities("train")[0], "self_blended", [0])[0][1])


def test_features_have_the_shapes_their_docs_give(picture):
    sizes = {name: f(picture).shape for name, f in shortcuts.FEATURES.items()}
    assert sizes == {
        "mean_colour": (6,),
        "thumbnail": (192,),
        "jpeg_size": (2,),
        "blockiness": (16,),
        "high_frequency": (2,),
        "radial_spectrum": (18,),
    }


def test_a_blur_takes_high_frequencies_and_leaves_colours(picture):
    soft = pixels.blur(picture, 1.5)
    assert (shortcuts.radial_spectrum(soft) - shortcuts.radial_spectrum(picture))[9:].max() < -1
    assert (shortcuts.high_frequency(soft) < shortcuts.high_frequency(picture) - 1).all()
    assert np.abs(shortcuts.mean_colour(soft) - shortcuts.mean_colour(picture))[:3].max() < 1


def test_a_grid_of_eight_pixels_is_blocky(picture):
    blocky = picture.copy()
    blocky[:, ::16] = 255
    assert np.ptp(shortcuts.blockiness(blocky)[:8]) > 3 * np.ptp(shortcuts.blockiness(picture)[:8])


def test_the_table_scores_people_that_the_regression_has_not_seen():
    people = [*render.identities("train")[:8], *render.identities("val")[:4]]
    scores = shortcuts.table("reenactment", people, "val")
    assert set(scores) == set(shortcuts.FEATURES)
    assert all(0 <= score <= 1 for score in scores.values())

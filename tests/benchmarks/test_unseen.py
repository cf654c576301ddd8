"""Sets that are tested and never trained on, and what leaves the experiences as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dfbench.data.pictures import read_picture
from dfbench.errors import DataError, UsageError
from tests.benchmarks.conftest import TWO, Load
from tests.benchmarks.test_stream_errors import edit

SWAP = TWO.replace("  - {name: gan, where: {source: gan}}\n", "")
"""The experience ``swap`` alone: the source ``gan`` is free for an unseen set."""
GAN = "unseen: [{name: new, where: {source: gan}}]\n"


def write_own(folder: Path, write_picture: Callable[..., Path]) -> None:
    """A second root, in folders, with pictures of another size."""
    for split in ("train", "test"):
        for label in ("real", "fake"):
            for number in range(3):
                write_picture(folder / split / label / f"{number}.png", hash_of(split, label, number), (9, 7))


def hash_of(split: str, label: str, number: int) -> int:
    return 1000 + 10 * ("train", "test").index(split) + 5 * ("real", "fake").index(label) + number


def test_the_experiences_are_what_they_are_without_unseen_sets(
    faces: Path, load: Load, write_picture: Callable[..., Path]
) -> None:
    write_own(faces.parent / "own", write_picture)
    plain = load(SWAP)
    assert (plain.unseen, plain.further_fingerprint, plain.skipped) == (None, None, ())
    text = SWAP + GAN.replace("]\n", ", {name: other, root: own, manifest: null, where: null}]\nperturb: {}\n")
    stream = load(text)
    assert stream.fingerprint == plain.fingerprint
    assert stream.samples == plain.samples
    assert np.array_equal(stream.identities, plain.identities)
    assert stream.native_size == plain.native_size == (6, 5)  # the sizes of unseen pictures change no network
    for mine, theirs in zip(stream.experiences, plain.experiences, strict=True):
        assert all(np.array_equal(mine.rows[split], theirs.rows[split]) for split in ("train", "val", "test"))
    assert stream.pixels(None).shape == plain.pixels(None).shape


def test_an_unseen_set_has_test_rows_and_pixels_of_its_own(
    faces: Path, load: Load, write_picture: Callable[..., Path]
) -> None:
    write_own(faces.parent / "own", write_picture)
    unseen = load(SWAP + GAN.replace("]", ", {name: other, root: own, manifest: null, where: null}]")).unseen
    assert unseen is not None
    assert [each.name for each in unseen.experiences] == ["new", "other"]
    sizes = [{split: len(rows) for split, rows in each.rows.items()} for each in unseen.experiences]
    assert sizes == [{"train": 0, "val": 0, "test": 4}, {"train": 0, "val": 0, "test": 6}]
    assert set(unseen.samples.split) == {"test"}
    row = unseen.experiences[1].rows["test"][0]
    name = unseen.samples.sample[row].removeprefix("other:")
    assert np.array_equal(
        unseen.pixels((9, 7)).fetch(np.array([row])).numpy()[0], read_picture(faces.parent / "own" / name)
    )
    assert unseen.having("val") is None


def test_a_set_without_validation_rows_is_left_out_of_the_validation_sets(faces: Path, load: Load) -> None:
    text = TWO.replace("{name: swap, where: {source: swap}, frames: 4}", "{name: gans, where: {source: gan}}")
    text = text.replace("  - {name: gan, where: {source: gan}}\n", "unseen: [{name: new, where: {source: swap}}]\n")
    unseen = load(text).unseen
    assert unseen is not None
    found = unseen.having("val")
    assert found is not None
    assert [(each.index, each.name, len(each.rows["val"])) for each in found.experiences] == [(0, "new", 20)]


def test_the_further_fingerprint_follows_what_is_tested(
    faces: Path, load: Load, write_picture: Callable[..., Path]
) -> None:
    texts = [
        GAN,
        GAN.replace("new", "newer"),
        GAN.replace("gan}", "gan, frame: 0}, frames: 1").replace("frames: 1}", "frames: 1"),
        GAN + "perturb: {}\n",
        "perturb: {}\n",
        "perturb: {levels: [1]}\n",
        "perturb: {kinds: [blur]}\n",
        "perturb: {samples: 4}\n",
    ]
    found = [load(SWAP + text).further_fingerprint for text in texts if "frame" not in text]
    assert None not in found
    assert len(set(found)) == len(found)
    assert (
        load(SWAP + "perturb: {levels: [5, 4, 3, 2, 1]}\n").further_fingerprint
        == load(SWAP + "perturb: {}\n").further_fingerprint
    )
    before = load(SWAP + GAN)
    write_picture(faces / "gan/8.png", seed=999)  # a test picture
    after = load(SWAP + GAN)
    assert after.further_fingerprint != before.further_fingerprint
    assert after.fingerprint == before.fingerprint


def test_what_is_skipped_is_not_opened(faces: Path, load: Load) -> None:
    text = SWAP + "unseen: [{name: away, root: nowhere}, {name: new, where: {source: gan}}]\nperturb: {}\n"
    with pytest.raises(DataError) as caught:
        load(text)
    assert "unseen set 'away': source 'folder': the root " in str(caught.value)
    assert str(caught.value).endswith("nowhere does not exist; --skip-tests away leaves it out")
    stream = load(text, skip=["away"])
    assert stream.unseen is not None
    assert [each.name for each in stream.unseen.experiences] == ["new"]
    assert (stream.skipped, stream.perturb is None) == (("away",), False)
    nothing = load(text, skip=["all"])
    assert (nothing.unseen, nothing.perturb, nothing.further_fingerprint) == (None, None, None)
    assert nothing.skipped == ("away", "new", "perturbed")
    assert load(SWAP, skip=["all"]).skipped == ()
    with pytest.raises(UsageError, match=r"unknown test to skip 'awy': did you mean 'away'\?"):
        load(text, skip=["awy"])


def test_a_person_of_the_training_set_is_no_unseen_test(faces: Path, load: Load) -> None:
    edit(faces, "gan/8.png,0,gan,photo,,", "gan/8.png,0,gan,photo,id0,")
    load(SWAP)  # nobody looks at it
    with pytest.raises(DataError, match=r"1 identity occurs in more than one split: 'id0' \(test and train\)"):
        load(SWAP + GAN)


def test_a_training_picture_under_another_name_is_noted(
    faces: Path, load: Load, write_picture: Callable[..., Path]
) -> None:
    write_picture(faces / "gan/8.png", seed=0)  # that of swap/original/0_0.png
    text = SWAP.replace(", frames: 4", "")
    assert load(text).notes == []
    assert load(text + GAN).notes == ["pictures of unseen sets that are training pictures too: 1, as gan/8.png"]


@pytest.mark.parametrize(
    ("unseen", "message"),
    [
        ("{name: a, where: {source: swap}}", "20 of its pictures are those of the experiences (the first: 'swap/Deep"),
        (
            "{name: a, where: {source: swap, frame: [0, 2]}}",
            "the experiences train on its forgeries ('swap', method 'De",
        ),
        ("{name: a, where: {source: gan, method: GAN}}", "unseen set 'a': all 2 test pictures are 'fake'; a split nee"),
        (
            "{name: a, where: {source: gan, split: train}}",
            "unseen set 'a': no test pictures and these alone are scored",
        ),
        ("{name: a, where: {source: gam}}", "unseen set 'a': where: no sample has source 'gam'; did you mean 'gan'?"),
        ("{name: a, source: foldr}", "unseen set 'a': unknown source 'foldr'"),
    ],
)
def test_what_is_no_unseen_set(faces: Path, load: Load, unseen: str, message: str) -> None:
    text = SWAP if "frame:" in unseen else SWAP.replace(", frames: 4", "")
    with pytest.raises((DataError, UsageError)) as caught:
        load(text + f"unseen: [{unseen}]\n")
    assert message in str(caught.value)


def test_a_corrupt_unseen_picture_counts(faces: Path, load: Load) -> None:
    picture = faces / "gan/8.png"
    picture.write_bytes(picture.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"unseen set 'new': 1 of 4 test pictures cannot be used, more than max_corr"):
        load(SWAP + GAN)
    assert "new: 1 of 4 pictures cannot be used and are left out" in load(SWAP + GAN + "max_corrupt: 0.5").notes[-1]

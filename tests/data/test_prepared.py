"""The source ``prepared``: a prepared set in a stream, from the cache or decoded ahead of the training."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from dfbench.benchmarks.stream import Stream, load_stream
from dfbench.data.encoded import EncodedPixels
from dfbench.data.loader import UnitLoader
from dfbench.data.pictures import PictureError, resize
from dfbench.data.sources.prepared import PreparedSource
from dfbench.data.store import PixelStore
from dfbench.data.units import frames, pairs
from dfbench.errors import DataError, StorageError, UsageError
from tests.data.prepare.conftest import crop, fake, films, prepared, real  # noqa: F401  (fixtures)
from tests.data.prepare.films import forged, moving, write_video


@pytest.fixture(scope="module")
def two_methods(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real with two fakes in each split."""
    folder = tmp_path_factory.mktemp("two")
    items = []
    for number, split in enumerate(("train", "test")):
        own = moving(number)
        items.append(real(write_video(folder / f"r{number}.mp4", own), f"r{number}", split))
        for method, amount in (("Swap", 60), ("Blur", -50)):
            name = f"{method}{number}"
            path = write_video(folder / f"{name}.mp4", forged(own, amount))
            items.append(fake(path, name, f"r{number}", split, method))
    crop(items, folder / "set")
    return folder / "set"


def stream(root: Path, text: str) -> Stream:
    path = root.parent / "stream.yaml"
    path.write_text(f"name: s\ndefaults: {{source: prepared, root: {root.name}}}\nexperiences:\n{text}")
    return load_stream(str(path), sources={"prepared": PreparedSource})


METHODS = "  - {name: a, methods: [Swap]}\n  - {name: b, methods: [Blur]}\n"


def test_methods_make_one_experience_each_and_share_the_reals(two_methods: Path) -> None:
    made = stream(two_methods, METHODS)
    assert len(made.samples) == 36  # reals once
    for experience, method in zip(made.experiences, ("Swap", "Blur"), strict=True):
        for split in ("train", "test"):
            rows = experience.rows[split]
            assert sorted(set(made.samples.method[rows])) == sorted([method, "real"])
            assert len(rows) == 12
    assert len(pairs(made.samples, made.experiences[0].rows["train"])) == 6


def test_a_method_that_is_not_there_is_an_error_with_the_nearest(two_methods: Path) -> None:
    with pytest.raises(UsageError, match=r"no sample has method 'Swop'; did you mean 'Swap'"):
        stream(two_methods, "  - {name: a, methods: [Swop]}\n")


def test_opening_decodes_no_picture(two_methods: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(PreparedSource, "read", refuse)
    monkeypatch.setattr(PreparedSource, "read_row", refuse)
    made = stream(two_methods, METHODS)
    assert made.native_size == (64, 64)
    assert made.fingerprint


@pytest.mark.parametrize("size", [(64, 64), (48, 40)])
def test_pixels_are_the_same_from_the_cache_and_decoded_ahead(
    two_methods: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stream(two_methods, METHODS)
    stored = made.pixels(size)
    monkeypatch.setenv("DFBENCH_CACHE_GB", "0")
    encoded = made.pixels(size)
    assert isinstance(stored, PixelStore)
    assert isinstance(encoded, EncodedPixels)
    rows = np.array([[3, 0], [35, 3]])
    assert torch.equal(stored.fetch(rows), encoded.fetch(rows))
    source = PreparedSource(two_methods)
    name = made.samples.sample[35]
    expected = resize(source.read(name), *size)
    assert np.array_equal(encoded.fetch(np.array([35]))[0].numpy(), expected)
    buffer = torch.empty(2, 2, *size, 3, dtype=torch.uint8)
    assert encoded.fetch(rows, out=buffer) is buffer
    with pytest.raises(IndexError):
        encoded.fetch(np.array([36]))


@pytest.mark.parametrize("workers", ["0", "1"])
def test_batches_that_are_decoded_ahead_are_those_of_the_cache(
    two_methods: Path, workers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DFBENCH_WORKERS", workers)
    made = stream(two_methods, METHODS)
    units = frames(made.samples, made.experiences[0].rows["train"])
    order = torch.randperm(len(units)).split(5)
    batches = {}
    for budget in ("50", "0"):
        monkeypatch.setenv("DFBENCH_CACHE_GB", budget)
        loader = UnitLoader(units, np.zeros(len(units)), made.pixels((32, 32)), torch.device("cpu"))
        batches[budget] = list(loader.stream(order))
        loader.close()
    assert len(batches["0"]) == len(batches["50"]) == 3
    for one, other in zip(batches["0"], batches["50"], strict=True):
        assert torch.equal(one.pixels, other.pixels)
        assert torch.equal(one.units, other.units)


def test_a_source_goes_to_a_process_as_its_folder(two_methods: Path) -> None:
    source = PreparedSource(two_methods)
    name = source.samples().sample[7]
    packed = pickle.dumps(source)
    assert len(packed) < 500
    assert np.array_equal(pickle.loads(packed).read(name), source.read(name))


def test_rows_are_found_across_files(two_methods: Path) -> None:
    source = PreparedSource(two_methods)
    table = source.samples()
    for row in (0, 17, 18, 35):  # train and test are two files
        assert np.array_equal(source.read_row(row), source.read(table.sample[row]))
    assert not np.array_equal(source.read_row(17), source.read_row(18))


def test_a_damaged_crop_is_named(films, tmp_path: Path) -> None:  # noqa: F811
    folder = crop(films[:2], tmp_path / "set", frames=2).folder
    file = next(folder.rglob("*.arrow"))
    content = file.read_bytes()
    start = content.index(b"\xff\xd8\xff")
    file.write_bytes(content[:start] + bytes(300) + content[start + 300 :])
    with pytest.raises(PictureError, match=r"set: r0/000006: not a picture"):
        PreparedSource(folder).read("r0/000006")


@pytest.mark.parametrize("value", ["much", "-1", "nan"])
def test_a_budget_that_is_no_number_is_refused(two_methods: Path, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFBENCH_CACHE_GB", value)
    with pytest.raises(UsageError, match="DFBENCH_CACHE_GB"):
        stream(two_methods, METHODS).pixels((16, 16))


def test_a_folder_that_is_no_prepared_set_or_not_finished_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no prepared set"):
        PreparedSource(tmp_path)
    (tmp_path / ".work").mkdir()
    with pytest.raises(DataError, match="not finished"):
        PreparedSource(tmp_path)


def test_a_file_that_was_cut_or_lost_is_named(prepared, films, tmp_path: Path) -> None:  # noqa: F811
    copy = crop(films, tmp_path / "copy").folder
    file = next((copy / "train").glob("*.arrow"))
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(StorageError, match=r"has \d+ bytes, not \d+"):
        PreparedSource(copy).samples()
    file.unlink()
    with pytest.raises(StorageError, match="is missing"):
        PreparedSource(copy).samples()

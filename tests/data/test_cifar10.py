"""CIFAR-10 in both layouts, and pickles that want to do more than hold an array."""

from __future__ import annotations

import pickle
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dfbench.data.sources import open_source
from dfbench.data.sources.cifar10 import CLASSES, Cifar10Source
from dfbench.data.sources.cifar10_batches import read_batch
from dfbench.errors import DataError, UsageError

PER_BATCH = 20


def pictures(count: int, seed: int) -> tuple[np.ndarray, list[int]]:
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return pixels, generator.integers(0, 10, count).tolist()


def write_batches(root: Path) -> Path:
    """The layout that torchvision downloads: data as N×3072, planes one after the other."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for seed, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        pixels, labels = pictures(PER_BATCH, seed)
        planes = pixels.transpose(0, 3, 1, 2).reshape(PER_BATCH, 3072)
        batch = {b"batch_label": b"x", b"labels": labels, b"data": np.ascontiguousarray(planes)}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    return root


def png(pixels: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_parquet(root: Path, below: str = "") -> Path:
    folder = root / below
    folder.mkdir(parents=True, exist_ok=True)
    for part, seeds in (("train", range(5)), ("test", [5])):
        rows = []
        for seed in seeds:
            pixels, labels = pictures(PER_BATCH, seed)
            rows += [
                {"img": {"bytes": png(each), "path": "x.png"}, "label": label}
                for each, label in zip(pixels, labels, strict=True)
            ]
        table = pa.Table.from_pylist(rows)
        pq.write_table(table, folder / f"{part}-00000-of-00001.parquet", row_group_size=30)
    return root


def test_both_layouts_give_the_same_pictures(tmp_path: Path) -> None:
    batches = Cifar10Source(write_batches(tmp_path / "a"))
    for below in ("", "plain_text", "data"):
        parquet = Cifar10Source(write_parquet(tmp_path / f"b{below}", below))
        table = parquet.samples()
        assert table == batches.samples()
        assert len(table) == 6 * PER_BATCH
        for row in (0, 37, 99, 100, 119):
            name = table.sample[row]
            expected = pictures(PER_BATCH, row // PER_BATCH)[0][row % PER_BATCH]
            assert np.array_equal(batches.read(name), expected)
            assert np.array_equal(pickle.loads(pickle.dumps(parquet)).read(name), expected)
            assert parquet.inspect(name)[1:] == batches.inspect(name)[1:] == (32, 32)
    assert table.sample[[0, 99, 100]].tolist() == ["train/00000", "train/00099", "test/00000"]
    assert table.method[0] == CLASSES[table.label[0]]


def test_val_is_the_end_of_the_training_part(tmp_path: Path) -> None:
    samples = Cifar10Source(write_parquet(tmp_path), val=30).samples()
    assert samples.split.tolist() == ["train"] * 70 + ["val"] * 30 + ["test"] * 20
    with pytest.raises(DataError, match="100 train pictures are not enough for val: 100"):
        Cifar10Source(tmp_path, val=100).samples()
    with pytest.raises(UsageError, match="option val: -1 is negative"):
        Cifar10Source(tmp_path, val=-1)
    with pytest.raises(UsageError, match=r"option val: .*got 'many'"):
        open_source("cifar10", Cifar10Source, tmp_path, {"val": "many"})


def test_neither_layout(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"neither cifar-10-batches-py/ nor .* get it with"):
        Cifar10Source(tmp_path)


def test_a_batch_is_missing(tmp_path: Path) -> None:
    write_batches(tmp_path)
    (tmp_path / "cifar-10-batches-py/data_batch_3").unlink()
    with pytest.raises(DataError, match="data_batch_3 is missing"):
        Cifar10Source(tmp_path)


class Bomb:
    """Unpickled, it would create a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


class ZipBomb:
    def __reduce__(self) -> tuple[Any, ...]:
        import _codecs

        return _codecs.encode, ("x", "zip")


def hostile(case: str, target: Path) -> bytes:
    good = np.zeros((2, 3072), np.uint8)
    data: Any = {
        "code": Bomb(target),
        "codec": ZipBomb(),
        "objects": np.array([[Bomb(target)]], object),
        "floats": good.astype(np.float32),
        "flat": good.reshape(-1),
        "text": "hello",
    }.get(case, good)
    labels = [0] if case == "labels" else [0, 1]
    return pickle.dumps({b"data": data, b"labels": labels}, protocol=2)


@pytest.mark.parametrize(
    "case", ["code", "codec", "objects", "floats", "flat", "text", "labels", "cut", "not a pickle", "empty"]
)
def test_hostile_and_damaged_batches_do_nothing(tmp_path: Path, case: str) -> None:
    target = tmp_path / "executed"
    content = hostile(case, target)
    content = {"cut": content[:-500], "not a pickle": b"hello", "empty": b""}.get(case, content)
    (tmp_path / "data_batch_1").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_batch(tmp_path / "data_batch_1")
    assert str(caught.value).startswith(str(tmp_path / "data_batch_1"))
    assert "\n" not in str(caught.value)
    assert not target.exists()


def test_a_pickle_of_python_2_is_read(tmp_path: Path) -> None:
    """The original files name ``numpy.core.multiarray`` and hold Python 2 strings."""
    labels, data = [3, 7], bytes(range(256)) * 24
    content = (
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04"
        b"K\x00\x85q\x05U\x01bq\x06\x87q\x07Rq\x08(K\x01K\x02M\x00\x0c\x86q\tcnumpy\ndtype\nq\nU\x02u1q\x0b"
        b"K\x00K\x01\x87q\x0cRq\r(K\x03U\x01|q\x0eNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x0fb\x89"
        b"T" + len(data).to_bytes(4, "little") + data + b"tq\x10bU\x06labelsq\x11]q\x12(K\x03K\x07eu."
    )
    (tmp_path / "b").write_bytes(content)
    pixels, read = read_batch(tmp_path / "b")
    assert pixels.tobytes() == data
    assert pixels.shape == (2, 3072)
    assert read.tolist() == labels


def test_damaged_parquet(tmp_path: Path) -> None:
    write_parquet(tmp_path)
    train = tmp_path / "train-00000-of-00001.parquet"
    train.write_bytes(train.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"train-.*: not a readable Parquet file"):
        Cifar10Source(tmp_path).samples()
    pq.write_table(pa.table({"img": [1]}), train)
    with pytest.raises(DataError, match=r"train-.*: column 'label' is missing"):
        Cifar10Source(tmp_path).samples()


def test_labels_beyond_nine(tmp_path: Path) -> None:
    write_parquet(tmp_path)
    pq.write_table(pa.table({"label": [0, 10]}), tmp_path / "test-00000-of-00001.parquet")
    with pytest.raises(DataError, match="labels 0 to 9, the test part has others"):
        Cifar10Source(tmp_path).samples()


def test_the_real_data(shared_data: Path) -> None:
    source = Cifar10Source(shared_data / "cifar10")
    samples = source.samples()
    assert len(samples.where(split="train")) == 50_000
    assert np.bincount(samples.label[samples.where(split="test")]).tolist() == [1000] * 10
    assert source.read("test/00042").shape == (32, 32, 3)

"""The face pack: complete, undamaged, disjoint, and of synthetic origin."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from dfbench.errors import DataError
from dfbench.forge import pack


def test_the_pack_is_small_and_its_files_have_the_hashes_on_record():
    files = [path for path in pack.FOLDER.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 12_000_000
    hashes = pack.provenance()["sha256"]
    assert set(hashes) == {path.name for path in files} - {"provenance.json", "reference.json"}
    for name, digest in hashes.items():
        assert hashlib.sha256((pack.FOLDER / name).read_bytes()).hexdigest() == digest


def test_every_portrait_comes_from_a_seed_that_was_looked_at_and_kept():
    """No photograph can slip in: each picture belongs to a seed of the generator, none to a dropped one."""
    origin = pack.provenance()
    assert "none is a photograph" in origin["what"]
    assert "non-commercial" in origin["trained_on"]
    dropped = {seed for seeds in origin["dropped_by_eye"].values() for seed in seeds}
    seeds = [pack.seed(name) for name in pack.identities()]
    assert len(set(seeds)) == len(seeds) >= 320
    assert not dropped & set(seeds)
    assert max(seeds) < origin["candidates"]


def test_splits_are_disjoint_and_as_announced():
    parts = {split: set(pack.identities(split)) for split in ("train", "val", "test")}
    assert {split: len(names) for split, names in parts.items()} == pack.provenance()["people"]
    assert sum(map(len, parts.values())) == len(set.union(*parts.values())) == len(pack.identities())


def test_portraits_are_pictures_with_landmarks_on_them():
    count = pack.mesh().landmarks
    for name in pack.identities()[::37]:
        person = pack.portrait(name)
        assert person.image.shape == (256, 256, 3)
        assert person.image.dtype == np.uint8
        assert person.image.std() > 20
        assert person.landmarks.shape == (count, 3)
        eyes = [person.landmarks[pack.mesh().groups[eye], :2].mean(axis=0) for eye in ("eye_a", "eye_b")]
        mouth = person.landmarks[pack.mesh().groups["lips_outer"], :2].mean(axis=0)
        assert eyes[0][0] < mouth[0] < eyes[1][0]
        assert max(eyes[0][1], eyes[1][1]) < mouth[1]


def test_no_portrait_occurs_twice():
    small = np.stack([pack.portrait(name).image[::16, ::16].ravel() for name in pack.identities()]).astype(float)
    small = (small - small.mean(axis=1, keepdims=True)) / small.std(axis=1, keepdims=True)
    alike = small @ small.T / small.shape[1]
    np.fill_diagonal(alike, 0)
    assert alike.max() < 0.97


def test_a_damaged_pack_is_noticed(tmp_path, monkeypatch):
    for path in pack.FOLDER.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    broken = bytearray((tmp_path / "portraits.parquet").read_bytes())
    broken[5000] ^= 1
    (tmp_path / "portraits.parquet").write_bytes(broken)
    monkeypatch.setattr(pack, "FOLDER", tmp_path)
    with pytest.raises(DataError, match="damaged"):
        pack._read("portraits.parquet")
    (tmp_path / "mesh.json").unlink()
    with pytest.raises(DataError, match="incomplete"):
        pack._read("mesh.json")


def test_an_unknown_person_is_an_error_that_names_the_known():
    with pytest.raises(DataError, match="face0"):
        pack.portrait("nobody")

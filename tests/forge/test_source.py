"""The embedded benchmark as a source: the same bits everywhere, checked at every start."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dfbench.benchmarks import packaged
from dfbench.benchmarks.schema import read_stream_file
from dfbench.benchmarks.stream import Stream, load_stream
from dfbench.data.leaks import check_leaks
from dfbench.errors import DataError, UsageError
from dfbench.forge import render
from dfbench.forge.source import REFERENCE, ForgeSource

STREAM = """
name: glance
defaults: {source: forge5, people: 2}
experiences:
  - {name: face_swap, where: {source: face_swap}}
  - {name: upsampling, where: {source: upsampling}}
"""


def glance(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Stream:
    """Two people of each split under two families, rendered into a cache of its own."""
    monkeypatch.setenv("DFBENCH_CACHE", str(folder / "cache"))
    path = folder / "glance.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(STREAM)
    return load_stream(str(path), sources={"forge5": ForgeSource})


def test_two_builds_in_two_folders_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = glance(tmp_path / "a", monkeypatch)
    pixels = first.pixels(None).fetch(np.arange(len(first.samples)))
    second = glance(tmp_path / "b", monkeypatch)
    assert first.fingerprint == second.fingerprint
    assert (pixels == second.pixels(None).fetch(np.arange(len(second.samples)))).all()


def test_the_store_holds_what_was_rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = glance(tmp_path, monkeypatch)
    samples, pixels = stream.samples, stream.pixels(None)
    for row in (0, len(samples) // 2, len(samples) - 1):
        pictures = {r["sample"]: p for r, p in render.render(samples.identity[row], samples.source[row])}
        assert (pixels.fetch(np.array([row]))[0].numpy() == pictures[samples.sample[row]]).all()
    assert stream.native_size == pixels.shape[1:3]
    assert stream.pixels((32, 32)).shape == (len(samples), 32, 32, 3)


def test_a_damaged_cache_is_noticed_and_rebuilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = glance(tmp_path, monkeypatch)
    whole = stream.pixels(None).fetch(np.arange(4)).clone()
    (file,) = (tmp_path / "cache" / "forge").glob("*/pixels.u8")
    content = bytearray(file.read_bytes())
    content[17] ^= 1
    file.write_bytes(content)
    assert (glance(tmp_path, monkeypatch).pixels(None).fetch(np.arange(4)) == whole).all()
    (table,) = (tmp_path / "cache" / "forge").glob("*/samples.parquet")
    table.write_bytes(table.read_bytes()[:-30])
    assert glance(tmp_path, monkeypatch).fingerprint == stream.fingerprint


def test_every_experience_has_aligned_pairs_and_people_of_its_own_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = glance(tmp_path, monkeypatch)
    samples = stream.samples
    check_leaks([samples], "glance")
    for experience in stream.experiences:
        for rows in experience.rows.values():
            assert len(rows) == 2 * 2 * 3  # people × versions × frames
            keys, counts = np.unique(samples.pair[rows], return_counts=True)
            assert (counts == 2).all()
            assert len(keys) == 6


def test_nothing_can_be_trained_on_the_held_out_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFBENCH_CACHE", str(tmp_path / "cache"))
    source = ForgeSource(people=2)
    source.prepare()
    table = source.samples()
    unseen = table.take(table.where(source="token"))
    assert {split: int((unseen.split == split).sum()) for split in ("train", "val", "test")} == {
        "train": 0, "val": 2 * 2 * 3, "test": 2 * 2 * 3,
    }  # fmt: skip
    _, counts = np.unique(unseen.pair, return_counts=True)
    assert (counts == 2).all()
    assert set(unseen.method) == {"pristine", "token"}
    path = tmp_path / "trained.yaml"
    path.write_text(STREAM.replace("upsampling", "token"))
    with pytest.raises(DataError, match=r"experience 'token': no train pictures \(0 train, 12 val, 12 test\)"):
        load_stream(str(path), sources={"forge5": ForgeSource})


def test_the_reference_parts_the_benchmark_from_the_held_out_family() -> None:
    """The benchmark's pictures keep the fingerprints that they had before there was a held-out family."""
    reference = json.loads(REFERENCE.read_text(encoding="utf-8"))
    assert reference["few"]["trained"] == "febdd87e64f44328fac1ab194a2ecaf82bf463e2ee57db163d3cb7e81e5df116"
    assert reference["all"]["trained"] == "b875bc8dc9e2d10aca872d3d3bd717b768666e07850215452c389986978f537a"
    assert set(reference["few"]) == set(reference["all"]) == {"trained", "held_out"}


def test_other_pictures_than_the_published_are_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFBENCH_CACHE", str(tmp_path / "cache"))
    source = ForgeSource(people=1)
    source.prepare()
    source.people = None  # as if these few were all
    source._check_reference()
    assert "compare results only" in source.notes[0]
    changed = tmp_path / "reference.json"
    changed.write_text(json.dumps({"made_with": {}, "few": source.fingerprints()}))
    monkeypatch.setattr(ForgeSource, "reference", changed)
    source.notes = []
    source._check_reference()
    assert source.notes == []


def test_the_number_of_people_is_checked() -> None:
    with pytest.raises(UsageError, match="at least 1"):
        ForgeSource(people=0)


@pytest.mark.parametrize(
    ("name", "pictures"), [("forge5", 11_100), ("forge5-reverse", 11_100), ("forge5-clips", 59_200)]
)
def test_the_packaged_streams_fit_the_source(name: str, pictures: int) -> None:
    spec, entries = read_stream_file(packaged()[name])
    assert [e.where["source"] for e in entries] == list(render.families())[:: -1 if "reverse" in name else 1]
    sources = [ForgeSource(**e.options) for e in entries]
    people, pictures_each = len(render.identities()), sources[0].render_job()[1]
    assert people * pictures_each * len(entries) == pictures
    assert spec.memory is not None

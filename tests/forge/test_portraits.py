"""The source of single portraits: the same bits everywhere, nothing that tells the class apart by its codec."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from dfbench.benchmarks import packaged
from dfbench.benchmarks.schema import read_stream_file, unseen_sets
from dfbench.benchmarks.stream import load_stream
from dfbench.errors import UsageError
from dfbench.forge import pack, render
from dfbench.forge.portraits import views
from dfbench.forge.portraits.source import REFERENCE, PortraitSource
from dfbench.forge.portraits.views import SIZE, make_view, render_view
from dfbench.forge.source import ForgeSource

PEOPLE = pack.identities("val")[:3]


def test_a_view_is_the_same_in_any_order_and_another_for_each_number() -> None:
    first = [picture for _, picture in render_view("portraits", PEOPLE[0], "2")]
    render_view("portraits", PEOPLE[1], "0")
    again = [picture for _, picture in render_view("portraits", PEOPLE[0], "2")]
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    other = render_view("portraits", PEOPLE[0], "3")[0][1]
    assert np.abs(first[0].astype(int) - other).mean() > 3


def test_landmarks_lie_on_the_face_of_the_view() -> None:
    """The eyes are darker than the cheeks, mirrored views included."""
    darker = []
    for seed in range(12):
        frame, points = make_view(pack.portrait(PEOPLE[seed % 3]), np.random.default_rng(seed))
        assert frame.shape == (SIZE, SIZE, 3)
        assert points.min() > -0.2 * SIZE
        assert points.max() < 1.2 * SIZE

        def level(part: str, frame: np.ndarray = frame, points: np.ndarray = points) -> float:
            x, y = np.rint(points[pack.mesh().groups[part]].mean(axis=0)).astype(int).clip(0, SIZE - 1)
            return float(frame[max(y - 3, 0) : y + 4, max(x - 3, 0) : x + 4].mean())

        darker += [level("eye_a") < level("cheeks"), level("eye_b") < level("cheeks")]
    assert np.mean(darker) > 0.8


def test_every_family_is_drawn_and_leaves_the_surroundings_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "record", lambda versions, *_: versions)  # without camera and codec
    drawn = set()
    for person in pack.identities("train")[:12]:
        (real, clean), (fake, forged) = render_view("portraits", person, "0")
        drawn.add(fake["method"])
        assert (real["method"], real["label"], fake["label"]) == ("pristine", 0, 1)
        changed = (clean != forged).any(axis=2)
        assert 0.02 < changed.mean() < 0.7
        assert not changed[:4].any()
    assert drawn == set(render.families())
    (_, clean), (fake, forged) = render_view("token", PEOPLE[0], "0")
    assert fake["method"] == "token"
    assert (clean != forged).any()


def test_the_source_has_disjoint_people_and_no_training_pictures_of_the_held_out_family(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DFBENCH_CACHE", str(tmp_path))
    source = PortraitSource(people=2, views=2)
    source.prepare()
    samples = source.samples()
    assert len(samples) == 2 * 2 * 2 * (3 + 2)  # people × views × versions × (three splits, two of the held-out family)
    held_out = samples.source == "token"
    assert set(samples.split[held_out]) == {"val", "test"}
    people = {split: set(samples.identity[samples.split == split]) for split in ("train", "val", "test")}
    assert not people["train"] & people["val"]
    assert not people["val"] & people["test"]
    row = int(np.flatnonzero(held_out)[3])
    made = {r["sample"]: p for r, p in render_view("token", samples.identity[row], "1")}
    assert (source.read(samples.sample[row]) == made[samples.sample[row]]).all()
    moved = pickle.loads(pickle.dumps(source))
    assert (moved.read(samples.sample[row]) == made[samples.sample[row]]).all()


def test_the_packaged_stream_is_one_experience_with_token_unseen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packaged()["portraits"]
    spec, entries = read_stream_file(path)
    assert spec.scope == "laboratory"
    assert [e.where for e in entries] == [{"source": "portraits"}]
    assert [e.where for e in unseen_sets(path, spec)] == [{"source": "token"}]
    monkeypatch.setenv("DFBENCH_CACHE", str(tmp_path))
    glance = tmp_path / "glance.yaml"
    glance.write_text(path.read_text().replace("{source: portraits}\nexp", "{source: portraits, people: 2}\nexp"))
    stream = load_stream(str(glance), sources={"portraits": PortraitSource})
    assert stream.native_size == (SIZE, SIZE)
    assert {split: len(rows) for split, rows in stream.experiences[0].rows.items()} == dict.fromkeys(
        ("train", "val", "test"), 16
    )


def test_bad_options_are_refused() -> None:
    with pytest.raises(UsageError, match="source 'portraits', option views: 1 to 100"):
        PortraitSource(views=0)
    with pytest.raises(UsageError, match="source 'portraits', option people: at least 1"):
        PortraitSource(people=0)


def test_the_reference_names_both_parts_and_forge5_is_rendered_from_other_files() -> None:
    reference = json.loads(REFERENCE.read_text())
    assert set(reference["4views"]) == {"trained", "held_out"}
    assert PortraitSource().variant == "4views"
    assert PortraitSource().version() != ForgeSource().version()

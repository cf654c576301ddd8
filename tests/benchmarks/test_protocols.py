"""The packaged protocols over miniature prepared sets, made by the readers from trees of the true shape."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dfbench.benchmarks import packaged, summary
from dfbench.benchmarks.parts import SetSpec
from dfbench.benchmarks.schema import read_stream_file, unseen_sets
from dfbench.benchmarks.sets import needed_sets
from dfbench.benchmarks.stream import Experience, Stream, load_stream
from dfbench.data.audit.prepared_set import audit_of, audit_set, unfit
from dfbench.data.prepare.jobs import DetectorChoice
from dfbench.data.prepare.opening import data_set
from dfbench.data.prepare.options import Options
from dfbench.data.prepare.run import prepare
from dfbench.data.sources.prepared import PreparedSource
from dfbench.errors import DataError, UsageError
from tests.benchmarks.trees import METHODS, TREES

CENTRE = DetectorChoice("dfbench.data.prepare.faces:Centre", None, "cpu")
PROTOCOLS = ("ffpp-methods", "dfil", "report-exp4", "cddb-easy", "cddb-hard", "cddb-long", "sur-lid-p1", "sur-lid-p2",
             "video-6", "deepfakebench")  # fmt: skip
FOUR = set(METHODS.values())
Shape = dict[str, tuple[int, int]]


def described() -> dict[str, SetSpec]:
    """All sets of all packaged files: a name means one set, whatever file it is in."""
    found: dict[str, SetSpec] = {}
    for name, path in packaged().items():
        for key, spec in read_stream_file(path)[0].sets.items():
            assert found.setdefault(key, spec) == spec, f"{name}: {key} is another set elsewhere"
    return found


@pytest.fixture(scope="session")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Data set → the root of its miniature tree, grown when it is first asked for."""
    top = tmp_path_factory.mktemp("trees")

    def grown(name: str) -> Path:
        if not (top / name).exists():
            (top / name).mkdir()
            TREES[name](top / name)
        return top / name

    return grown


@pytest.fixture(scope="session")
def load_protocol(tmp_path_factory: pytest.TempPathFactory, roots: Callable[[str], Path]) -> Callable[..., Stream]:
    """``load_protocol(name)`` prepares the sets that a protocol describes, once for all tests, and opens it."""
    data, specs = tmp_path_factory.mktemp("data"), described()

    def load(name: str, **options: Any) -> Stream:
        for key in read_stream_file(packaged()[name])[0].sets:
            if not (data / key).exists():
                spec = specs[key]
                scan = data_set(spec.source).scan(roots(spec.source), **spec.options)
                made = Options(
                    source=spec.source, source_options=spec.options, frames=spec.frames, clip=spec.clip, size=32
                )
                prepare(scan.items, data / key, made, CENTRE, workers=0)
                assert audit_set(data / key, second=scan.labels, missing=scan.missing)
        return load_stream(name, sources={"prepared": PreparedSource}, benchmarks=packaged(), data_root=data, **options)

    load.folder = data  # type: ignore[attr-defined]
    return load


def videos(stream: Stream, experience: Experience, split: str) -> tuple[int, int]:
    """Real and fake videos (or pictures) of a split."""
    samples, rows = stream.samples, experience.rows[split]
    return tuple(len(set(samples.video[rows[samples.label[rows] == label]])) for label in (0, 1))  # type: ignore[return-value]


def fakes(stream: Stream, experience: Experience, column: str = "method") -> set[str]:
    """Values of a column among the training fakes."""
    rows = experience.rows["train"]
    return set(getattr(stream.samples, column)[rows[stream.samples.label[rows] == 1]])


def shape(stream: Stream) -> dict[str, Shape]:
    """Experience → split → real and fake videos."""
    return {e.name: {split: videos(stream, e, split) for split in e.rows} for e in stream.experiences}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_says_what_it_is_and_where_it_comes_from(name: str) -> None:
    spec, _ = read_stream_file(packaged()[name])
    assert (spec.name, spec.scope) == (name, "deepfakes")
    assert summary(packaged()[name])
    assert spec.description
    assert spec.citation is not None
    assert spec.sets
    assert {each.source for each in spec.sets.values()} <= set(TREES)


def test_ffpp_methods_has_the_four_manipulations_and_all_reals_each_time(load_protocol: Callable[..., Stream]) -> None:
    stream = load_protocol("ffpp-methods")
    assert [e.name for e in stream.experiences] == ["Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures"]
    assert [fakes(stream, e) for e in stream.experiences] == [{e.name} for e in stream.experiences]
    assert set(map(str, shape(stream).values())) == {str({"train": (4, 4), "val": (2, 2), "test": (2, 2)})}
    assert (stream.metric, stream.budget.memory_per_experience, stream.budget.memory) == ("video_auc", 500, None)
    assert stream.citation is not None
    assert stream.citation.url == "https://arxiv.org/abs/2308.06217"


def test_dfil_is_few_shot_after_the_first_and_by_person(load_protocol: Callable[..., Stream]) -> None:
    stream = load_protocol("dfil")
    assert [e.name for e in stream.experiences] == ["FF++", "DFDC-P", "DFD", "CDF2"]
    assert shape(stream) == {
        "FF++": {"train": (4, 16), "val": (2, 8), "test": (2, 8)},
        "DFDC-P": {"train": (6, 6), "val": (0, 0), "test": (2, 2)},
        "DFD": {"train": (3, 6), "val": (3, 6), "test": (3, 6)},
        "CDF2": {"train": (3 + youtube("train"), 6), "val": (3 + youtube("val"), 6), "test": (3 + youtube("test"), 6)},
    }
    assert fakes(stream, stream.experiences[0]) == FOUR
    assert (stream.metric, stream.budget.memory_per_experience) == ("accuracy", 500)
    _, entries = read_stream_file(packaged()["dfil"])
    assert [entry.videos for entry in entries] == [None, 25, 25, 25]


def youtube(split: str) -> int:
    from dfbench.data.prepare.sources.split import by_hash

    return sum(by_hash(f"celeb-df/{number:05d}") == split for number in range(2))


def test_report_exp4_has_clips_of_sixteen_and_a_fake_per_real_of_dfdc(load_protocol: Callable[..., Stream]) -> None:
    stream = load_protocol("report-exp4")
    assert [e.name for e in stream.experiences] == ["Celeb-DF", "Face2Face", "DFDC"]
    assert fakes(stream, stream.experiences[1]) == {"Face2Face"}
    assert shape(stream)["DFDC"] == {"train": (4, 4), "val": (2, 2), "test": (2, 2)}
    assert (stream.metric, stream.budget.memory) == ("video_auc", 500)
    samples = stream.samples
    for video in set(samples.video[stream.experiences[2].rows["train"]]):
        frames = np.sort(samples.frame[samples.video == video])
        assert (np.diff(frames) == 1).all()
        assert len(frames) == 16


@pytest.mark.parametrize(
    ("name", "sources", "memory"),
    [
        ("cddb-easy", "gaugan biggan cyclegan imle deepfake crn wild", 1500),
        ("cddb-hard", "gaugan biggan wild whichfaceisreal san", 1000),
        (
            "cddb-long",
            "gaugan biggan cyclegan imle deepfake crn wild glow stargan_gf stylegan whichfaceisreal san",
            1500,
        ),
    ],
)
def test_cddb_has_the_pictures_of_one_source_per_experience_reals_too(
    name: str, sources: str, memory: int, load_protocol: Callable[..., Stream]
) -> None:
    stream = load_protocol(name)
    found = [set(stream.samples.video[e.rows["train"]]) for e in stream.experiences]
    assert [{video.split("/")[0] for video in each} for each in found] == [{source} for source in sources.split()]
    assert set(map(str, shape(stream).values())) == {str({"train": (3, 3), "val": (0, 0), "test": (3, 3)})}
    assert (stream.metric, stream.budget.memory) == ("accuracy", memory)


def test_sur_lid_p1_starts_with_stable_diffusion_and_ends_by_person(load_protocol: Callable[..., Stream]) -> None:
    stream = load_protocol("sur-lid-p1")
    assert [e.name for e in stream.experiences] == ["SDv21", "FF++", "DFDCP", "CDF2"]
    assert [fakes(stream, e) for e in stream.experiences[:2]] == [{"sd2.1"}, FOUR]
    found = shape(stream)
    assert found["SDv21"] == {"train": (4, 4), "val": (2, 2), "test": (2, 2)}
    assert found["FF++"] == {"train": (4, 16), "val": (2, 8), "test": (2, 8)}
    assert found["DFDCP"] == {"train": (3, 3), "val": (0, 0), "test": (2, 2)}
    assert found["CDF2"] == {split: (3 + youtube(split), 6) for split in ("train", "val", "test")}
    assert (stream.metric, stream.budget.memory_per_experience, stream.allowed_leaks) == ("auc", 500, ())


def test_sur_lid_p2_goes_from_the_hybrid_to_three_methods(load_protocol: Callable[..., Stream]) -> None:
    stream = load_protocol("sur-lid-p2")
    assert [(e.name, fakes(stream, e)) for e in stream.experiences] == [
        ("Hybrid", FOUR), ("MCNet", {"mcnet"}), ("BlendFace", {"blendface"}), ("StyleGAN3", {"StyleGAN3"}),
    ]  # fmt: skip
    assert [shape(stream)[name]["test"] for name in ("Hybrid", "MCNet", "StyleGAN3")] == [(2, 8), (2, 2), (2, 2)]


def test_video_6_limits_new_sources_to_200_videos_of_each_class(load_protocol: Callable[..., Stream]) -> None:
    stream = load_protocol("video-6")
    assert [e.name for e in stream.experiences] == ["FF++", "DFD", "CDF2", "DFDCP", "FFIW", "KoDF"]
    _, entries = read_stream_file(packaged()["video-6"])
    assert [entry.videos for entry in entries] == [None, 200, 200, 200, 200, 200]
    found = shape(stream)
    assert found["FFIW"] == dict.fromkeys(("train", "val", "test"), (3, 3))
    assert found["KoDF"] == dict.fromkeys(("train", "val", "test"), (6, 6))
    assert (stream.metric, stream.budget.memory) == ("video_auc", 3200)


def test_deepfakebench_trains_once_and_tests_what_it_never_saw(load_protocol: Callable[..., Stream]) -> None:
    stream = load_protocol("deepfakebench")
    assert [(e.name, fakes(stream, e)) for e in stream.experiences] == [("c23", FOUR)]
    assert stream.unseen is not None
    assert [e.name for e in stream.unseen.experiences] == ["c40", "CDFv1", "CDFv2", "DFD", "DFDC", "DFDCP"]
    assert {videos(stream.unseen, e, "train") for e in stream.unseen.experiences} == {(0, 0)}
    assert {e.name: videos(stream.unseen, e, "test") for e in stream.unseen.experiences} == {
        "c40": (2, 8), "CDFv1": (4, 3), "CDFv2": (4, 3), "DFD": (2, 2), "DFDC": (2, 2), "DFDCP": (2, 2),
    }  # fmt: skip
    assert stream.allowed_leaks == ()


def test_a_set_that_only_tests_may_have_people_in_two_splits_of_its_own(load_protocol: Callable[..., Stream]) -> None:
    """The official list of Celeb-DF has: training on both parts is refused, testing on one is not."""
    load_protocol("deepfakebench")
    folder = load_protocol.folder / "deepfakebench-celeb-df-v2"  # type: ignore[attr-defined]
    assert "identities across splits" in [check.name for check in unfit(audit_of(folder))]
    text = f"name: s\nexperiences: [{{name: a, source: prepared, root: {folder}}}]\n"
    (folder.parent / "s.yaml").write_text(text)
    with pytest.raises(DataError, match=r"fails its audit .*identities across splits.* --allow-leaks"):
        load_stream(str(folder.parent / "s.yaml"), sources={"prepared": PreparedSource})


def test_missing_sets_are_one_line_with_the_commands_that_make_them(tmp_path: Path) -> None:
    options: dict[str, Any] = {"sources": {"prepared": PreparedSource}, "benchmarks": packaged()}
    with pytest.raises(DataError) as caught:
        load_stream("dfil", data_root=tmp_path, **options)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert f"4 prepared sets are missing in {tmp_path}: ffpp, dfdc-preview, dfd, celeb-df-v2;" in text
    assert (
        f"dfbench data prepare dfd --root FOLDER --out {tmp_path}/dfd --option compression=c23 "
        "--option splits=identity;" in text
    )
    with pytest.raises(UsageError, match=r"set DFBENCH_DATA, or give --data-root.* --out \$DFBENCH_DATA/ffpp"):
        load_stream("dfil", **options)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_commands_that_make_a_set_say_what_the_file_describes(name: str, tmp_path: Path) -> None:
    path = packaged()[name]
    spec, entries = read_stream_file(path)
    needed = needed_sets(spec.sets, [*entries, *unseen_sets(path, spec)], tmp_path)
    assert [each.name for each in needed] == list(spec.sets)
    for each in needed:
        words = shlex.split(each.command)
        settings = [words[i + 1] for i, word in enumerate(words) if word == "--option"]
        from dfbench.data.prepare.opening import options_of

        assert options_of(settings) == spec.sets[each.name].options
        assert ("--clip" in words) == bool(spec.sets[each.name].clip)


def test_a_set_of_other_data_is_refused_and_one_of_fewer_frames_is_noted(
    roots: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "s.yaml").write_text(
        "name: s\nsets: {ffpp: {source: ffpp, options: {compression: c40}}}\n"
        "experiences: [{name: a, source: prepared, set: ffpp}]\n"
    )
    items = data_set("ffpp").items(roots("ffpp"), methods=["Deepfakes"])
    made = Options(source="ffpp", source_options={"methods": ["Deepfakes"]}, frames=2, size=32)
    prepare(items, tmp_path / "ffpp", made, CENTRE, workers=0)
    sources = {"prepared": PreparedSource}
    with pytest.raises(DataError, match=r"ffpp was made with compression=c23, not c40: .* --option compression=c40"):
        load_stream(str(tmp_path / "s.yaml"), sources=sources, data_root=tmp_path)
    (tmp_path / "s.yaml").write_text((tmp_path / "s.yaml").read_text().replace("c40", "c23"))
    stream = load_stream(str(tmp_path / "s.yaml"), sources=sources, data_root=tmp_path)
    assert stream.notes[0] == (
        "ffpp was prepared with methods ['Deepfakes'] instead of None, frames 2 instead of 32, size 32 instead of 256"
    )
    (tmp_path / "s.yaml").write_text((tmp_path / "s.yaml").read_text().replace("source: ffpp", "source: dfd"))
    with pytest.raises(DataError, match="was made from the data set 'ffpp', not 'dfd'"):
        load_stream(str(tmp_path / "s.yaml"), sources=sources, data_root=tmp_path)

"""``dfbench data prepare``, and a benchmark of what it made."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfbench.records.record import Record
from tests.conftest import dfbench
from tests.data.prepare.films import forged, moving, write_video


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of two people for training and two for testing, each real and forged."""
    root = tmp_path_factory.mktemp("videos")
    for number in range(4):
        split, frames = ("train", "train", "test", "test")[number], moving(number, 12)
        write_video(root / f"{split}/real/v{number}.mp4", frames)
        write_video(root / f"{split}/fake/Swap/v{number}.mp4", forged(frames))
    (root / "test/real/broken.mp4").write_bytes(b"x" * 100)
    return root


def test_from_videos_to_a_trained_detector(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    command = ["data", "prepare", "videos", "--root", videos, "--out", out, "--frames", 4, "--size", 32]
    done = dfbench(*command, "--faces", "centre", "--json")
    assert done.code == 0, done.err
    assert {k: done.json[k] for k in ("videos", "failed", "crops", "methods")} == {
        "videos": 9, "failed": 1, "crops": 32, "methods": {"Swap": 4, "real": 4},
    }  # fmt: skip
    assert list(done.json["errors"]) == ["test/real/broken"]
    (tmp_path / "s.yaml").write_text(
        "name: s\nmemory: 8\ndefaults: {source: prepared, root: set}\nexperiences:\n"
        "  - {name: swaps, methods: [Swap]}\n"
    )
    run = dfbench("eval", "-d", "simple_cnn", "-s", "naive", "-b", tmp_path / "s.yaml", "--set", "epochs=1", "--device",
                  "cpu", "--out", tmp_path / "runs", "--json", DFBENCH_CACHE_GB="0")  # fmt: skip
    assert run.code == 0, run.err
    assert "1 videos without a crop" in run.err
    again = dfbench(*command, "--faces", "centre")
    assert again.code == 0
    assert "finished before" in again.err
    assert "8 of 9 videos, 32 crops (100.0% of the chosen frames)" in again.out
    other = dfbench(*command, "--faces", "centre", "--quality", 50)
    assert (other.code, other.out) == (3, "")
    assert "quality 95, now 50" in other.err


def test_without_facenet_pytorch_it_is_said_how_to_get_it(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "facenet_pytorch.py").write_text("raise ImportError('not installed')")
    done = dfbench("data", "prepare", "videos", "--root", videos, "--out", tmp_path / "set", python_path=(tmp_path,))
    assert done.code == 2
    assert "pip install 'dfbench-deepfake[faces]'" in done.err
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["videoss"], 2, "did you mean 'videos'"),
        (["videos", "--option", "manifst=a.csv"], 2, "did you mean 'manifest'"),
        (["videos", "--option", "manifest"], 2, "KEY=VALUE"),
        (["videos", "--faces", "mtcn"], 2, "did you mean 'mtcnn'"),
        (["videos", "--faces", "yunet"], 2, "needs its file"),
        (["videos", "--clip", "1", "--faces", "centre"], 2, "at least two frames"),
        (["videos", "--root", "nowhere"], 3, "does not exist"),
        (["videos", "--root", "."], 3, "train,val,test"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_written(
    arguments: list[str], code: int, message: str, videos: Path, tmp_path: Path
) -> None:
    root = [] if "--root" in arguments else ["--root", str(videos)]
    done = dfbench("data", "prepare", *arguments, *root, "--out", "set", cwd=tmp_path)
    assert done.code == code, done.err
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_leaks_are_refused_in_one_line_and_allowed_ones_stay_on_the_record(videos: Path, tmp_path: Path) -> None:
    lines = ["path,label,split,identity,pair"]
    for number in range(4):
        split, person = ("train", "train", "test", "test")[number], f"person{number % 2}"
        real = f"{split}/real/v{number}"
        lines += [f"{real}.mp4,real,{split},{person},", f"{split}/fake/Swap/v{number}.mp4,fake,{split},{person},{real}"]
    (videos / "people.csv").write_text("\n".join(lines) + "\n")
    made = dfbench("data", "prepare", "videos", "--root", videos, "--out", tmp_path / "set", "--frames", 4, "--size",
                   32, "--faces", "centre", "--option", "manifest=people.csv", "--workers", 0)  # fmt: skip
    assert made.code == 0, made.err
    assert "audit: identities across splits: 2 people in several splits, as person0 (test and train)" in made.err
    assert "audit failed (identities across splits): benchmarks refuse the set, unless --allow-leaks" in made.err
    (tmp_path / "s.yaml").write_text(
        "name: s\nmetric: video_auc\nmemory: 8\nexperiences: [{name: swaps, source: prepared, root: set}]\n"
    )
    words = ["eval", "-d", "simple_cnn", "-s", "naive", "-b", tmp_path / "s.yaml", "--set", "epochs=1", "--device",
             "cpu", "--out", tmp_path / "runs", "--json"]  # fmt: skip
    refused = dfbench(*words)
    assert refused.code == 3
    assert "set fails its audit (identities across splits" in refused.err.splitlines()[-1]
    assert not (tmp_path / "runs").exists()
    run = dfbench(*words, "--allow-leaks")
    assert run.code == 0, run.err
    assert "allowed: set: identities across splits: 2 people in several splits" in run.err
    record = Record.read(Path(run.json["record"]))
    assert record.headline == "video_auc"
    assert record.data.allowed_leaks == [
        "set: identities across splits: 2 people in several splits",
        "set: 2 identities occur in more than one split: 'person0' (test and train), 'person1' (test and train)",
    ]
    audited = dfbench("data", "audit", "prepared", "--root", tmp_path / "set", "--json")
    assert audited.code == 3
    assert [check["name"] for check in audited.json["checks"] if check["status"] == "failed"] == [
        "identities across splits"
    ]

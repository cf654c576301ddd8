"""A whole preparation: what is on disk at the end, whatever happens on the way."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from datasets import load_dataset, load_from_disk

from dfbench.data.prepare.item import Item
from dfbench.data.prepare.run import Prepared
from dfbench.data.prepare.shards import open_shard
from dfbench.data.prepare.sources.videos import Videos
from dfbench.errors import DataError, DfbenchError
from tests.data.prepare.conftest import crop, fake, real
from tests.data.prepare.films import GREY, face, forged, moving, scene, write_sound, write_video

ROOT = Path(__file__).parents[3]


def rows_of(folder: Path) -> list[dict[str, Any]]:
    meta = json.loads((folder / "prepared.json").read_text())
    return pa.concat_tables([open_shard(folder / name) for name in meta["files"]]).to_pylist()


def by_video(folder: Path) -> dict[str, list[dict[str, Any]]]:
    result: dict[str, list[dict[str, Any]]] = {}
    for row in rows_of(folder):
        result.setdefault(row["video"], []).append(row)
    return result


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_prepared_set_is_an_ordinary_hugging_face_set(prepared: Prepared) -> None:
    found = load_from_disk(str(prepared.folder))
    assert {split: len(rows) for split, rows in found.items()} == {"train": 24, "test": 12}
    first = found["test"][0]
    assert (first["video"], first["label"], first["identity"], first["source"]) == ("r2", 0, "person2", "films")
    assert (first["image"].size, first["image"].mode) == ((64, 64), "RGB")
    assert found["train"].filter(lambda row: row["method"] == "Swap", keep_in_memory=True).num_rows == 12


def test_a_prepared_set_streams(prepared: Prepared) -> None:
    files = {split: f"{prepared.folder}/{split}/*.arrow" for split in ("train", "test")}
    streamed = load_dataset("arrow", data_files=files, streaming=True)
    assert [row["image"].size for row in streamed["test"].take(2)] == [(64, 64)] * 2
    assert sum(1 for _ in streamed["train"]) == 24


def test_frames_are_spread_and_rows_say_what_they_are(prepared: Prepared) -> None:
    videos = by_video(prepared.folder)
    assert [row["frame"] for row in videos["r0"]] == [2, 6, 10, 14, 18, 22]
    assert videos["f0"][1] | {"image": None, "sha256": ""} == {
        "sample": "f0/000006", "label": 1, "source": "films", "method": "Swap", "identity": "", "video": "f0",
        "frame": 6,
        "pair": "r0/000006", "split": "train", "sha256": "", "x": videos["r0"][1]["x"], "y": videos["r0"][1]["y"],
        "side": videos["r0"][1]["side"], "image": None,
    }  # fmt: skip
    for row in videos["f0"]:
        assert hashlib.sha256(row["image"]["bytes"]).hexdigest() == row["sha256"]


def test_a_real_and_its_fakes_share_their_boxes_to_the_pixel_and_differ_where_they_were_forged(
    prepared: Prepared,
) -> None:
    from dfbench.data.pictures import decode_picture

    videos = by_video(prepared.folder)
    for number in range(3):
        pair = list(zip(videos[f"r{number}"], videos[f"f{number}"], strict=True))
        assert len(pair) == 6
        for one, other in pair:
            assert [one[k] for k in ("frame", "pair", "x", "y", "side")] == [
                other[k] for k in ("frame", "pair", "x", "y", "side")
            ]
            a, b = (decode_picture(row["image"]["bytes"], "").astype(int) for row in (one, other))
            assert np.abs(a - b)[20:44, 20:44].mean() > 15
            assert np.abs(a - b)[:10].mean() < 4


def test_crops_hold_the_face_with_its_margin(prepared: Prepared) -> None:
    for row in rows_of(prepared.folder):
        assert 96 <= row["side"] <= 112  # 80 pixels of face × 1.3
        assert 8 <= row["y"] + row["side"] / 2 - 40 <= 24 or row["y"] == 0


def test_the_same_input_gives_the_same_bytes_with_any_number_of_processes(
    films: list[Item], prepared: Prepared, tmp_path: Path
) -> None:
    again = crop(list(reversed(films)), tmp_path / "again", workers=2)
    assert again.digest == prepared.digest
    assert contents(tmp_path / "again") == contents(prepared.folder)


SCRIPT = """
import sys
from pathlib import Path
from dfbench.data.prepare.sources.videos import Videos
from tests.data.prepare.conftest import crop
if __name__ == "__main__":
    root, out = map(Path, sys.argv[1:])
    print(crop(Videos().items(root), out, workers=1).digest)
"""


def start(tmp_path: Path, root: Path, out: Path, **more: Any) -> subprocess.Popen[str]:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    paths = os.pathsep.join([str(ROOT), str(ROOT / "plugins"), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, str(script), str(root), str(out)], env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more,
    )  # fmt: skip


def killed(tmp_path: Path, root: Path, out: Path, wanted: Sequence[int]) -> int:
    """Start a preparation again and again, and kill it when so many videos are done; how often it was killed."""
    parts, kills = out / ".work/parts", 0
    for count in wanted:
        process = start(tmp_path, root, out)
        while not (parts.is_dir() and len(list(parts.glob("*.arrow"))) >= count):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.01)
                break
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
    return kills


def write_tree(root: Path, count: int) -> Path:
    for number in range(count):
        write_video(root / f"train/{('real', 'fake')[number % 2]}/v{number}.mp4", moving(number, 16))
    return root


def check_goes_on(tmp_path: Path, root: Path, out: Path) -> None:
    """The same command finishes what was killed, with the bytes of a preparation that was not disturbed."""
    assert not (out / "prepared.json").exists()
    printed, errors = start(tmp_path, root, out).communicate()
    whole, _ = start(tmp_path, root, tmp_path / "whole").communicate()
    assert printed == whole != "", errors
    assert contents(out) == contents(tmp_path / "whole")


def test_killed_again_and_again_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    root, out = write_tree(tmp_path / "videos", 10), tmp_path / "out"
    assert killed(tmp_path, root, out, (1, 2, 4)) >= 2  # early, so that a busy machine cannot finish before the last
    with pytest.raises(DataError, match=r"begun with other options or data \(quality 95, now 50\)"):
        crop(Videos().items(root), out, quality=50)
    check_goes_on(tmp_path, root, out)


@pytest.mark.slow
def test_killed_ten_times_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    root, out = write_tree(tmp_path / "videos", 24), tmp_path / "out"
    assert killed(tmp_path, root, out, range(1, 21, 2)) == 10
    check_goes_on(tmp_path, root, out)


def test_a_second_process_in_the_folder_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    root, out = write_tree(tmp_path / "videos", 8), tmp_path / "out"
    first = start(tmp_path, root, out)
    while not (out / ".work/options.json").is_file():
        assert first.poll() is None
    first.send_signal(signal.SIGSTOP)  # so that it is not done before the second has looked
    _, errors = start(tmp_path, root, out).communicate()
    first.send_signal(signal.SIGCONT)
    printed, _ = first.communicate()
    assert "another process is preparing a set in" in errors
    assert len(printed.strip()) == 64


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(films: list[Item], tmp_path: Path) -> None:
    root = tmp_path / "videos"
    for number in range(2):
        write_video(root / f"train/real/v{number}.mp4", moving(number, 16))
    process = start(
        tmp_path, root, tmp_path / "out", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))
    )
    _, errors = process.communicate()
    assert "StorageError: cannot write" in errors
    assert "it goes on where it stopped" in errors
    printed, _ = start(tmp_path, root, tmp_path / "out").communicate()
    assert len(printed.strip()) == 64


def test_other_options_or_other_videos_are_refused_with_the_difference(
    films: list[Item], prepared: Prepared, tmp_path: Path
) -> None:
    before = contents(prepared.folder)
    with pytest.raises(DataError, match=r"size 64, now 32"):
        crop(films, prepared.folder, size=32)
    with pytest.raises(DataError, match=r"videos 6, now 4"):
        crop(films[:4], prepared.folder)
    assert contents(prepared.folder) == before
    assert not crop(films, prepared.folder).fresh
    assert contents(prepared.folder) == before


def test_a_folder_with_something_else_in_it_is_refused_and_left_alone(films: list[Item], tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(DataError, match=r"not empty \(mine.txt\)"):
        crop(films, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_two_preparations_in_one_folder_lock_each_other_out(films: list[Item], tmp_path: Path) -> None:
    from filelock import FileLock

    (tmp_path / ".work").mkdir()
    with FileLock(tmp_path / ".work/lock"), pytest.raises(DfbenchError, match="another process"):
        crop(films, tmp_path)


def test_bad_videos_are_lines_of_the_report_and_the_good_ones_are_cropped(films: list[Item], tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.mp4"
    garbage.write_bytes(b"x" * 999)
    link = tmp_path / "link.mp4"
    link.symlink_to(tmp_path / "nowhere")
    good = films[0]
    items = [
        good,
        fake(garbage, "garbage", "r0"),
        real(write_sound(tmp_path / "sound.mp4"), "sound"),
        real(write_video(tmp_path / "empty.mp4", [scene()] * 12), "no face"),
        real(link, "link"),
        real(tmp_path / "missing.mp4", "missing"),
        real(write_video(tmp_path / "видео.mkv", moving(3)), "видео " + "ü" * 300),
    ]
    done = crop(items, tmp_path / "out")
    errors = {line["video"]: line["error"] for line in done.lines}
    assert errors.pop("r0") == errors.pop("видео " + "ü" * 300) == ""
    assert errors == {
        "garbage": "not a readable video (Invalid data found when processing input)",
        "sound": "no video stream (audio only)",
        "no face": "no face was found",
        "link": "the link leads nowhere",
        "missing": "there is no such file",
    }
    report = (tmp_path / "out/report.csv").read_text()
    assert report.count("\n") == 8
    assert set(by_video(tmp_path / "out")) == {"r0", "видео " + "ü" * 300}


def test_a_fake_whose_real_is_missing_or_has_another_size_is_cropped_by_its_own_faces(
    films: list[Item], tmp_path: Path
) -> None:
    large = [np.kron(frame, np.ones((2, 2, 1), np.uint8)) for frame in moving(0)]
    items = [
        films[0],
        fake(write_video(tmp_path / "large.mp4", large), "large", "r0"),
        fake(write_video(tmp_path / "alone.mp4", moving(1)), "alone", "lost"),
    ]
    done = crop(items, tmp_path / "out")
    videos = by_video(tmp_path / "out")
    assert {name: len(rows) for name, rows in videos.items()} == {"r0": 6, "large": 6, "alone": 6}
    assert {row["pair"] for row in videos["large"]} == {""}
    assert videos["large"][0]["side"] in range(2 * 96, 2 * 112)
    assert any("not aligned with its real" in line["note"] for line in done.lines)


def two_faces(count: int = 24) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """A real with a large and a small face, and a fake whose small one was forged."""
    large, small = face(0, 90), face(1, 48)
    changed = forged([scene((small, 0, 0), size=(48, 48))])[0]
    reals = [scene((large, 4, 20 + i % 4), (small, 130, 50)) for i in range(count)]
    return reals, [scene((large, 4, 20 + i % 4), (changed, 130, 50)) for i in range(count)]


def test_of_several_faces_the_one_that_differs_from_the_real_is_cropped_though_it_is_smaller(tmp_path: Path) -> None:
    reals, fakes = two_faces()
    items = [real(write_video(tmp_path / "r.mp4", reals), "r"), fake(write_video(tmp_path / "f.mp4", fakes), "f", "r")]
    done = crop(items, tmp_path / "out")
    assert {(row["x"], row["side"]) for row in rows_of(tmp_path / "out")} == {(123, 62)}
    assert "differs between fake and real" in done.lines[0]["note"]


def test_of_several_faces_the_one_in_the_mask_is_cropped(tmp_path: Path) -> None:
    _, fakes = two_faces()
    white = np.full((40, 40, 3), 255, np.uint8)
    black = [np.zeros((144, 192, 3), np.uint8) for _ in fakes]
    for frame in black:
        frame[54:94, 134:174] = white
    mask = write_video(tmp_path / "mask.mp4", black)
    items = [fake(write_video(tmp_path / "f.mp4", fakes), "f", mask=mask)]
    assert "the masks show" in crop(items, tmp_path / "out").lines[0]["note"]
    assert {row["x"] for row in rows_of(tmp_path / "out")} == {123}


def test_without_a_hint_the_largest_face_is_cropped(tmp_path: Path) -> None:
    reals, _ = two_faces()
    crop([real(write_video(tmp_path / "r.mp4", reals), "r")], tmp_path / "out")
    (side,) = {row["side"] for row in rows_of(tmp_path / "out")}
    assert 112 <= side <= 126  # 90 pixels of face × 1.3


def test_a_clip_is_consecutive_frames_with_one_box(films: list[Item], tmp_path: Path) -> None:
    crop(films[:2], tmp_path / "out", frames=8, clip=4)
    for rows in by_video(tmp_path / "out").values():
        assert [row["frame"] for row in rows] == [4, 5, 6, 7, 16, 17, 18, 19]
        assert len({(row["x"], row["y"], row["side"]) for row in rows[:4]}) == 1
        assert rows[0]["x"] != rows[4]["x"]


def test_a_clip_whose_face_leaves_is_left_out_whole(tmp_path: Path) -> None:
    frames = [*moving(0, 14), *[scene()] * 4, *moving(0, 10)]
    crop([real(write_video(tmp_path / "v.mp4", frames, gop=4), "v")], tmp_path / "out", frames=28, clip=4)
    assert [row["frame"] for row in rows_of(tmp_path / "out")] == [*range(12), *range(20, 28)]


def test_pictures_and_folders_of_frames_are_taken_as_they_are(tmp_path: Path) -> None:
    from PIL import Image

    for number, frame in enumerate(moving(0, 12)):
        path = tmp_path / f"frames/frame{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(frame).save(path)
    Image.fromarray(face(1, 100)).save(tmp_path / "crop.png")
    items = [
        real(tmp_path / "frames", "frames", kind="frames"),
        fake(tmp_path / "crop.png", "crop", kind="picture", cropped=True),
    ]
    crop(items, tmp_path / "out")
    videos = by_video(tmp_path / "out")
    assert [row["frame"] for row in videos["frames"]] == [1, 3, 5, 7, 9, 11]
    assert [(row["x"], row["y"], row["side"]) for row in videos["crop"]] == [(0, 0, 100)]


def test_when_no_video_has_a_crop_the_reason_is_given(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", [np.full((64, 64, 3), GREY, np.uint8)] * 8)
    with pytest.raises(DataError, match=r"no video has a crop.*no face was found"):
        crop([real(path, "v")], tmp_path / "out")


class Deadly:
    """A detector that kills its process when it sees a bright frame, as a decoder may with a hostile file."""

    sizes = (192,)
    version = "1"

    def __init__(self, model: Path | None, device: str) -> None:
        pass

    def detect(self, frames: np.ndarray) -> list[np.ndarray]:
        """Boxes, or the end."""
        if frames.mean() > 200:
            os.kill(os.getpid(), signal.SIGKILL)
        return [np.array([[10, 10, 60, 60, 1.0]])] * len(frames)


def test_a_video_that_kills_the_process_is_given_up_and_the_others_are_cropped(
    films: list[Item], tmp_path: Path
) -> None:
    from dfbench.data.prepare.jobs import DetectorChoice
    from dfbench.data.prepare.options import Options
    from dfbench.data.prepare.run import prepare

    bright = write_video(tmp_path / "bright.mp4", [np.full((144, 192, 3), 250, np.uint8)] * 8)
    items = [films[0], real(bright, "bright"), films[2]]
    deadly = DetectorChoice("tests.data.prepare.test_run:Deadly", None, "cpu")
    done = prepare(items, tmp_path / "out", Options(source="films", frames=2, size=32), deadly, workers=1)
    assert {line["video"]: bool(line["error"]) for line in done.lines} == {"r0": False, "r1": False, "bright": True}
    assert "process that read it died" in next(line["error"] for line in done.lines if line["error"])

"""A video's frames by number."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from dfbench.data.prepare.decoding import Video
from dfbench.data.prepare.media import MediaError
from tests.data.prepare.films import moving, write_sound, write_video


def everything(path: Path) -> list[np.ndarray]:
    """Every frame, decoded one after another by the plain decoder."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("b-frames.mp4", {}),
        ("one-key-frame.mp4", {"gop": 1000}),
        ("open-gop.mp4", {"options": {"x264-params": "open-gop=1:bframes=3:b-pyramid=2"}}),
        ("matroska.mkv", {}),
        ("stream.ts", {}),
        ("old.avi", {"codec": "mpeg4"}),
        ("444.mp4", {"pixel_format": "yuv444p"}),
        ("10-bit.mp4", {"pixel_format": "yuv420p10le"}),
        ("vp9.webm", {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime"}}),
        ("unsteady.mp4", {"times": [i * 40 + (i % 3) * 11 + (i > 20) * 3000 for i in range(40)]}),
    ],
)
def test_frames_are_those_of_a_decoder_that_leaves_out_nothing(name: str, settings: dict, tmp_path: Path) -> None:
    path = write_video(tmp_path / name, moving(0, 40), **settings)
    whole = everything(path)
    video = Video(path)
    assert video.facts.frames == len(whole) == 40
    for numbers in ([0], [39], [3, 4, 5, 30], list(range(40)), [12, 13, 24, 36]):
        found = dict(video.frames(numbers))
        assert list(found) == numbers
        for number, frame in found.items():
            assert np.array_equal(frame.pixels(), whole[number])


def test_what_lies_between_key_frames_that_are_not_needed_is_not_decoded(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving(0, 120), gop=10)
    before = {number: frame.pixels() for number, frame in Video(path).frames([5, 95])}
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size, p.pts / p.duration) for p in container.demux(video=0) if p.size]
    content = bytearray(path.read_bytes())
    for position, size, number in packets:
        if 20 <= number < 85:
            content[position + 5 : position + size] = bytes(size - 5)  # would ruin what is decoded from it
    path.write_bytes(content)
    with pytest.raises(av.error.InvalidDataError):
        everything(path)
    after = {number: frame.pixels() for number, frame in Video(path).frames([5, 95])}
    assert all(np.array_equal(before[number], after[number]) for number in (5, 95))


def test_a_rotated_video_is_upright(tmp_path: Path) -> None:
    frames = moving(0, 4)
    plain = Video(write_video(tmp_path / "plain.mp4", frames))
    turned = Video(write_video(tmp_path / "turned.mp4", [np.rot90(f, -1).copy() for f in frames], rotation=90))
    assert (turned.facts.width, turned.facts.height) == (plain.facts.width, plain.facts.height) == (192, 144)
    one, other = (next(iter(video.frames([2])))[1].pixels() for video in (plain, turned))
    assert other.shape == (144, 192, 3)
    assert difference(one, other) < 4
    small = next(iter(turned.frames([2])))[1].pixels(96, 72)
    assert small.shape == (72, 96, 3)


def test_a_truncated_file_gives_the_frames_that_are_there(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving(0, 60), container={"movflags": "faststart"})
    whole = everything(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    video = Video(path)
    assert 10 < video.facts.frames < 59
    assert f"truncated: {video.facts.frames} of 60 frames" in video.facts.note
    assert np.array_equal(dict(video.frames([8]))[8].pixels(), whole[8])


def test_a_stream_that_changes_its_size_gives_the_frames_of_the_first_size(tmp_path: Path) -> None:
    one = write_video(tmp_path / "one.ts", moving(0, 20))
    two = write_video(tmp_path / "two.ts", moving(0, 20, size=(256, 192)))
    both = tmp_path / "both.ts"
    both.write_bytes(one.read_bytes() + two.read_bytes())
    shapes = {frame.pixels().shape for _, frame in Video(both).frames(list(range(Video(both).facts.frames)))}
    assert shapes == {(144, 192, 3)}


def garbage(path: Path) -> Path:
    path.write_bytes(b"no video" * 100)
    return path


def headless(path: Path) -> Path:
    write_video(path, moving(0, 30))
    path.write_bytes(path.read_bytes()[:4000])  # the index is at the end
    return path


def empty(path: Path) -> Path:
    path.touch()
    return path


def without_frames(path: Path) -> Path:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        file.mux(stream.encode(None))
    return path


def of_an_unknown_kind(path: Path) -> Path:
    film = write_video(path.with_suffix(".avi"), moving(0, 4), codec="mjpeg", pixel_format="yuvj420p")
    path.write_bytes(film.read_bytes().replace(b"MJPG", b"ZZZZ"))
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (of_an_unknown_kind, "kind that FFmpeg cannot decode"),
        (garbage, "not a readable video"),
        (headless, "not a readable video"),
        (empty, "not a readable video"),
        (write_sound, "audio only"),
        (without_frames, "no frames|not a readable video|no video stream"),
        (lambda path: path.mkdir() or path, "not a readable video|cannot be read"),
    ],
)
def test_what_is_no_video_is_named(make, message: str, tmp_path: Path) -> None:
    path = make(tmp_path / "bad.mp4")
    with pytest.raises(MediaError, match=message):
        Video(path)

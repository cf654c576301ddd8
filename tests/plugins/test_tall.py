"""TALL: the layout, the mask, the schedule, and which clips it asks for."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import pytest
import timm
import torch
import torch.nn.functional as F
from dfbench_tall.detector import Tall, TallConfig, masked, thumbnail
from torch import nn

import dfbench
from dfbench import Batch, Record, Task
from dfbench.testing import DetectorContract, write_stream
from tests.cli.harness import run_cli, the_error

TINY: dict[str, Any] = {"network": "test_resnet", "pretrained": False, "image_size": 32, "mask": 4, "drop_path": 0}


class TestTall(DetectorContract):
    detector = "tall"
    preset = "lite"
    settings: ClassVar = {**TINY, "batch_size": 8, "lr": 3e-3, "epochs": 3}
    strategies: ClassVar = ("naive", "gem", "cwr_star")
    frames = 8


def made(**options: Any) -> tuple[Tall, Any]:
    detector = Tall(TallConfig(**{**TINY, **options}), Task())
    torch.manual_seed(0)
    return detector, detector.build().eval()


def batch(side: int = 16, count: int = 4, frames: int = 4) -> Batch:
    zeros = torch.zeros(count, dtype=torch.int64)
    pixels = torch.randint(0, 256, (count, frames, side, side, 3), dtype=torch.uint8)
    return Batch(pixels, torch.arange(count) % 2, zeros, zeros)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_frames_are_laid_out_row_by_row(rows: int) -> None:
    x = torch.randn(2, rows * rows, 3, 5, 7)
    found = thumbnail(x, rows)
    assert found.shape == (2, 3, rows * 5, rows * 7)
    for t in range(rows * rows):
        top, left = 5 * (t // rows), 7 * (t % rows)
        assert torch.equal(found[:, :, top : top + 5, left : left + 7], x[:, t])


def test_a_block_is_masked_at_one_place_of_all_frames_of_a_clip() -> None:
    torch.manual_seed(0)
    x = torch.ones(300, 4, 3, 12, 10)
    gone = masked(x, 4) == 0
    assert (gone == gone[:, :1, :1]).all()  # in all frames and colours
    rows, columns = gone[:, 0, 0].any(2).sum(1), gone[:, 0, 0].any(1).sum(1)
    assert torch.equal(gone[:, 0, 0].sum((1, 2)), rows * columns)  # a rectangle
    # The centre is any pixel: the first two rows cut the block to 2 and 3 rows, the last one to 3.
    assert torch.bincount(rows).tolist()[:2] == [0, 0]
    assert set(rows.tolist()) == {2, 3, 4} == set(columns.tolist())
    assert float((rows == 4).float().mean()) == pytest.approx(9 / 12, abs=0.08)
    assert len(gone[:, 0, 0].flatten(1).unique(dim=0)) > 60  # of 120 places; each clip has its own
    assert torch.equal(masked(x, 0), x)


def test_the_network_sees_the_normalised_thumbnail_and_training_masks_it() -> None:
    detector, model = made(flip=0)
    given = batch()
    cfg = timm.get_pretrained_cfg("test_resnet")
    assert cfg is not None
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (cfg.mean, cfg.std))
    x = (given.pixels.movedim(-1, 2) / 255 - mean) / std
    upper = torch.cat([x[:, 0], x[:, 1]], dim=3)
    expected = torch.cat([upper, torch.cat([x[:, 2], x[:, 3]], dim=3)], dim=2)
    assert torch.allclose(detector.inputs(given, False), expected, atol=1e-5)
    with torch.no_grad():
        assert torch.allclose(detector.predict(model, given), torch.softmax(model(expected), 1), atol=1e-5)
        smooth = torch.full((4, 2), 0.05) + 0.9 * F.one_hot(given.labels, 2)
        by_hand = -(smooth * torch.log_softmax(model(expected), 1)).sum(1).mean()
        assert float(detector.loss(model, given)) == pytest.approx(float(by_hand), rel=1e-4)
    training = detector.inputs(given, True)
    changed = (training != detector.inputs(given, False)).any(1)
    assert (training.movedim(1, -1)[changed] == 0).all()
    quarters = changed.unflatten(2, (2, 16)).unflatten(1, (2, 16)).movedim(3, 2).flatten(1, 2)  # (N, 4, 16, 16)
    assert (quarters == quarters[:, :1]).all()
    assert quarters.any(dim=(1, 2, 3)).all()


def test_a_clip_is_flipped_as_a_whole() -> None:
    detector, _ = made(flip=1, mask=0)
    given = batch()
    mirrored = Batch(given.pixels.flip(3), given.labels, given.units, given.experience)
    assert torch.allclose(detector.inputs(given, True), detector.inputs(mirrored, False))


def test_the_rate_rises_for_a_sixth_of_the_steps_and_falls_as_a_cosine() -> None:
    detector, _ = made(lr=1.0)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    (schedule,) = detector.schedulers(optimizer, 60)
    rates = []
    for _ in range(60):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    expected = [0.001, 0.001 + 0.999 / 2, 1.0, 0.01 + 0.99 / 2, 0.01 + 0.99 * (1 + math.cos(math.pi * 49 / 50)) / 2]
    assert [rates[i] for i in (0, 5, 10, 35, 59)] == pytest.approx(expected)
    assert made(schedule="constant")[0].schedulers(optimizer, 60) == []


def test_the_paper_s_swin_has_windows_of_14_patches() -> None:
    """14, 14, 14 and, where 7 × 7 patches are left, 7: those of the authors' network."""
    config = TallConfig(**{**Tall.presets["paper"], "pretrained": False})
    detector = Tall(config, Task())
    assert detector.image_size == (112, 112)
    small = {"embed_dim": 16, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 4, 8)}
    swin = timm.create_model(config.network, pretrained=False, **detector.network_options(), **small)
    assert [stage.blocks[0].attn.window_size for stage in swin.layers] == [(14, 14)] * 3 + [(7, 7)]
    assert swin(torch.zeros(1, 3, 224, 224)).shape == (1, 2)


def test_it_trains_and_predicts_clips_and_names_videos_that_are_too_short(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = write_stream(tmp_path / "clips", experiences=1, pairs=2, tests=2, frames=9)
    manifest = stream.parent / "manifest.csv"
    rows = [row.split(",") for row in manifest.read_text().splitlines()]
    kept = [row for row in rows if not (row[5] == "e0-train0-1" and int(row[6]) > 2)]  # 3 frames of one fake
    manifest.write_text("".join(",".join(row) + "\n" for row in kept))
    settings = {**TINY, "epochs": 1, "batch_size": 2}
    args = [part for name, value in settings.items() for part in ("--set", f"{name}={str(value).lower()}")]
    done = run_cli(capsys, "eval", "-d", "tall", "-s", "naive", "-b", stream, "--out", tmp_path / "runs", *args)
    assert done.code == 0
    assert "1 of 2 fake videos" in done.err
    (folder,) = (tmp_path / "runs").glob("tall-*")
    assert Record.read(folder).steps == [3]  # of 3 whole videos two clips each
    assert dfbench.load(folder, device="cpu").predict(batch(32).pixels.numpy()).shape == (4,)


def test_wrong_settings_and_streams_are_one_line(
    tiny_stream: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["eval", "-d", "tall", "-s", "naive", "-b", tiny_stream, "--out", tmp_path, "--set", "pretrained=false"]

    def error(code: int, *settings: str) -> str:
        return the_error(run_cli(capsys, *args, *(part for s in settings for part in ("--set", s))), code)

    assert "clip_length=6 is not a square number" in error(2, "clip_length=6")
    assert "image_size=100 is not divided by 3 frames in a row" in error(2, "clip_length=9", "image_size=100")
    assert "mask=113 is larger than a frame, whose side is 112" in error(2, "mask=113")
    assert "timm cannot make test_resnet with" in error(2, "network=test_resnet", "window=7", "clip_length=1")
    assert "no video has the 4 frames that a clip needs" in error(3)

"""Degraded copies: seven kinds and five levels, seeded, alike for crops of every size, from every source."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dfbench.data.loader import UnitLoader
from dfbench.data.perturb import _KINDS, KINDS, LEVELS, VERSION, PerturbedPixels, perturb, perturbation_seed
from dfbench.data.pictures import resize
from dfbench.data.sources.folder import FolderSource
from dfbench.data.sources.prepared import PreparedSource
from dfbench.data.store import PixelStack
from dfbench.data.units import clips, frames
from dfbench.errors import UsageError
from dfbench.forge import pack
from dfbench.forge.source import ForgeSource
from tests.data.prepare.conftest import films, prepared  # noqa: F401  (fixtures)

EVERY = [(kind, level) for kind in KINDS for level in LEVELS]


@pytest.fixture(scope="module")
def portraits() -> np.ndarray:
    """Sixteen faces of 256 px."""
    return np.stack([pack.portrait(name).image for name in pack.identities()[::24]])


@pytest.fixture(scope="module")
def root(portraits: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos of four frames, of odd sizes, as folders of pictures."""
    folder = tmp_path_factory.mktemp("faces")
    for number, picture in enumerate(portraits[:8]):
        kind, frame = ("real", "fake")[number // 4], number % 4
        path = folder / "test" / kind / "clip" / f"{frame}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(resize(picture, 91 + 2 * (number // 4), 77)).save(path)
    return folder


def psnr(clean: np.ndarray, degraded: np.ndarray) -> float:
    """Mean over pictures, in dB."""
    error = ((clean.astype(float) - degraded) ** 2).mean(axis=(1, 2, 3))
    return float(np.mean(10 * np.log10(255**2 / error)))


def degraded(pictures: np.ndarray, kind: str, level: int) -> np.ndarray:
    """Each picture as a unit of its own."""
    return np.concatenate([perturb(picture[None], kind, level, seed) for seed, picture in enumerate(pictures)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", [112, 256])
def test_a_stronger_level_leaves_a_worse_picture(portraits: np.ndarray, kind: str, side: int) -> None:
    pictures = np.stack([resize(picture, side, side) for picture in portraits])
    quality = [psnr(pictures, degraded(pictures, kind, level)) for level in LEVELS]
    assert all(np.diff(quality) < -0.3), quality
    assert 5 < quality[-1] < quality[0] < 45


@pytest.mark.parametrize("kind", ["saturation", "contrast", "block", "noise", "blur"])
def test_a_level_means_the_same_for_small_and_for_large_crops(portraits: np.ndarray, kind: str) -> None:
    """Seen by a detector at 64 px: without scaling, blur and blocks would differ by several dB."""
    seen = {}
    for side in (96, 224, 480):
        large = [resize(picture, side, side) for picture in portraits]
        clean = np.stack([resize(picture, 64, 64) for picture in large])
        worse = degraded(np.stack(large), kind, 4)
        seen[side] = psnr(clean, np.stack([resize(picture, 64, 64) for picture in worse]))
    assert max(seen.values()) - min(seen.values()) < 1.5, seen


def test_levels_are_those_of_deeperforensics_at_the_reference_size() -> None:
    """Measured on a picture, not read from the table."""
    grey = np.full((1, 256, 256, 3), 200, np.uint8)
    assert perturb(grey, "contrast", 5, 0)[0, 0, 0].tolist() == [70, 70, 70]
    lost = (perturb(grey, "block", 1, 0) == 128).all(axis=3).sum() / 8**2
    assert 13 < lost <= 16  # blocks may overlap
    grain = perturb(np.full((1, 256, 256, 3), 128, np.uint8), "noise", 2, 0).astype(float)
    luma = grain @ [0.299, 0.587, 0.114]
    assert luma.std() == pytest.approx(255 * 0.002**0.5 * 255 / 219, rel=0.02)
    edge = np.zeros((1, 256, 256, 3), np.uint8)
    edge[:, :, 128:] = 255
    slope = np.diff(perturb(edge, "blur", 5, 0)[0, 128, :, 0].astype(float))
    place = np.arange(len(slope))
    mean = (slope * place).sum() / slope.sum()
    assert np.sqrt((slope * (place - mean) ** 2).sum() / slope.sum()) == pytest.approx(21 / 6, rel=0.03)
    red = np.zeros((1, 256, 256, 3), np.uint8)
    red[..., 0] = 250
    assert np.ptp(perturb(red, "saturation", 5, 0)[0, 0, 0]) == 0
    assert np.ptp(perturb(red, "saturation", 1, 0)[0, 0, 0]) == 100


@pytest.mark.parametrize(("kind", "level"), EVERY)
def test_shape_stays_and_the_seed_decides(portraits: np.ndarray, kind: str, level: int) -> None:
    pictures = portraits[:2, :75, :51]
    before = pictures.copy()
    once = perturb(pictures, kind, level, 3)
    assert once.shape == pictures.shape
    assert once.dtype == np.uint8
    assert np.array_equal(once, perturb(pictures, kind, level, 3))
    assert np.array_equal(pictures, before)
    assert np.array_equal(once, perturb(pictures, kind, level, 4)) == (kind not in ("noise", "block"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (17, 300)])
def test_tiny_and_long_pictures_are_degraded_too(kind: str, size: tuple[int, int]) -> None:
    assert perturb(np.full((1, *size, 3), 90, np.uint8), kind, 5, 0).shape == (1, *size, 3)


def test_there_is_no_level_0_and_no_other_kind() -> None:
    with pytest.raises(UsageError, match="level 0 is none of 1 to 5"):
        perturb(np.zeros((1, 8, 8, 3), np.uint8), "blur", 0, 0)
    with pytest.raises(UsageError, match="did you mean 'saturation'"):
        PerturbedPixels(FolderSource(Path()), [], (8, 8), "saturations", 1)


def test_seeds_depend_on_kind_level_and_name() -> None:
    seeds = {perturbation_seed(kind, level, name) for kind, level in EVERY for name in ("a", "b")}
    assert len(seeds) == 2 * len(EVERY)


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_degraded_at_their_native_size_and_then_resized(root: Path, kind: str) -> None:
    source = FolderSource(root)
    names = source.samples().sample.tolist()
    pixels = PerturbedPixels(source, names, (40, 32), kind, 2)
    seen = pixels.fetch(np.array([[5, 0], [1, 5]]))
    assert seen.shape == (2, 2, 40, 32, 3)
    for row, picture in zip((5, 0, 1, 5), seen.view(-1, 40, 32, 3).numpy(), strict=True):
        alone = perturb(source.read(names[row])[None], kind, 2, perturbation_seed(kind, 2, names[row]))[0]
        assert np.array_equal(picture, resize(alone, 40, 32))
    buffer = torch.empty(2, 40, 32, 3, dtype=torch.uint8)
    assert pixels.fetch(np.array([5, 0]), out=buffer) is buffer
    assert torch.equal(buffer, seen[0])
    with pytest.raises(IndexError):
        pixels.fetch(np.array([8]))


def test_a_clip_is_degraded_as_one_sequence(root: Path) -> None:
    source = FolderSource(root)
    table = source.samples()
    units = clips(table, np.arange(len(table)), 4)
    pixels = PerturbedPixels(source, table.sample.tolist(), (64, 64), "h264", 3, frames=4)
    for unit, seen in zip(units.rows, pixels.fetch(units.rows).numpy(), strict=True):
        clip = np.stack([source.read(name) for name in table.sample[unit]])
        whole = perturb(clip, "h264", 3, perturbation_seed("h264", 3, table.sample[unit[0]]))
        assert np.array_equal(seen, np.stack([resize(frame, 64, 64) for frame in whole]))
        assert torch.equal(pixels.fetch(unit), torch.from_numpy(seen))  # a worker process gets one unit
    with pytest.raises(ValueError, match="whole units of 4"):
        pixels.fetch(np.arange(6))


@pytest.mark.parametrize("workers", ["0", "1"])
def test_several_sets_are_one_stack_for_one_loader(root: Path, workers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFBENCH_WORKERS", workers)
    source = FolderSource(root)
    table = source.samples()
    names = table.sample.tolist()
    stack = PixelStack([PerturbedPixels(source, names, (24, 24), kind, 1, frames=4) for kind in ("noise", "h264")])
    units = clips(table, np.arange(len(table)), 4)
    every = units.take(np.array([0, 1, 0, 1]))
    every.rows[2:] += len(table)
    loader = UnitLoader(every, np.zeros(4), stack, torch.device("cpu"))
    seen = torch.cat([batch.pixels for batch in loader.stream(torch.arange(4).split(3))])
    loader.close()
    expected = [
        PerturbedPixels(source, names, (24, 24), kind, 1, frames=4).fetch(units.rows) for kind in ("noise", "h264")
    ]
    assert torch.equal(seen, torch.cat(expected))


def test_prepared_and_embedded_sets_are_degraded_like_folders(prepared, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    embedded = ForgeSource(people=1)
    embedded.prepare()
    for source in (PreparedSource(prepared.folder), embedded):
        table = source.samples()
        rows = frames(table, np.arange(3)).rows
        pixels = pickle.loads(pickle.dumps(PerturbedPixels(source, table.sample.tolist(), (48, 48), "jpeg", 1)))
        first = perturb(source.read(table.sample[0])[None], "jpeg", 1, 0)[0]
        assert np.array_equal(pixels.fetch(rows)[0].numpy(), resize(first, 48, 48))


def test_a_degraded_picture_is_the_same_bits_on_every_run() -> None:
    """The hash of what NumPy alone makes: whoever changes it raises VERSION."""
    ramp = np.indices((40, 50, 3)).sum(axis=0).astype(np.uint8)[None] * 2
    digest = hashlib.sha256()
    for kind in ("saturation", "contrast", "block"):
        for level in LEVELS:
            digest.update(perturb(ramp, kind, level, 1).tobytes())
    assert (VERSION, digest.hexdigest()[:16]) == (1, "da6e42ea018a39a0")


def test_the_documented_parameters_are_those_of_the_code() -> None:
    page = (Path(__file__).parents[2] / "docs" / "perturbations.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("| `")
    ]
    documented = {row[0].strip("`"): tuple(map(float, row[2:7])) for row in rows}
    assert documented == {kind: tuple(map(float, parameters)) for kind, (_, parameters) in _KINDS.items()}

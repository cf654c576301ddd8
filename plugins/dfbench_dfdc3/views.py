"""The networks' input at test time: frames resized as in training, with the crop in the middle."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from dfbench import normalize
from dfbench_dfdc3.augmentation import fitted, padded_rows, scaled
from dfbench_dfdc3.inference import Look

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def views(
    frames: Callable[[list[int]], Sequence[torch.Tensor]], looks: Sequence[Look], height: int, width: int
) -> torch.Tensor:
    """What the networks see of N tracks.

    Args:
        frames: of a list of K frame indices, the pictures: one uint8 tensor (N, K, H, W, 3), or K of (N, H, W, 3)
            where they differ in size.
        looks: network by network.
        height: of the networks' input, pixels.
        width: of the networks' input, pixels.

    Returns:
        float32 (N, looks, 3, height, width), normalised.
    """
    parts = []
    for network in "abc":
        mine = [look for look in looks if look.network == network]
        if not mine:
            continue
        seen = frames([look.frame for look in mine])
        mirrored = [look.flipped for look in mine]
        if isinstance(seen, torch.Tensor):
            # Mirrored before the crop, which is not in the middle where an odd number of columns is cut off.
            flags = torch.tensor(mirrored, device=seen.device)[:, None, None, None]
            parts.append(cropped(torch.where(flags, seen.flip(-2), seen), height, width, whole=network == "a"))
        else:
            single = [picture.flip(-2) if flag else picture for picture, flag in zip(seen, mirrored, strict=True)]
            parts.append(torch.stack([cropped(p, height, width, whole=network == "a") for p in single], dim=1))
    return normalize(torch.cat(parts, dim=1), MEAN, STD)


def cropped(pictures: torch.Tensor, height: int, width: int, whole: bool) -> torch.Tensor:
    """Resize pictures (bilinear, not antialiased), pad them and cut out the middle; their aspect ratio is kept.

    Args:
        pictures: uint8 (…, H, W, 3).
        height: of the result.
        width: of the result.
        whole: True for network A; see :func:`~dfbench_dfdc3.augmentation.fitted`.

    Returns:
        uint8 (…, height, width, 3).
    """
    resize = on_cpu if pictures.device.type == "cpu" else on_device
    resized = resize(pictures, height, width, whole)
    top, left = (resized.shape[-3] - height) // 2, (resized.shape[-2] - width) // 2
    return resized[..., top : top + height, left : left + width, :]


def on_cpu(pictures: torch.Tensor, height: int, width: int, whole: bool) -> torch.Tensor:
    """Resize and pad with OpenCV, the very function of training and of the original."""
    return torch.from_numpy(fitted(pictures.numpy(), height, width, whole))


def on_device(pictures: torch.Tensor, height: int, width: int, whole: bool) -> torch.Tensor:
    """The same to one grey level (OpenCV's weights have eleven bits), without leaving the device."""
    old = (pictures.shape[-3], pictures.shape[-2])
    new = scaled(old, height, width, whole)
    flat = pictures.flatten(0, -4)
    if new != old:
        planes = F.interpolate(flat.movedim(-1, -3).float(), new, mode="bilinear", align_corners=False)
        flat = planes.round_().to(torch.uint8).movedim(-3, -1)
    rows = torch.from_numpy(padded_rows(new[0], height)).to(flat.device)
    return flat.index_select(-3, rows).unflatten(0, pictures.shape[:-3])

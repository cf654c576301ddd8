"""From tracks of frames to scores."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from dfbench_dfdc3.config import DFDC3Config
from dfbench_dfdc3.inference import NOTHING_SEEN, Look, counts, plan, pool
from dfbench_dfdc3.views import views

IMAGES_AT_ONCE = {"cpu": 64}
"""Frames that are predicted together, by device type, 256 on others: on a CPU more would not fit its caches."""


@dataclass(frozen=True)
class FrameScores:
    """Scores of each network for each frame it looked at, for a time line.

    Attributes:
        looks: K looks, network and frame.
        probabilities: float32 (N, K), P(fake).
        scores: float32 (N,), pooled.
    """

    looks: tuple[Look, ...]
    probabilities: torch.Tensor
    scores: torch.Tensor


def video_scores(
    model: nn.Module, pixels: torch.Tensor, tracks: Sequence[tuple[int, ...]], config: DFDC3Config
) -> torch.Tensor:
    """The score of each video: every look at every track pooled at once.

    Args:
        model: the ensemble, in eval mode.
        pixels: uint8 (N, T, H, W, 3): the sampled frames of each video's tracks, one after another, and any padding.
        tracks: sampled frames of each track of each video.
        config: the detector's.

    Returns:
        float32 (N,); ½ where no track is long enough for a look.
    """
    alike: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for place, lengths in enumerate(tracks):
        alike[lengths].append(place)
    scores = torch.full((len(pixels),), NOTHING_SEEN, device=pixels.device)
    if all(max(lengths) < config.shortest for lengths in tracks):
        # Whoever checks a strategy on a batch of two videos wants to see what the network gives.
        track_scores(model, pixels[:1, : tracks[0][0]], config)
    for lengths, places in alike.items():
        seen, start = [], 0
        for length in lengths:
            if length >= config.shortest:
                seen.append(track_scores(model, pixels[places, start : start + length], config).probabilities)
            start += length
        if seen:
            scores[places] = pool(torch.cat(seen, dim=1))
    return scores


def track_scores(model: nn.Module, pixels: torch.Tensor, config: DFDC3Config) -> FrameScores:
    """Scores of every look of every network at tracks of one length.

    Args:
        model: the ensemble, in eval mode.
        pixels: uint8 (N, T, H, W, 3), RGB: the sampled frames, faces cropped with a margin.
        config: the detector's.
    """
    looks = plan(pixels.shape[1])
    at_once = max(1, IMAGES_AT_ONCE.get(pixels.device.type, 256) // len(looks))
    parts = []
    for part in pixels.split(at_once):
        x = views(lambda index, part=part: part[:, index], looks, config.height, config.width)  # type: ignore[misc]
        parts.append(probabilities_of(model, x, looks))
    probabilities = torch.cat(parts)
    return FrameScores(looks, probabilities, pool(probabilities))


def probabilities_of(model: nn.Module, x: torch.Tensor, looks: tuple[Look, ...]) -> torch.Tensor:
    """P(fake) of every look: the networks' input (N, K, 3, height, width) to float32 (N, K)."""
    sizes = counts(looks)
    fake = torch.softmax(model(x, counts=sizes).float(), dim=1)[:, 1].split([len(x) * size for size in sizes])
    return torch.cat([p.unflatten(0, (len(x), -1)) for p in fake if len(p)], dim=1)

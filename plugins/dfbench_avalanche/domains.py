"""Parts of SUR-LID that are functions of tensors: selection, refilling, centres and classifiers of domains."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def sparse_uniform(features: torch.Tensor, stability: torch.Tensor, count: int) -> torch.Tensor:
    """Sparse uniform replay: units that represent the whole distribution.

    The units are sorted by the distance to the mean and cut into equal intervals. Each contributes its most stable
    unit, and the one whose feature is least similar to that one's.

    Args:
        features: (N, D).
        stability: (N,).
        count: number of positions at most; all N if there are no more.

    Returns:
        Positions, int64.
    """
    if count >= len(features):
        return torch.arange(len(features))
    if count < 1:
        return torch.empty(0, dtype=torch.int64)
    order = (features - features.mean(0)).norm(dim=1).argsort(stable=True)
    points, chosen = F.normalize(features, dim=1), []
    for interval in order.tensor_split(-(-count // 2)):
        steady = int(interval[stability[interval].argmax()])
        chosen.append(steady)
        others = interval[interval != steady]
        if len(others):
            chosen.append(int(others[(points[others] @ points[steady]).argmin()]))
    return torch.tensor(chosen[:count], dtype=torch.int64)


def shuffled(x: torch.Tensor, grid: int) -> torch.Tensor:
    """Inputs (N, …, H, W) cut into ``grid`` × ``grid`` tiles that change places, in the same way for all inputs.

    Rows and columns that do not fill a tile stay where they are.
    """
    high, wide = x.shape[-2] // grid, x.shape[-1] // grid
    out = x.clone()
    for place, origin in enumerate(torch.randperm(grid * grid).tolist()):
        (top, left), (row, column) = divmod(place, grid), divmod(origin, grid)
        out[..., top * high : (top + 1) * high, left * wide : (left + 1) * wide] = x[
            ..., row * high : (row + 1) * high, column * wide : (column + 1) * wide
        ]
    return out


def refilled(features: torch.Tensor, domains: torch.Tensor, centres: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """New points inside the domains of stored units, β·(α·f + (1 − α)·f′) + (1 − β)·c with α, β uniform in 0 … 1.

    Args:
        features: (N, D), f of each unit.
        domains: int64 (N,).
        centres: (domains, D), c of each domain.

    Returns:
        A point for each unit, (N, D), f′ being the feature of a unit of its domain in the batch, and its domain (N,).
    """
    alpha, beta = torch.rand(2, len(features), 1, device=features.device)
    same = (domains[:, None] == domains[None, :]).float()
    other = features[torch.multinomial(same, 1)[:, 0]]
    return beta * (alpha * features + (1 - alpha) * other) + (1 - beta) * centres[domains], domains


def aligned(weight: torch.Tensor, towards: torch.Tensor, gamma: float) -> torch.Tensor:
    """Rows (classes, D) turned by a share ``gamma`` towards those of another classifier; their lengths stay."""
    direction = (1 - gamma) * F.normalize(weight, dim=1) + gamma * F.normalize(towards, dim=1)
    return weight.norm(dim=1, keepdim=True) * F.normalize(direction, dim=1)


def partners(weights: list[torch.Tensor], farthest: bool) -> list[torch.Tensor | None]:
    """Which classifier each one turns towards.

    Args:
        weights: of each, (classes, D), the newest first.
        farthest: the one with the least sum of its rows' cosines to this one's, or the next in the list.

    Returns:
        Copies of their weights; None for one that has no partner.
    """
    if not farthest or len(weights) < 2:
        return [*(weight.clone() for weight in weights[1:]), None]
    rows = torch.stack([F.normalize(weight, dim=1).flatten() for weight in weights])
    alike = (rows @ rows.T).fill_diagonal_(torch.inf)
    return list(torch.stack(weights)[alike.argmin(1)])


def centre(features: torch.Tensor, moving: float) -> torch.Tensor:
    """The centre (D,) of features (N, D): a moving average in their order, or their mean if ``moving`` is 0."""
    if not moving:
        return features.mean(0)
    found = features[0]
    for feature in features[1:]:
        found = (1 - moving) * found + moving * feature
    return found


def mean(classifiers: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The classifier whose logits are the mean of the logits of these."""
    return {name: torch.stack([c[name] for c in classifiers]).mean(0) for name in classifiers[0]}

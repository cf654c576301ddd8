"""How far an input is from what a network was trained on: distances between features.

The measure of Sun, Ming, Zhu and Li, *Out-of-Distribution Detection with Deep Nearest Neighbors* (ICML 2022,
arXiv:2204.06507, section 3): features before the last layer, divided by their length; the distance to the k-th nearest
of a bank of training features.
"""

from __future__ import annotations

import numpy as np

NEIGHBOUR = 10
"""k. The paper's grows with the bank (50 of 50,000); ours is one per cent of a full bank."""
BANK = 1000
"""Features of a bank, at most."""
KEPT = 0.95
"""Share of the validation data that counts as within the scope (the paper's true-positive rate, section 4)."""


def unit_length(features: np.ndarray) -> np.ndarray:
    """float32 (n, d), each row divided by its length."""
    values = np.asarray(features, np.float32)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)


def distances(features: np.ndarray, bank: np.ndarray, neighbour: int = NEIGHBOUR) -> np.ndarray:
    """Distance of each feature to its k-th nearest of the bank.

    Args:
        features: (n, d), of any length.
        bank: (m, d), of unit length.
        neighbour: k, from 1; the farthest where the bank is smaller.

    Returns:
        float32 (n,), 0 to 2.
    """
    mine, k = unit_length(features), min(neighbour, len(bank)) - 1
    squared = np.maximum(2 - 2 * mine @ np.asarray(bank, np.float32).T, 0)
    return np.sqrt(np.partition(squared, k, axis=1)[:, k])


def threshold(of_validation: np.ndarray, kept: float = KEPT) -> float:
    """The distance that a share ``kept`` of the validation data does not exceed."""
    return float(np.quantile(np.asarray(of_validation, np.float64), kept))

"""What a run tells whoever watches it: the command line's progress bar, a test, nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class Reporter:
    """Told what a run is doing; every method does nothing here."""

    def notice(self, text: str) -> None:
        """Something that the user should know."""

    def data(self, done: int, total: int, what: str) -> None:
        """Pictures being prepared."""

    def training(self, number: int, total: int, name: str) -> None:
        """Training ``number`` of ``total`` (from 1) begins, on the experience(s) ``name``."""

    def step(self, done: int, total: int, loss: torch.Tensor) -> None:
        """Optimizer steps of the current training; ``loss`` is the mean so far, on the device."""

    def evaluating(self, number: int, total: int) -> None:
        """Scoring after training ``number`` begins; 0: the untrained network."""

    def tested(self, done: int, total: int) -> None:
        """Batches of test samples."""

"""Where in a face a score comes from: Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391), by the library ``grad-cam``.

A map shows what raises P(fake) in the last convolution of the network. It is no evidence of where a picture was
changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from dfbench.data.loader import Batch
from dfbench.data.pictures import resize
from dfbench.publish.zoo.predictor import Predictor


class HeatMaps:
    """The heat maps of a checkpoint that judges single pictures.

    Args:
        predictor: The checkpoint.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._scored = _Scored(predictor)
        self._layer: nn.Module | None = None
        self._asked = bool(predictor.entry.input.unit)

    def of(self, looks: Sequence[np.ndarray]) -> list[np.ndarray] | None:
        """The maps of pictures of one size.

        Args:
            looks: uint8 (H, W, 3) each.

        Returns:
            float32 (H, W) each, from 0 to 1; None for a checkpoint of clips, and a network without convolutions.
        """
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        size = self._predictor.entry.input.picture_size
        shown = np.stack([look if size is None else resize(look, *size) for look in looks])
        pixels = torch.from_numpy(shown).to(self._predictor.device)
        if not self._asked:
            self._asked, self._layer = True, self._last_convolution(pixels[:1])
        if self._layer is None:
            return None
        with GradCAM(self._scored, [self._layer]) as cam:
            # The library resizes maps to (H, W) of an input (N, C, H, W); the pictures come last in ours.
            found = cam(pixels.permute(0, 3, 1, 2), [ClassifierOutputTarget(1)] * len(looks))
        return [np.asarray(np.nan_to_num(each), np.float32) for each in found]

    def _last_convolution(self, pixels: torch.Tensor) -> nn.Module | None:
        """The last one that is used, of those whose output has more than one pixel."""
        used: list[nn.Module] = []

        def note(module: nn.Module, _: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor) and output.ndim == 4 and min(output.shape[2:]) > 1:
                used.append(module)

        layers = [module for module in self._predictor.model.modules() if isinstance(module, nn.Conv2d)]
        hooks = [layer.register_forward_hook(note) for layer in layers]
        try:
            with torch.no_grad():
                self._scored(pixels.permute(0, 3, 1, 2))
        finally:
            for hook in hooks:
                hook.remove()
        return used[-1] if used else None


class _Scored(nn.Module):
    """A checkpoint as a network from pictures, uint8 (N, 3, H, W), to the logarithms of its probabilities."""

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.model = predictor.model
        self._predictor = [predictor]

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        predictor = self._predictor[0]
        pixels = pictures.detach().permute(0, 2, 3, 1)
        zeros = torch.zeros(len(pixels), dtype=torch.int64)
        batch = Batch(pixels, zeros.to(pixels.device), torch.arange(len(pixels)), zeros)
        p = predictor.detector.predict(self.model, batch).float().clamp(1e-6, 1 - 1e-6)
        return p.log() - (1 - p).log()

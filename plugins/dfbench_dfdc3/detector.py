"""DFDC_3 (NTech-Lab 2020), third place of the Deepfake Detection Challenge, with its own training procedure.

Facts are those of the authors' repository, ``NTech-Lab/deepfake-detection-challenge`` (Apache-2.0); the code
is our own. ``docs/dfdc3.md`` says what was taken over, and where the authors' procedure leaves a choice.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from timm.data.random_erasing import RandomErasing
from torch import nn

from dfbench import Batch, DataError, Detector, DetectorConfig, Loop, Samples, Units, UsageError, clip_pairs, clips
from dfbench import normalize as normalized
from dfbench_dfdc3.augmentation import View, augment_pair
from dfbench_dfdc3.imagenet import load_packaged
from dfbench_dfdc3.inference import Look, counts, plan, pool
from dfbench_dfdc3.networks import Ensemble, channels_last, frame_network, over_time

log = logging.getLogger("dfbench.dfdc3")

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
STORED = 256
"""Side, in pixels, at which pictures of several sizes are stored; also the largest size stored unchanged."""
IMAGES_AT_ONCE = {"cpu": 64}
"""Frames that are predicted together, by device type, 256 on others: on a CPU more would not fit its caches."""


class DFDC3Config(DetectorConfig):
    """Options of DFDC_3; the defaults are the authors'."""

    batch_size: int = Field(8, ge=1, description="pairs of aligned clips per step, before replayed ones are added")
    accumulate: int = Field(1, ge=1, description="batches per optimizer step, where memory is short")
    steps: int = Field(100_000, ge=2, description="optimizer steps per experience, the warm-up included")
    warm_up: int = Field(100, ge=0, description="steps at the start on the final layers alone")
    lr: float = Field(0.005, gt=0, description="learning rate at the start, falling linearly to 0")
    momentum: float = Field(0.9, ge=0, lt=1, description="Nesterov momentum")
    weight_decay: float = Field(1e-4, ge=0)
    body: str = Field("tf_efficientnet_b7.ns_jft_in1k", description="EfficientNet of timm, for all three networks")
    pretrained: bool = Field(True, description="start from the body's ImageNet weights where they can be fetched")
    weights: str | None = Field(None, description="start from a checkpoint made by `dfbench dfdc3 convert`")
    dropout: float = Field(0.5, ge=0, lt=1, description="before the final layers")
    drop_path: float = Field(0.2, ge=0, lt=1, description="stochastic depth")
    height: int = Field(224, ge=32, description="of the networks' input, pixels")
    width: int = Field(192, ge=32, description="of the networks' input, pixels")
    clip_length: int = Field(50, ge=7, description="frames of a training clip (fewer where the videos have fewer)")
    frames: int = Field(8, ge=1, description="frames that A and B see of a clip, each")
    sequence: int = Field(7, ge=7, le=7, description="frames that C sees of a clip")
    fps: float = Field(30.0, gt=0, description="frame rate of the stored clips; networks look at 15 per second")
    compress: float = Field(0.5, ge=0, le=1, description="probability of H.264 compression of a pair")
    flip: float = Field(0.5, ge=0, le=1, description="probability of a horizontal flip")
    auto_augment: float = Field(0.5, ge=0, le=1, description="probability of AutoAugment")
    erase: float = Field(0.2, ge=0, le=1, description="probability of random erasing (B)")

    @model_validator(mode="after")
    def _consistent(self) -> DFDC3Config:
        if self.warm_up >= self.steps:
            raise ValueError(f"warm_up={self.warm_up} leaves none of steps={self.steps} for the whole network")
        if self.frames > self.clip_length:
            raise ValueError(f"frames={self.frames} of a clip of clip_length={self.clip_length}")
        return self


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


class DFDC3(Detector):
    """Two frame networks and a clip network, trained together on mixed pairs of aligned clips.

    One unit is a pair of clips, real and fake, aligned frame by frame: a replay memory stores both whole.
    ``paper`` is the published configuration, ``lite`` the same procedure with a small network of the
    family, for CPUs.
    """

    Config: ClassVar = DFDC3Config
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "lite": {
            "body": "tf_efficientnet_lite0",
            "height": 112,
            "width": 96,
            "frames": 2,
            "dropout": 0.2,
            "drop_path": 0.0,
            "batch_size": 4,
            "steps": 45,
            "warm_up": 5,
            "compress": 0.1,
            "auto_augment": 0.1,
        },
    }
    head: ClassVar[tuple[str, ...]] = Ensemble.heads
    mixes: ClassVar[bool] = True

    @classmethod
    def default_preset(cls, device: torch.device) -> str:
        """``lite`` on a CPU, ``paper`` on anything faster."""
        return "lite" if device.type == "cpu" else "paper"

    # --- The networks ---------------------------------------------------------------------------

    def build(self) -> nn.Module:
        """A, B and C; ``facts`` says whether they started from ImageNet or from converted weights."""
        c = self.config
        if self.task.num_classes != 2:
            raise UsageError(f"dfdc3 tells real from fake; this stream has {self.task.num_classes} classes")
        a, b, clip_network = (self._body() for _ in range(3))
        model = Ensemble(a, b, over_time(clip_network, c.sequence), (c.frames, c.frames, c.sequence))
        if c.weights is not None:
            from dfbench_dfdc3.snapshots import load_converted

            self.facts["weights"] = load_converted(model, Path(c.weights))
        return channels_last(model)

    def _body(self) -> nn.Module:
        c = self.config
        if c.pretrained and c.weights is None:
            network = frame_network(c.body, False, c.dropout, c.drop_path)
            if origin := load_packaged(network, c.body):
                self.facts.update(pretrained=True, imagenet=origin)
                return network
            if self.facts.get("pretrained") is not False:  # False: fetching failed for an earlier network
                try:
                    network = frame_network(c.body, True, c.dropout, c.drop_path)
                except Exception as error:
                    log.warning(
                        "dfdc3 starts from random weights: those of %s could not be fetched (%s)",
                        c.body,
                        type(error).__name__,
                    )
                else:
                    self.facts["pretrained"] = True
                    return network
        self.facts["pretrained"] = False
        return frame_network(c.body, False, c.dropout, c.drop_path)

    # --- Its view of the data -------------------------------------------------------------------

    @property
    def image_size(self) -> tuple[int, int] | None:
        """As the pictures are, unless they differ or are larger than 256 pixels."""
        native = self.task.native_size
        return None if native is not None and max(native) <= STORED else (STORED, STORED)

    def units(self, samples: Samples, rows: np.ndarray, training: bool) -> Units:
        """Pairs of aligned clips to train on, clips to predict."""
        length = self._clip_length(samples)
        return clip_pairs(samples, rows, length) if training else clips(samples, rows, length)

    def _clip_length(self, samples: Samples) -> int:
        """``clip_length``, or the length that nine of ten videos reach: all units of a stream have one shape."""
        c = self.config
        keys = zip(samples.source, samples.method, samples.label, samples.video, strict=True)
        videos: dict[Any, int] = {}
        for key in keys:
            if key[-1]:
                videos[key] = videos.get(key, 0) + 1
        usual = int(np.quantile(list(videos.values()), 0.1)) if videos else 0
        if usual < max(c.frames, c.sequence):
            raise DataError(
                f"dfdc3 trains on clips of at least {max(c.frames, c.sequence)} frames, and the videos of this stream "
                f"have {usual or 'none'}: use a stream with more frames per video, such as forge5-clips"
            )
        return min(c.clip_length, usual)

    def augment(self, pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Compression, choice of frames, flip, crop and AutoAugment of one pair; see :mod:`.augmentation`."""
        c = self.config
        view = View(c.height, c.width, c.frames, c.sequence, c.compress, c.flip, c.auto_augment)
        return augment_pair(pixels, view, random)

    # --- Training -------------------------------------------------------------------------------

    def mix(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Mix real and fake, x = (1 − t)·real + t·fake with t ~ Beta(½, ½).

        Returns:
            float32 frames (N, A + B + C, 3, H, W), and t (N, A + B + C). It is drawn for each image of A and B, and
            for each clip of C, over whose frames it is repeated.
        """
        c, x = self.config, normalized(batch.pixels, MEAN, STD)
        # Beta(½, ½) is the arcsine distribution: sin²(πU/2) with U uniform.
        uniform = torch.rand(len(x), 2 * c.frames + 1, device=x.device)
        share = torch.sin(uniform * (math.pi / 2)).square()
        share = torch.cat([share[:, :-1], share[:, -1:].expand(-1, c.sequence)], dim=1)
        return torch.lerp(x[:, 0], x[:, 1], share[:, :, None, None, None]), share

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Sum over the networks of the binary cross-entropy with the soft label t.

        Their parameters are disjoint, so each is trained by its own term alone.
        """
        c = self.config
        x, share = self.mix(batch)
        if model.training and c.erase:
            # A copy: of a single pair, flatten gives a view of what is assigned to.
            seen_by_b = x[:, c.frames : 2 * c.frames].flatten(0, 1).clone()
            erased = RandomErasing(c.erase, mode="pixel", max_count=1, device=str(x.device))(seen_by_b)
            x[:, c.frames : 2 * c.frames] = erased.unflatten(0, (len(x), c.frames))
        sizes = [c.frames, c.frames, c.sequence]
        logits = model(x).split([len(x) * size for size in sizes])
        targets = share.split(sizes, dim=1)
        terms = [
            F.cross_entropy(z, torch.stack([1 - t.flatten(), t.flatten()], dim=1))
            for z, t in zip(logits, targets, strict=True)
        ]
        return torch.stack(terms).sum()

    def optimizer(self, model: nn.Module, heads_alone: bool = False) -> torch.optim.Optimizer:
        """SGD with Nesterov momentum.

        The two rows of a lifted head have opposite gradients. At half the learning rate and twice the weight decay
        their difference moves as the one row of the original does.

        Args:
            model: the ensemble.
            heads_alone: whether only the final layers are trained.
        """
        c = self.config
        assert isinstance(model, Ensemble)
        heads = model.head_parameters()
        groups = [{"params": heads, "lr": c.lr / 2, "weight_decay": 2 * c.weight_decay}]
        if not heads_alone:
            ids = {id(p) for p in heads}
            groups.append({"params": [p for p in model.parameters() if id(p) not in ids]})
        return torch.optim.SGD(
            groups, lr=c.lr, momentum=c.momentum, nesterov=c.momentum > 0, weight_decay=c.weight_decay
        )

    def train(self, loop: Loop) -> None:
        """Warm-up of the final layers on a frozen trunk in eval mode, then everything at a falling rate.

        Both restart with each experience.
        """
        c, model = self.config, loop.model
        assert isinstance(model, Ensemble)
        if c.warm_up:
            with loop.phase(*(model.get_submodule(name) for name in model.heads)):
                loop.optimize(self.optimizer(model, heads_alone=True), accumulate=c.accumulate)
                self._steps(loop, c.warm_up)
        total, done = loop.total_steps(c.steps), loop.total_steps(c.warm_up)
        optimizer = self.optimizer(model)
        falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (total - done - step) / total)
        loop.optimize(optimizer, schedulers=[falling], accumulate=c.accumulate)
        self._steps(loop, c.steps - c.warm_up)

    def _steps(self, loop: Loop, count: int) -> None:
        for batch in loop.steps(count):
            with loop.autocast():
                loss = self.loss(loop.model, batch)
            loop.step(loss)

    # --- Inference ------------------------------------------------------------------------------

    def predict(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """The pooled score of each clip, as (1 − score, score)."""
        scores = self.frame_scores(model, batch.pixels).scores
        return torch.stack([1 - scores, scores], dim=1)

    def frame_scores(self, model: nn.Module, pixels: torch.Tensor) -> FrameScores:
        """Scores of every look of every network at clips of stored frames.

        Args:
            model: the ensemble, in eval mode.
            pixels: uint8 (N, T, H, W, 3), RGB, faces cropped with a margin.
        """
        looks = plan(pixels.shape[1], self.config.fps)
        sizes = counts(looks)
        at_once = max(1, IMAGES_AT_ONCE.get(pixels.device.type, 256) // max(1, len(looks)))
        parts = []
        for part in pixels.split(at_once):
            logits = model(self._look(part, looks), counts=sizes).float()
            fake = torch.softmax(logits, dim=1)[:, 1].split([len(part) * size for size in sizes])
            parts.append(torch.cat([p.unflatten(0, (len(part), -1)) for p in fake if len(p)], dim=1))
        probabilities = torch.cat(parts)
        return FrameScores(looks, probabilities, pool(probabilities))

    def _look(self, clip: torch.Tensor, looks: tuple[Look, ...]) -> torch.Tensor:
        """The networks' input, float32 (N, K, 3, height, width)."""
        height, width = self.config.height, self.config.width
        x = normalized(clip, MEAN, STD)
        views = []
        for network in "abc":
            mine = [look for look in looks if look.network == network]
            if mine:
                view = resized(x[:, [look.frame for look in mine]], height, width, whole=network == "a")
                mirrored = torch.tensor([look.flipped for look in mine], device=x.device)
                views.append(torch.where(mirrored[:, None, None, None], view.flip(-1), view))
        return torch.cat(views, dim=1)


def resized(x: torch.Tensor, height: int, width: int, whole: bool) -> torch.Tensor:
    """Frames (N, K, 3, H, W) to (N, K, 3, height, width), as in training but with the crop in the middle."""
    old = x.shape[-2:]
    ratio = (width if whole else height) / min(old)
    new = [max(width, round(side * ratio)) for side in old]
    flat = x.flatten(0, 1)
    if tuple(new) != tuple(old):
        flat = F.interpolate(flat, new, mode="bilinear", antialias=True, align_corners=False)
    missing = max(0, height - new[0])
    if missing:
        black = torch.tensor([-m / s for m, s in zip(MEAN, STD, strict=True)], device=x.device).view(3, 1, 1)
        padded = black.expand(len(flat), 3, height, flat.shape[-1]).clone()
        padded[:, :, missing // 2 : missing // 2 + new[0]] = flat
        flat = padded
    top, left = (flat.shape[-2] - height) // 2, (flat.shape[-1] - width) // 2
    return flat[..., top : top + height, left : left + width].unflatten(0, x.shape[:2])

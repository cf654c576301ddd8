"""DFDC_3 (NTech-Lab 2020), third place of the Deepfake Detection Challenge, with its own training procedure.

Facts are those of the authors' repository, ``NTech-Lab/deepfake-detection-challenge`` (Apache-2.0); the code
is our own. ``docs/dfdc3.md`` says what was taken over, and where the authors' procedure leaves a choice.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import math
import random
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from dfbench_imagenet import load_packaged
from timm.data.random_erasing import RandomErasing
from torch import nn

from dfbench import Batch, DataError, Detector, Loop, Samples, Task, UnitRows, Units, UsageError, clip_pairs
from dfbench import normalize as normalized
from dfbench_dfdc3.augmentation import View, augment_pair
from dfbench_dfdc3.config import PRESETS, DFDC3Config
from dfbench_dfdc3.folding import folded
from dfbench_dfdc3.networks import Ensemble, channels_last, frame_network, over_time
from dfbench_dfdc3.predicting import video_scores
from dfbench_dfdc3.rates import read_rates
from dfbench_dfdc3.tracks import Videos, whole_videos
from dfbench_dfdc3.views import MEAN, STD

log = logging.getLogger("dfbench.dfdc3")

STORED = 256
"""Shorter side, in pixels, at which larger pictures are stored, and those of several sizes."""


class DFDC3(Detector):
    """Two frame networks and a clip network, trained together on mixed pairs of aligned clips.

    One unit to train on is a pair of clips, real and fake, aligned frame by frame: a replay memory stores both whole.
    One unit to predict is a video. ``paper`` is the published configuration, ``lite`` the same procedure with a small
    network of the family, for CPUs.
    """

    Config: ClassVar = DFDC3Config
    presets: ClassVar[dict[str, dict[str, Any]]] = PRESETS
    head: ClassVar[tuple[str, ...]] = Ensemble.heads
    mixes: ClassVar[bool] = True
    start_options: ClassVar[tuple[str, ...]] = ("pretrained", "weights")

    def __init__(self, config: DFDC3Config, task: Task) -> None:
        super().__init__(config, task)
        self._tracks: dict[int, tuple[int, ...]] = {}
        """First row of each video to predict → sampled frames of each of its tracks."""

    @classmethod
    def default_preset(cls, device: torch.device) -> str:
        """``lite`` on a CPU, ``paper`` on anything faster."""
        return "lite" if device.type == "cpu" else "paper"

    # --- The networks ---------------------------------------------------------------------------

    def build(self) -> nn.Module:
        """A, B and C; ``facts`` says what they started from, and the hash of a file of frame rates."""
        c = self.config
        if self.task.num_classes != 2:
            raise UsageError(f"dfdc3 tells real from fake; this stream has {self.task.num_classes} classes")
        if isinstance(self._rates, dict):
            self.facts["fps"] = hashlib.sha256(repr(sorted(self._rates.items())).encode()).hexdigest()
        a, b, clip_network = (self._body() for _ in range(3))
        share = None if c.clip_pairs in (None, c.batch_size) else (c.clip_pairs, c.batch_size)
        model = Ensemble(a, b, over_time(clip_network, c.sequence), (c.frames, c.frames, c.sequence), share)
        if c.weights is not None:
            from dfbench_dfdc3.snapshots import load_converted

            self.facts["weights"] = load_converted(model, Path(c.weights))
        return channels_last(model)

    def _body(self) -> nn.Module:
        c = self.config
        make = functools.partial(
            frame_network, c.body, dropout=c.dropout, drop_path=c.drop_path, bn_momentum=c.bn_momentum
        )
        if c.pretrained and c.weights is None:
            network = make()
            if origin := load_packaged(network, c.body):
                self.facts.update(pretrained=True, imagenet=origin)
                return network
            if self.facts.get("pretrained") is not False:  # False: fetching failed for an earlier network
                try:
                    network = make(pretrained=True)
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
        return make()

    # --- Its view of the data -------------------------------------------------------------------

    @property
    def image_size(self) -> tuple[int, int] | None:
        """As the pictures are; larger ones with a shorter side of 256 pixels, their aspect ratio kept.

        The pictures of a stream are stored in one size. Where theirs differ it is ``aspect``, or else a square.
        """
        native, aspect = self.task.native_size, self.config.aspect
        if native is not None and aspect is None:
            if min(native) <= STORED:
                return None
            aspect = native[0] / native[1]
        aspect = aspect or 1.0
        return round(STORED * max(1, aspect)), round(STORED * max(1, 1 / aspect))

    def units(self, samples: Samples, rows: np.ndarray, training: bool) -> Units:
        """Pairs of aligned clips to train on, whole videos to predict."""
        if training:
            if not self._tracks and self.task.native_size is None and self.config.aspect is None:
                log.warning(
                    "dfdc3: the pictures of this stream differ in size and are squashed to %d × %d; "
                    "cut them with one aspect ratio, height over width, and name it: --set aspect=1.3",
                    *self.image_size or (STORED, STORED),
                )
            return clip_pairs(samples, rows, self._clip_length(samples))
        videos = whole_videos(samples, rows, self._rates, f"fps={self.config.fps}")
        self._tracks.update(videos.tracks)
        self._check_length(samples, videos)
        return videos.units

    def _check_length(self, samples: Samples, videos: Videos) -> None:
        """Name the videos that no network looks at, and refuse a set of nothing else."""
        shortest, longest = self.config.shortest, {row: max(tracks) for row, tracks in videos.tracks.items()}
        short = [samples.video[row] for row, length in longest.items() if length < shortest]
        if len(short) == len(longest):
            raise DataError(
                f"no video has a track of {shortest} sampled frames, the longest has {max(longest.values())}: all "
                "would score ½. Take videos of more frames, or set shortest and fps for these"
            )
        if short:
            log.warning(
                "dfdc3: %d of %d videos have no track of %d sampled frames and score ½: %s",
                len(short), len(longest), shortest, ", ".join(short[:3]) + ", …" * (len(short) > 3),
            )  # fmt: skip

    @functools.cached_property
    def _rates(self) -> dict[str, float] | float:
        fps = self.config.fps
        return read_rates(Path(fps)) if isinstance(fps, str) else fps

    def _clip_length(self, samples: Samples) -> int:
        """``clip_length``, or the length that nine of ten videos reach: all units of a stream have one shape."""
        c = self.config
        video, _ = samples.groups("source", "method", "label", "video")
        _, lengths = np.unique(video[samples.video != ""], return_counts=True)
        usual = int(np.quantile(lengths, 0.1)) if len(lengths) else 0
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

    def mix(self, batch: Batch, training: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Mix real and fake, x = (1 − t)·real + t·fake with t ~ Beta(½, ½).

        Args:
            batch: of augmented pairs; its ``mix``, if it has one, is t of each image of A and B and of each clip of C.
            training: erase rectangles of B's pictures first, the same of real and fake, each with noise of its own.

        Returns:
            float32 frames (N, A + B + C, 3, H, W), and t (N, A + B + C). It is drawn for each image of A and B, and
            for each clip of C, over whose frames it is repeated.
        """
        c, x = self.config, normalized(batch.pixels, MEAN, STD)
        if training and c.erase:
            x = self._erased(x)
        if batch.mix is None:
            # Beta(½, ½) is the arcsine distribution: sin²(πU/2) with U uniform.
            uniform = torch.rand(len(x), 2 * c.frames + 1, device=x.device)
            batch.mix = torch.sin(uniform * (math.pi / 2)).square()
        share = self._over_images(batch.mix)
        return torch.lerp(x[:, 0], x[:, 1], share[:, :, None, None, None]), share

    def _erased(self, x: torch.Tensor) -> torch.Tensor:
        """Pairs (N, 2, A + B + C, 3, H, W) after random erasing of B's pictures."""
        c = self.config
        erase = RandomErasing(c.erase, mode="pixel", max_count=1, device=str(x.device))
        drawn = random.getstate()
        for side in (0, 1):
            random.setstate(drawn)
            for pair in x[:, side, c.frames : 2 * c.frames]:
                erase(pair)  # in place
        return x

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Sum over the networks of the binary cross-entropy with the soft label t.

        Their parameters are disjoint, so each is trained by its own term alone.
        """
        assert isinstance(model, Ensemble)
        x, share = self.mix(batch, model.training)
        targets = self._seen(model, share)
        logits = model(x).split([t.numel() for t in targets])
        terms = [F.cross_entropy(z, _soft(t)) for z, t in zip(logits, targets, strict=True)]
        return torch.stack(terms).sum()

    def _seen(self, model: Ensemble, of_images: torch.Tensor) -> list[torch.Tensor]:
        """What (N, A + B + C) holds for the images that A, B and C see: C takes some of the clips only."""
        parts = list(of_images.split([self.config.frames, self.config.frames, self.config.sequence], dim=1))
        parts[2] = parts[2][model.clips_of(len(of_images))]
        return parts

    def unit_rows(self, model: nn.Module, batch: Batch) -> UnitRows:
        """The pair and the share of fake of each image, network by network."""
        assert isinstance(model, Ensemble)
        assert batch.mix is not None
        share = self._seen(model, self._over_images(batch.mix))
        pair = torch.arange(len(batch))[:, None].expand(-1, 2 * self.config.frames + self.config.sequence)
        units = torch.cat([part.flatten() for part in self._seen(model, pair)])
        targets = torch.cat([_soft(part) for part in share])
        return UnitRows(units, targets, tuple(part.numel() for part in share))

    def unmixed(self, batch: Batch) -> list[torch.Tensor]:
        """All real, and all fake."""
        shape = (len(batch), 2 * self.config.frames + 1)
        return [torch.full(shape, share, device=batch.pixels.device) for share in (0.0, 1.0)]

    def _over_images(self, mix: torch.Tensor) -> torch.Tensor:
        """The shares (N, A + B + 1) with that of C's clip repeated over its frames: (N, A + B + C)."""
        return torch.cat([mix[:, :-1], mix[:, -1:].expand(-1, self.config.sequence)], dim=1)

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
            # The module that holds a head stays in training mode, and its dropout with it: off, as in the original.
            with loop.phase(*(model.get_submodule(name) for name in model.heads)), model.without_dropout():
                loop.optimize(self.optimizer(model, heads_alone=True), accumulate=c.accumulate)
                self._steps(loop, c.warm_up)
        total = loop.total_steps(c.steps)
        optimizer = self.optimizer(model)
        # From the whole rate on, as published: the warm-up's steps are left at the end, not taken off at the start.
        falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (total - step) / total)
        loop.optimize(optimizer, schedulers=[falling], accumulate=c.accumulate)
        self._steps(loop, c.steps - c.warm_up)

    def _steps(self, loop: Loop, count: int) -> None:
        for batch in loop.steps(count):
            with loop.autocast():
                loss = self.loss(loop.model, batch)
            loop.step(loss)

    # --- Inference ------------------------------------------------------------------------------

    def predict(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """The score of each video, as (1 − score, score); outside of a stream, a unit is one track's sampled frames."""
        network = folded(model) if self.config.fold_norms else model
        whole = (batch.pixels.shape[1],)
        firsts = [-1] * len(batch) if batch.rows is None else batch.rows[:, 0].tolist()
        scores = video_scores(network, batch.pixels, [self._tracks.get(first, whole) for first in firsts], self.config)
        return torch.stack([1 - scores, scores], dim=1)


def _soft(share: torch.Tensor) -> torch.Tensor:
    """Shares of fake of any shape as labels (R, 2): (real, fake)."""
    return torch.stack([1 - share.flatten(), share.flatten()], dim=1)

"""A classifier of timm (Wightman 2019, github.com/huggingface/pytorch-image-models), fine-tuned on faces."""

from __future__ import annotations

import difflib
import logging
from typing import Any, ClassVar, Literal

import timm
import torch
from dfbench_imagenet import load_packaged
from pydantic import Field, field_validator
from torch import nn

from dfbench import Batch, Detector, EpochConfig, Loop, UsageError, normalize

log = logging.getLogger("dfbench.timm")


class TimmConfig(EpochConfig):
    """Options of the detector ``timm``."""

    network: str = Field("efficientnet_b4", description="of timm.list_models(), with its tag or without")
    pretrained: bool = Field(True, description="start from timm's weights where they can be fetched or are packaged")
    image_size: int | None = Field(None, ge=16, le=1024, description="side in pixels (default: the network's own)")
    epochs: int = Field(10, ge=1, description="passes over each experience")
    optimizer: Literal["adam", "adamw", "sgd"] = Field("adam", description="sgd: with momentum .9")
    lr: float = Field(2e-4, gt=0, description="learning rate")
    weight_decay: float = Field(5e-4, ge=0)
    schedule: Literal["constant", "cosine", "one_cycle"] = Field(
        "constant", description="learning rate within an experience; cosine falls to 0, one_cycle rises to lr first"
    )
    drop: float = Field(0.0, ge=0, lt=1, description="dropout before the final layer")
    drop_path: float = Field(0.0, ge=0, lt=1, description="stochastic depth, where the network has it")
    flip: float = Field(0.5, ge=0, le=1, description="probability of a horizontal flip")
    jitter: float = Field(0.1, ge=0, lt=1, description="largest change of brightness and of contrast")

    @field_validator("network")
    @classmethod
    def _known(cls, name: str) -> str:
        if not timm.is_model(name):
            near = difflib.get_close_matches(name.partition(".")[0], timm.list_models(), n=3)
            raise ValueError(
                f"timm {timm.__version__} has no network {name!r}"
                + (
                    f"; did you mean {' or '.join(near)}?"
                    if near
                    else "; python -c 'import timm; print(timm.list_models())'"
                )
            )
        return name


class Timm(Detector):
    """Any network of timm with its own mean, standard deviation and picture size, trained with cross-entropy.

    ``efficientnet_b4`` has DeepfakeBench's recipe of that detector (Yan et al. 2023): 256 pixels, batches of 32,
    Adam 2·10⁻⁴ with weight decay 5·10⁻⁴; of its augmentation flips and jitter alone.
    """

    Config: ClassVar = TimmConfig
    distributes: ClassVar[bool] = True
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "efficientnet_b4": {"image_size": 256},
        "lite": {
            "network": "tf_efficientnet_lite0",
            "image_size": 112,
            "epochs": 2,
            "optimizer": "adamw",
            "lr": 1e-3,
            "weight_decay": 1e-2,
            "schedule": "one_cycle",
        },
    }

    @property
    def head(self) -> str | None:  # type: ignore[override]
        """The final layer's name, as timm states it; None where there are several."""
        name = self._cfg.classifier
        return name if isinstance(name, str) else None

    @property
    def _cfg(self) -> Any:
        cfg = timm.get_pretrained_cfg(self.config.network)
        assert cfg is not None  # the configuration was validated
        return cfg

    @property
    def side(self) -> int:
        """Height and width of the network's input, pixels."""
        return self.config.image_size or int(self._cfg.input_size[-1])

    @property
    def image_size(self) -> tuple[int, int]:
        """Square pictures."""
        return (self.side, self.side)

    def build(self) -> nn.Module:
        """Input (N, 3, S, S), output (N, classes); ``facts`` says what it starts from.

        Raises:
            UsageError: the network cannot be made for pictures of this size.
        """
        options = self.network_options()
        network, origin = None, None
        if self.config.pretrained:
            network, origin = self._pretrained(options)
        self.facts["pretrained"] = network is not None
        if origin is not None:
            self.facts["imagenet"] = origin
        network = network or self._made(False, options)
        head = self.head and network.get_submodule(self.head)
        if isinstance(head, nn.Linear):
            head.reset_parameters()  # timm draws some final layers far too large for two classes
        return network.to(memory_format=torch.channels_last)

    def network_options(self) -> dict[str, Any]:
        """What ``timm.create_model`` is given besides the name."""
        c = self.config
        options: dict[str, Any] = {"num_classes": self.task.num_classes}
        options |= {"drop_rate": c.drop} if c.drop else {}
        options |= {"drop_path_rate": c.drop_path} if c.drop_path else {}
        if self._cfg.fixed_input_size and self.side != self._cfg.input_size[-1]:
            options["img_size"] = (self.side, self.side)
        return options

    def _pretrained(self, options: dict[str, Any]) -> tuple[nn.Module | None, Any]:
        """A network with weights and, where they came with a package, which; None where there are none."""
        name = self.config.network
        network = self._made(False, options)
        if origin := load_packaged(network, name):
            return network, origin
        try:
            return self._made(True, options), None
        except Exception as error:
            log.warning("%s starts from random weights: timm's could not be fetched (%s)", name, type(error).__name__)
            return None, None

    def _made(self, pretrained: bool, options: dict[str, Any]) -> nn.Module:
        try:
            return timm.create_model(self.config.network, pretrained=pretrained, **options)
        except (TypeError, AssertionError, ValueError) as error:
            if pretrained:
                raise
            given = ", ".join(f"{name}={value}" for name, value in options.items())
            raise UsageError(f"timm cannot make {self.config.network} with {given}: {error}") from error

    def inputs(self, batch: Batch, training: bool) -> torch.Tensor:
        """Normalised as the network's weights expect; in training flipped and jittered on the device."""
        pixels, c = batch.pixels, self.config
        if training and c.flip:
            chosen = torch.rand(len(pixels), 1, 1, 1, device=pixels.device) < c.flip
            pixels = torch.where(chosen, pixels.flip(2), pixels)
        x = normalize(pixels, self._cfg.mean, self._cfg.std)
        if training and c.jitter:
            gain, shift = ((torch.rand(len(x), 1, 1, 1, device=x.device) * 2 - 1) * c.jitter for _ in range(2))
            x = x * (1 + gain) + 2 * shift
        return x

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """New for each experience."""
        c, params = self.config, model.parameters()
        if c.optimizer == "sgd":
            return torch.optim.SGD(params, lr=c.lr, momentum=0.9, weight_decay=c.weight_decay, fused=True)
        kind = torch.optim.AdamW if c.optimizer == "adamw" else torch.optim.Adam
        return kind(params, lr=c.lr, weight_decay=c.weight_decay, fused=True)

    def schedulers(self, optimizer: torch.optim.Optimizer, total: int) -> list[Any]:
        """Those of an experience of ``total`` steps."""
        c = self.config
        if c.schedule == "cosine":
            return [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)]
        if c.schedule == "one_cycle":
            return [torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=c.lr, total_steps=total + 1)]
        return []

    def train(self, loop: Loop) -> None:
        """Passes over the data with the configured schedule, which restarts with each experience."""
        c, optimizer = self.config, self.optimizer(loop.model)
        loop.optimize(optimizer, schedulers=self.schedulers(optimizer, max(c.epochs * loop.batches_per_epoch, 2)))
        for _ in loop.epochs(c.epochs):
            for batch in loop.batches():
                with loop.autocast():
                    loss = self.loss(loop.model, batch)
                loop.step(loss)

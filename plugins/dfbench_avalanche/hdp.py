"""HDP: past forgeries are replayed as perturbations of present real faces.

Sun et al., "Continual Face Forgery Detection via Historical Distribution Preserving", IJCV 2025,
arXiv:2308.06217, with the settings of the authors' code (``skJack/HDP``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from avalanche.core import SupervisedPlugin
from pydantic import Field
from torch import nn

from dfbench import Effects, Need, Strategy, StrategyConfig, StrategyContext, Training, UsageError, unit_ids
from dfbench_avalanche.features import HeadInputs
from dfbench_avalanche.teacher import FeaturePlugin, check_copy, evaluated, joined, network_inputs, predicting

REAL, FAKE = 0, 1


def perturbed(x: torch.Tensor, perturbation: torch.Tensor) -> torch.Tensor:
    """Network inputs (N, …) plus one perturbation (1, …), clamped to the range of the inputs."""
    return (x + perturbation).clamp(x.min(), x.max())


def running_statistics(model: nn.Module) -> list[torch.Tensor]:
    """Running means and variances of all batch normalisations that move them."""
    layers = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    # .data: autograd has kept them with the pass, and does not read them in its backward pass.
    return [t.data for layer in layers for t in (layer.running_mean, layer.running_var) if t is not None]


class HDPPlugin(FeaturePlugin):
    """One universal adversarial perturbation per experience, and distillation of features.

    The previous network is in the student's mode, as in the authors' code: its batch normalisation takes the
    statistics of the batch where the student's does.
    """

    def __init__(self, heads: tuple[str, ...], config: HDPConfig, targets: torch.Tensor, effects: Effects) -> None:
        super().__init__(heads)
        self.config, self.targets, self.effects = config, targets, effects
        self.perturbations: list[torch.Tensor] = []
        self._before: list[torch.Tensor] = []  # running statistics before this step

    def before_forward(self, training: Training, **kwargs: Any) -> None:
        """Also keep the running statistics of batch normalisation, which the step is going to move."""
        super().before_forward(training, **kwargs)
        if self.perturbations and self.config.statistics == "joint":
            self._before = [t.clone() for t in running_statistics(training.model)]

    def before_backward(self, training: Training, **kwargs: Any) -> None:
        """Train perturbed real units as fakes, and add the distances of features."""
        if self.previous is None:
            return
        rows, x = self.rows(training), training.mbatch[0].detach()
        real = (training.mbatch[1] == REAL).nonzero()[:, 0]
        if len(real) == 0:
            return
        for part, own_part in zip(self.previous.modules(), training.model.modules(), strict=True):
            part.training = own_part.training  # what the detector has frozen stays frozen
        before = self.of_previous(training, x)
        away = F.mse_loss(rows.features[real], before.features[real])
        if self.perturbations and len(real) >= min(2, training.train_mb_size):  # not 1: batch normalisation
            chosen = self.perturbations[int(torch.randint(len(self.perturbations), ()))]
            seeming = perturbed(x[real], chosen.to(x.device))
            shared = self._shared_statistics(training.model, len(x), len(seeming))
            with HeadInputs(training.model, self.heads) as inputs, training.autocast(), shared:
                logits = training.model(seeming)
            own = joined(inputs.caught, self.heads, logits, len(seeming))
            away = away + F.mse_loss(own.features, self.of_previous(training, seeming).features)
            called_fake = F.cross_entropy(own.logits, torch.full_like(real, FAKE))
            new, old = len(x), len(seeming)
            training.loss = (new * training.loss + old * called_fake) / (new + old)
            self.effects.add("perturbed_units", old)
        training.loss = training.loss + self.config.features * away
        self.effects.add("feature_distance", away.detach())

    @contextlib.contextmanager
    def _shared_statistics(self, model: nn.Module, new: int, old: int) -> Iterator[None]:
        """A context for the second pass of a step, after which running statistics have moved once.

        They are the means of both passes' statistics, weighted by rows, as if all rows were in one batch, but for the
        variance between the two parts.
        """
        if self.config.statistics == "separate":
            yield
            return
        statistics = running_statistics(model)
        first = [t.clone() for t in statistics]
        for tensor, before in zip(statistics, self._before, strict=True):
            tensor.copy_(before)
        yield
        for tensor, of_batch in zip(statistics, first, strict=True):
            tensor.lerp_(of_batch, new / (new + old))

    def after_training_exp(self, training: Training, **kwargs: Any) -> None:
        """Search the perturbation that makes the network take real units for this experience's forgeries."""
        ids = unit_ids(training.experience.dataset)
        real = ids[self.targets[ids] == REAL]
        if len(real):
            with predicting(training), evaluated(training.model):
                self.perturbations.append(self._search(training, real))
        super().after_training_exp(training, **kwargs)

    def _search(self, training: Training, real: torch.Tensor) -> torch.Tensor:
        """The perturbation, (1, …) on the CPU, with which the network calls ``rate`` of the real units fake."""
        c, found = self.config, torch.empty(0)
        for _ in range(c.passes):
            for batch in training.batches_of(real):
                x = network_inputs(training, batch)
                if not len(found):
                    found = 0.001 * torch.rand_like(x[:1])
                for _ in range(c.tries):
                    found = found.detach().requires_grad_()
                    with training.autocast():
                        logits = training.model(perturbed(x, found)).float()
                    if float((logits.argmax(1) == FAKE).float().mean()) >= c.rate:
                        break
                    loss = F.cross_entropy(logits, torch.full((len(x),), FAKE, device=x.device))
                    (slope,) = torch.autograd.grad(loss, found)
                    found = (found - c.step * slope.sign()).clamp(-c.epsilon, c.epsilon)
                    self.effects.add("perturbation_steps", 1)
        return found.detach().cpu()


class HDPConfig(StrategyConfig):
    """Options of HDP; the defaults are the authors', but for ``tries``."""

    features: float = Field(1.0, ge=0, description="weight of the squared distances to the previous network's features")
    epsilon: float = Field(0.15, gt=0, description="largest perturbation of an input value (inputs of about -1 to 1)")
    step: float = Field(1e-4, gt=0, description="change of the perturbation per step of the search")
    rate: float = Field(0.8, gt=0, le=1, description="share of real units that the network is to call fake")
    passes: int = Field(5, ge=1, description="passes of the search over the experience's real units")
    statistics: Literal["joint", "separate"] = Field(
        "joint", description="running statistics move once per step, by all rows, or once for each of the two passes"
    )
    tries: int = Field(100, ge=1, description="steps of the search on one batch at most")


class HDP(Strategy):
    """Historical distribution preserving (Sun et al. 2025). No picture is stored.

    After each experience a universal adversarial perturbation is searched with which the network calls real units
    fake. Later, real units of the batch with one of the past perturbations added are trained as fake, and features of
    real and of perturbed units are held to the previous network's.

    Differences from the authors' code: perturbations are added to the network's input, as the detector makes it, and
    the sum is clamped to the range of the batch, theirs to −1 … 1. Perturbed units have a forward pass of their own,
    theirs are part of the batch; both are weighted by their number, in the loss and in running statistics. Features
    are the head's input. The search on a batch ends after ``tries`` steps at the latest, theirs only when ``rate`` is
    reached. Their optional KL term, a softmax over the rows of one logit, is left out.
    """

    Config: ClassVar = HDPConfig
    needs: ClassVar[frozenset[Need]] = frozenset(
        {Need.GRADIENTS, Need.LOGITS, Need.LINEAR_HEAD, Need.UNIT_LOGITS, Need.INPUTS}
    )

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        if int(context.targets.max()) > FAKE:
            raise UsageError("hdp makes fakes of real faces: it needs a stream of two classes, real and fake")
        self._model = context.model
        check_copy(context.model)
        self._plugin = HDPPlugin(context.heads, self.config, context.targets, self.effects)
        return [self._plugin]

    def state_dict(self) -> dict[str, Any]:
        """The perturbations and the previous network."""
        return {"perturbations": self._plugin.perturbations, "previous": self._plugin.state_dict()}

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        self._plugin.perturbations = list(state["perturbations"])
        self._plugin.load_state_dict(state["previous"], self._model)

"""Parts that strategies share which learn from the previous network: its copy, and the features of a step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from avalanche.core import SupervisedPlugin
from torch import nn

from dfbench import PluginError, Training, UnitOutputs, copy_network
from dfbench_avalanche.features import HeadInputs


@dataclass(frozen=True)
class Rows:
    """Outputs of a network for N units.

    Attributes:
        features: float32 (N, D), the inputs of its heads.
        logits: float32 (N, classes).
    """

    features: torch.Tensor
    logits: torch.Tensor


class Labelled(NamedTuple):
    """Rows of one network of an ensemble.

    Attributes:
        features: float32 (R, D), the inputs of its head.
        logits: float32 (R, classes).
        classes: int64 (R,): the class of each row; of a soft label the likeliest.
    """

    features: torch.Tensor
    logits: torch.Tensor
    classes: torch.Tensor


class FeaturePlugin(SupervisedPlugin):
    """Catches the features of the training step itself, and keeps the network that the last experience left.

    Attributes:
        previous: that network, frozen, in eval mode; None in the first experience.
    """

    def __init__(self, heads: tuple[str, ...]) -> None:
        super().__init__()
        self.heads = heads
        self.previous: nn.Module | None = None
        self._taps: HeadInputs | None = None

    def before_forward(self, training: Training, **kwargs: Any) -> None:
        """Start to catch features, of the training step's pass alone."""
        self._taps = HeadInputs(training.model, self.heads)

    def after_forward(self, training: Training, **kwargs: Any) -> None:
        """Stop catching."""
        if self._taps is not None:
            self._taps.remove()

    def caught(self) -> dict[str, torch.Tensor]:
        """The input of each head in this step's forward pass, with the graph.

        Raises:
            PluginError: the training loop did not pass through all of them.
        """
        features = self._taps.caught if self._taps is not None else {}
        self._taps = None
        return complete(features, self.heads)

    def rows(self, training: Training) -> Rows:
        """This step's features and logits, one row per unit, with the graph.

        Raises:
            PluginError: a unit has several rows, or several labels.
        """
        labels, units = training.mbatch[1], training.units
        if labels.dim() != 1:
            raise PluginError(f"this strategy needs one label per unit, not labels of shape {tuple(labels.shape)}")
        return joined(self.caught(), self.heads, training.mb_output, len(units))

    def labelled(self, training: Training) -> list[Labelled]:
        """This step's features, logits and classes with the graph, for each network of an ensemble that trains alone.

        One entry, with the features of all heads, where the detector has a row for each unit; see
        :meth:`dfbench.Detector.unit_rows`.
        """
        outputs = training.step_outputs()
        return self._labelled(self.caught(), outputs, outputs.logits)

    def of_previous_labelled(self, training: Training, x: torch.Tensor) -> list[Labelled]:
        """The same of the previous network for the step's network inputs ``x``, without a graph."""
        assert self.previous is not None
        with torch.no_grad(), HeadInputs(self.previous, self.heads) as inputs, training.autocast():
            logits = self.previous(x)
        return self._labelled(inputs.caught, training.step_outputs(), logits)

    def _labelled(self, caught: dict[str, torch.Tensor], outputs: UnitOutputs, logits: torch.Tensor) -> list[Labelled]:
        if outputs.rows.targets.dim() != 2:
            raise PluginError("this strategy needs one label per row; a detector whose units have several says them "
                              "in unit_rows")  # fmt: skip
        classes, parts = outputs.rows.targets.argmax(1), outputs.rows.parts
        if len(parts) == 1:
            rows = joined(caught, self.heads, logits, len(classes))
            return [Labelled(rows.features, rows.logits, classes)]
        features = by_network(caught, self.heads, parts)
        return [
            Labelled(*part) for part in zip(features, logits.float().split(parts), classes.split(parts), strict=True)
        ]

    def of_previous(self, training: Training, x: torch.Tensor) -> Rows:
        """Outputs of the previous network for network inputs (N, …), without a graph."""
        assert self.previous is not None
        with torch.no_grad(), HeadInputs(self.previous, self.heads) as inputs, training.autocast():
            logits = self.previous(x)
        return joined(inputs.caught, self.heads, logits, len(x))

    def after_training_exp(self, training: Training, **kwargs: Any) -> None:
        """Keep the network that predicts now as the next one's teacher."""
        with predicting(training):
            self.keep(training.model)

    def keep(self, model: nn.Module) -> None:
        """Keep a frozen copy in eval mode."""
        self.previous = copy_network(model).eval().requires_grad_(False)

    def state_dict(self) -> dict[str, Any]:
        """The previous network."""
        return {} if self.previous is None else {"model": dict(self.previous.state_dict())}

    def load_state_dict(self, state: dict[str, Any], model: nn.Module) -> None:
        """Restore it; ``model`` is a network of the same shape."""
        if state:
            self.keep(model)
            assert self.previous is not None
            self.previous.load_state_dict(state["model"])


def check_copy(model: nn.Module) -> None:
    """Refuse a network that cannot become a teacher, before it is trained.

    Raises:
        IncompatibleError: it cannot be copied.
    """
    copy_network(model)


def complete(features: dict[str, torch.Tensor], heads: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """The inputs of all heads.

    Raises:
        PluginError: some are missing.
    """
    if len(features) < len(heads):
        raise PluginError("this strategy needs the input of each head, but the network did not pass through them all")
    return features


def joined(features: dict[str, torch.Tensor], heads: tuple[str, ...], logits: torch.Tensor, units: int) -> Rows:
    """Features of all heads, concatenated, one row per unit.

    Raises:
        PluginError: the network returned another number of rows, or did not pass through a head.
    """
    parts = [complete(features, heads)[head].float().flatten(1) for head in heads]
    for part in (logits, *parts):
        if len(part) != units:
            raise PluginError(f"this strategy needs one row per unit, not {len(part)} for {units} units")
    return Rows(torch.cat(parts, dim=1), logits.float())


def by_network(caught: dict[str, torch.Tensor], heads: tuple[str, ...], parts: tuple[int, ...]) -> list[torch.Tensor]:
    """The features of each network of an ensemble, float32 (R, D) each.

    Raises:
        PluginError: a network did not pass through its head, or gives other rows than the detector says.
    """
    features = [complete(caught, heads)[head].float().flatten(1) for head in heads]
    if [len(f) for f in features] != list(parts):
        raise PluginError(f"this strategy needs the rows {parts} of the networks' heads, not {[*map(len, features)]}")
    return features


@dataclass(frozen=True)
class Measured:
    """What the network makes of each of N units, for a choice among them.

    Attributes:
        features: float64 (N, D).
        entropy: float64 (N,), of its output, in nats.
    """

    features: torch.Tensor
    entropy: torch.Tensor


def measured(training: Training, ids: torch.Tensor, heads: tuple[str, ...]) -> Measured:
    """Features and entropy of these units, int64 (N,), on the CPU, by the present network in its present mode.

    Of a unit with several rows, or with several things inside that training mixes, it is looked at each of them by
    itself (:meth:`dfbench.Detector.unmixed`): features are their means over the rows of a network, one after another,
    and the entropy is the mean of all. Networks of an ensemble that see some units only take no part.
    """
    found = []
    with torch.no_grad():
        for batch in training.batches_of(ids):
            mixes: list[torch.Tensor | None] = [*training.unmixed(batch)] or [None]
            looks = [_look(training, batch, mix, heads) for mix in mixes]
            features = torch.cat([look.features for look in looks], dim=1)
            found.append(Measured(features, torch.stack([look.entropy for look in looks]).mean(0)))
    return Measured(torch.cat([m.features for m in found]), torch.cat([m.entropy for m in found]))


def _look(training: Training, ids: torch.Tensor, mix: torch.Tensor | None, heads: tuple[str, ...]) -> Measured:
    with HeadInputs(training.model, heads) as inputs:
        outputs = training.reference_outputs(ids, mix)
    parts = outputs.rows.parts
    if len(parts) == 1:
        rows = joined(inputs.caught, heads, outputs.logits, len(outputs.logits))
        networks = [(rows.features, rows.logits)]
    else:
        networks = list(zip(by_network(inputs.caught, heads, parts), outputs.logits.split(parts), strict=True))
    features: list[torch.Tensor] = []
    entropies: list[torch.Tensor] = []
    for (f, logits), units in zip(networks, outputs.rows.units.split(parts), strict=True):
        counts = torch.bincount(units, minlength=len(ids))
        if not counts.all():
            continue
        log_p = F.log_softmax(logits.double().cpu(), dim=1)
        for values, kept in ((f.double().cpu(), features), (-(log_p.exp() * log_p).sum(1, keepdim=True), entropies)):
            total = values.new_zeros(len(ids), values.shape[1]).index_add(0, units, values)
            kept.append(total / counts[:, None])
    return Measured(torch.cat(features, dim=1), torch.cat(entropies, dim=1).mean(1))


def measure(training: Training, ids: torch.Tensor, heads: tuple[str, ...]) -> Rows:
    """Outputs of the present network for these units, in its present mode.

    Args:
        training: the training.
        ids: int64 (N,).
        heads: names of the network's heads.

    Returns:
        N rows on the CPU, without a graph.
    """
    found = []
    with torch.no_grad():
        for batch in training.batches_of(ids):
            with HeadInputs(training.model, heads) as inputs:
                logits = training.reference_logits(batch)
            found.append(joined(inputs.caught, heads, logits, len(batch)))
    return Rows(torch.cat([r.features.cpu() for r in found]), torch.cat([r.logits.cpu() for r in found]))


def network_inputs(training: Training, ids: torch.Tensor) -> torch.Tensor:
    """What the detector passes to its network for these units, int64 (N,): (N, …), in the network's present mode.

    Raises:
        PluginError: it is not a tensor of one row per unit.
    """
    seen: list[Any] = []

    def see(module: nn.Module, args: tuple[Any, ...]) -> None:
        if torch.is_grad_enabled():  # the pass of the loss itself
            seen.append(args[0] if args else None)

    hook = training.model.register_forward_pre_hook(see)
    try:
        with torch.no_grad():
            training.reference_loss(ids)
    finally:
        hook.remove()
    if not seen or not isinstance(seen[0], torch.Tensor) or len(seen[0]) != len(ids):
        raise PluginError("this strategy works on the network's input, which has to be a tensor of one row per unit")
    return seen[0].detach()


@contextlib.contextmanager
def evaluated(model: nn.Module) -> Iterator[None]:
    """A context in eval mode, after which every part has its former mode."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextlib.contextmanager
def borrowed(model: nn.Module, source: nn.Module | None) -> Iterator[None]:
    """A context in which ``model`` has the weights and buffers of ``source``, a network of the same shape.

    The module itself stays, with its hooks. None: it keeps its own.
    """
    if source is None:
        yield
        return
    own = {name: t.detach().clone() for name, t in model.state_dict().items() if isinstance(t, torch.Tensor)}
    model.load_state_dict(source.state_dict())
    try:
        yield
    finally:
        model.load_state_dict(own, strict=False)


def predicting(training: Training) -> contextlib.AbstractContextManager[None]:
    """A context, for ``after_training_exp``, in which the network has the weights that predict.

    They are the averaged ones where the detector keeps an average, and else its own.
    """
    return borrowed(training.model, training.averaged)


def soft_labels(logits: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """T² times the mean over rows of the Kullback–Leibler divergence of the softened outputs (Hinton et al. 2015)."""
    student, aim = F.log_softmax(logits / temperature, 1), F.log_softmax(teacher / temperature, 1)
    return temperature**2 * F.kl_div(student, aim, reduction="batchmean", log_target=True)


def supervised_contrast(features: torch.Tensor, labels: torch.Tensor, temperature: float) -> torch.Tensor:
    """The supervised contrastive loss (Khosla et al. 2020, arXiv:2004.11362, L_out), times its temperature.

    Args:
        features: (N, D), scaled to length 1 here.
        labels: int64 (N,); rows of the same label are pulled together.
        temperature: divides the cosines.

    Returns:
        The mean over the rows that have another of their label; 0 if none has.
    """
    points = F.normalize(features, dim=1)
    itself = torch.eye(len(points), dtype=torch.bool, device=points.device)
    near = (points @ points.T / temperature).masked_fill(itself, -torch.inf)
    shares = (near - near.logsumexp(1, keepdim=True)).masked_fill(itself, 0)
    positive = (labels[:, None] == labels[None, :]) & ~itself
    count = positive.sum(1)
    each = -(shares * positive).sum(1) / count.clamp(min=1)
    return temperature * each.sum() / (count > 0).sum().clamp(min=1)

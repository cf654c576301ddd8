"""What the strategy of a run adds to the network, from one experience to the next."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from dfbench.errors import IncompatibleError, PluginError
from dfbench.runs.prepare import Prepared
from dfbench.runs.randomness import restored, seed_of
from dfbench.training.adaptation import Adaptation, AdaptContext, add_adaptations, dumped, parsed
from dfbench.training.modeling import linear_heads


class Adapting:
    """Adds to the network of a run, and knows what was added.

    Args:
        prepared: The run.

    Attributes:
        adaptations: All that is in the network beyond what its detector builds, in order.

    Raises:
        IncompatibleError: Each experience is to begin with a new network, and the strategy adds to one that stays.
    """

    def __init__(self, prepared: Prepared) -> None:
        self.prepared, self.adaptations = prepared, list(prepared.adaptations)
        self._model = prepared.network
        self._built = set(prepared.network.state_dict())
        stream = prepared.stream
        if prepared.strategy.adapts and stream.fresh_model:
            raise IncompatibleError(
                f"strategy {prepared.spec.strategy} adds to the network from one experience to the next, and "
                f"{stream.name} begins each with a new network (fresh_model)"
            )

    def before(self, experience: int) -> tuple[nn.Parameter, ...]:
        """Add what the strategy wants in the network for an experience (index from 0); returns the new parameters.

        Raises:
            PluginError: It adds what it does not declare.
            IncompatibleError: The network has no place for it.
        """
        run, model = self.prepared, self._model
        strategy, detector = run.strategy, run.detector
        if not strategy.adapts:
            return ()
        heads = tuple(linear_heads(model, detector.head))
        context = AdaptContext(experience, len(run.stream.experiences), detector, heads)
        with restored():
            wanted: list[Adaptation] = list(strategy.adapt(model, context))
            if strange := [each.adapter for each in wanted if each.adapter not in strategy.adapts]:
                raise PluginError(
                    f"strategy {run.spec.strategy!r} adds {strange[0]!r}, which its attribute adapts does not name"
                )
            before = {id(p) for p in model.parameters()}
            generator = torch.Generator().manual_seed(seed_of(run.spec.seed, experience + 1))
            add_adaptations(model, wanted, run.adapters, generator)
        self.adaptations += wanted
        return tuple(p for p in model.parameters() if id(p) not in before)

    @property
    def added_bytes(self) -> int:
        """Bytes of what the strategy has put into the network."""
        added = (t for name, t in self._model.state_dict().items() if name not in self._built)
        return sum(t.numel() * t.element_size() for t in added)

    def state(self) -> list[dict[str, Any]]:
        """All that was added, for a checkpoint."""
        return dumped(self.adaptations)

    def load(self, state: Any) -> None:
        """Build the network of a checkpoint again; its weights are loaded afterwards."""
        known = parsed(state, "the checkpoint")
        add_adaptations(self._model, known[len(self.adaptations) :], self.prepared.adapters, origin="the checkpoint")
        self.adaptations = known

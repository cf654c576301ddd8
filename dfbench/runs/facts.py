"""What a record says of a run beyond its scores: the network, what was counted and measured, where it ran."""

from __future__ import annotations

from typing import Any

import torch

from dfbench.plugins import Registry
from dfbench.runs.environment import environment, git_state, peak_memory
from dfbench.runs.session import Session

NOTHING = {"forward": [0], "backward": [0], "passes": 0.0}
"""The compute of a training that there was none of; scoring is not counted."""


def facts_of(session: Session, registry: Registry, code: dict[str, str]) -> dict[str, Any]:
    """Fields of :class:`dfbench.records.record.Record`, at the end of a run.

    Args:
        session: The run.
        registry: Where its plugins are looked up.
        code: What it was made with.
    """
    spec, ledger, mid_training = session.spec, session.ledger, session.mid_training
    plugins = (registry.detectors.plugin(spec.detector), registry.strategies.plugin(spec.strategy))
    where = environment(session.device, {f"{p.name} ({p.distribution})": p.version for p in plugins})
    return {
        "detector": {
            "parameters": sum(p.numel() for p in session.template.model.parameters()),
            "head": session.detector.head,
            "facts": session.detector.facts,
            "adaptations": session.adapting.state(),
        },
        "input": {  # what it takes to build this network again without the data
            "native_size": session.stream.native_size,
            "size": session.loader.pixels.shape[1:3],
            "unit": session.tests.units.rows.shape[1:],
        },
        "effects": {name: value for name, value in session.strategy.effects.values().items() if value},
        "memory": _memory(session),
        "steps": ledger.steps,
        "compute": ledger.compute if session.strategy.trains else NOTHING,
        "trained": session.strategy.trains,
        "mid_training": mid_training.points if mid_training is not None else None,
        "stability": mid_training.stability if mid_training is not None else None,
        "seconds": ledger.seconds,
        "peak_memory": peak_memory(session.device),
        "resumed": ledger.resumed,
        "environment": {**where, "code": code, "processes": session.ranks.size},
        "git": git_state(),
    }


def _memory(session: Session) -> dict[str, Any]:
    ledger, picture = session.ledger, session.loader.sample_bytes
    in_bytes = getattr(session.strategy.config, "memory_bytes", None)
    return {
        "budget_samples": in_bytes // picture if in_bytes else session.spec.memory,
        "samples": ledger.stored,
        "held": ledger.held,
        "bytes": [count * picture for count in ledger.stored],
        "state_bytes": session.adapting.added_bytes
        + sum(t.numel() * t.element_size() for t in _tensors(session.strategy.state_dict())),
    }


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    children = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [tensor for child in children for tensor in _tensors(child)]

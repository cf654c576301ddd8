"""Options by which rows differ, so that a reader can tell them apart."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dfbench.publish.board.row import BoardRow
from dfbench.records.spec import DETECTOR_BUDGET


def with_options(rows: Sequence[BoardRow]) -> list[BoardRow]:
    """Where it started, and options by which rows of one detector and preset, or of one strategy, differ."""
    starts: dict[tuple[str, str], _Values] = {}
    detectors: dict[tuple[str, str], _Values] = {}
    strategies: dict[str, _Values] = {}
    for row in rows:
        spec = row.first.spec
        strategies.setdefault(spec.strategy, _Values()).add(spec.strategy_config)
        if not row.baseline:
            starts.setdefault(row.kind, _Values()).add(spec.initial_weights)
            detectors.setdefault(row.kind, _Values()).add(spec.detector_config)
    result = []
    for row in rows:
        spec = row.first.spec
        idle = DETECTOR_BUDGET if row.baseline else ()
        config = {name: value for name, value in spec.detector_config.items() if name not in idle}
        texts = [
            *starts.get(row.kind, _Values()).differing(spec.initial_weights, "", row.baseline),
            *detectors.get(row.kind, _Values()).differing(config, "", row.baseline),
            *strategies[spec.strategy].differing(spec.strategy_config, "strategy."),
        ]
        if spec.init is not None:
            texts = [f"from {spec.init.label}", *texts]
        if spec.tuned:
            texts = [f"tuned: {', '.join(spec.tuned)}", *texts]
        result.append(replace(row, options=tuple(texts)))
    return result


class _Values:
    """How many of some rows have which value of an option."""

    def __init__(self) -> None:
        self._rows = 0
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, config: Mapping[str, Any]) -> None:
        """Another row."""
        self._rows += 1
        self._counts.update((key, text_of(value)) for key, value in config.items())

    def differing(self, config: Mapping[str, Any], prefix: str, itself: bool = False) -> list[str]:
        """``key=value`` where others have another value, unless more than half of all have this one.

        Args:
            config: Options of a row.
            prefix: Before each key.
            itself: The row is counted next to those that were added.
        """
        rows, texts = self._rows + itself, []
        for key in sorted(config):
            same = self._counts[key, text_of(config[key])] + itself
            if same < rows and 2 * same <= rows:
                texts.append(f"{prefix}{key}={json.dumps(config[key], ensure_ascii=False)}")
        return texts


def text_of(value: Any) -> str:
    """The same for equal values: 1 and 1.0 are one."""
    whole = isinstance(value, float) and value.is_integer()
    return json.dumps(int(value) if whole else value, sort_keys=True)

"""The spec of a run: everything that decides its result, and the hash that is its identity."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, ValidationError, model_serializer

from dfbench.documents import MalformedError, load_yaml
from dfbench.errors import DataError, UsageError, unknown
from dfbench.records.initial import InitialCheckpoint

if TYPE_CHECKING:
    from dfbench.benchmarks.stream import Stream
    from dfbench.training.detector import Detector
    from dfbench.training.strategies import Strategy

STRATEGY_PREFIX = "strategy."
LONGEST_PART = 50
"""Letters of a name within the name of a run, which is a folder's: file systems allow 255 bytes."""
DEFAULT_MEMORY = 200
"""Samples a strategy may store when neither the benchmark nor the user says (Avalanche's default)."""


DETECTOR_BUDGET = ("epochs", "steps", "batch_size")
"""What a benchmark may say about training itself."""


SPEED = ("bf16", "channels_last", "compile")
"""What ``--tune`` may choose: autocast to bf16, the memory order of weights, ``torch.compile``."""
Tuned = tuple[Literal["bf16", "channels_last", "compile"], ...]
MEASURES = ("eval_every", "eval_samples", "further_tests", "skipped_tests")
"""Fields of a spec that change what a record says, and no weight."""
FURTHER = ("further_tests", "skipped_tests")
"""Those of them that are tested next to the experiences."""
LEFT_OUT = (*FURTHER, "init")
"""Fields that are left out of a spec's JSON where they are empty."""


class RunSpec(BaseModel):
    """Everything that decides a run's result."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    detector: str
    preset: str
    detector_config: dict[str, Any]
    strategy: str
    strategy_config: dict[str, Any]
    benchmark: str
    data_fingerprint: str
    memory: int
    """Samples that the strategy may store, in all."""
    split: Literal["test", "val"] = "test"
    """The split that is scored; ``val`` to choose hyperparameters."""
    seed: int = 0
    tuned: Tuned = ()
    """Speed settings that training ran under, in the order of :data:`SPEED`; they change its arithmetic."""
    initial_weights: dict[str, Any] = {}
    """What the weights are before training, where the options alone do not decide it (``{"pretrained": False}``): the
    detector's ``facts`` as :meth:`dfbench.Detector.build` leaves them."""
    init: InitialCheckpoint | None = None
    """The checkpoint that training starts from, or that is evaluated as it is; None: the network as it is built."""
    eval_every: int | None = None
    """Optimizer steps from one evaluation in the middle of a training to the next; None: there is none. The weights
    are the same without it, the record says less."""
    eval_samples: int | None = None
    """Test units of each experience in those evaluations; None: all."""
    further_tests: str | None = None
    """Fingerprint of what is tested next to the experiences; None: nothing is. See
    :attr:`dfbench.benchmarks.stream.Stream.further_fingerprint`."""
    skipped_tests: tuple[str, ...] = ()
    """What of it the benchmark has and was not asked for."""

    @model_serializer(mode="wrap")
    def _without_empty(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what there is none of, so that specs from before there was such keep their identity."""
        document: dict[str, Any] = serialize(self)
        return {name: value for name, value in document.items() if value or name not in LEFT_OUT}

    @property
    def training(self) -> dict[str, Any]:
        """What decides the weights, as JSON holds it: all but what is only measured, and what weights are called."""
        return {name: value for name, value in self._decisive().items() if name not in MEASURES}

    def _decisive(self) -> dict[str, Any]:
        """The spec as JSON holds it, without the name of the checkpoint: the same weights may have several."""
        document = self.document()
        if self.init is not None:
            document["init"] = {name: value for name, value in document["init"].items() if name != "name"}
        return document

    @property
    def shown(self) -> dict[str, Any]:
        """The spec for readers: ``precision`` is what training ran in, which ``tuned`` may have changed."""
        document = self.document()
        if "bf16" in self.tuned:
            document["detector_config"] = {**self.detector_config, "precision": "bf16"}
        return document

    @property
    def row_id(self) -> str:
        """Ten hexadecimal digits that specs share which differ in the seed alone (or in what is only measured)."""
        row = {name: value for name, value in self.training.items() if name != "seed"}
        return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()[:10]

    def document(self) -> dict[str, Any]:
        """The spec as JSON holds it."""
        return self.model_dump(mode="json")

    @property
    def identity(self) -> str:
        """sha256 (hex) of the canonical JSON of the spec, without the name of the checkpoint that it starts from."""
        return hashlib.sha256(json.dumps(self._decisive(), sort_keys=True).encode()).hexdigest()

    @property
    def asked(self) -> str:
        """The identity without what building the network said of its weights (:attr:`initial_weights`): sha256 (hex).

        It is known before any network is built, so that thousands of runs can be told apart in seconds.
        """
        asked = {**self._decisive(), "initial_weights": {}}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

    @property
    def run_id(self) -> str:
        """A readable name, unique by its last part."""
        parts = [
            self.detector,
            self.preset,
            self.strategy,
            self.benchmark,
            f"s{self.seed}",
            self.identity[:8],
        ]
        return "-".join(map(name_part, parts))

    @property
    def run_id_start(self) -> str:
        """How the names of all runs of this detector and preset begin."""
        return f"{name_part(self.detector)}-{name_part(self.preset)}-"


def name_part(text: str) -> str:
    """A text as a part of a run's name."""
    return re.sub(r"[^A-Za-z0-9_.]+", "_", text)[:LONGEST_PART]


def parse_settings(settings: Sequence[str] | Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(detector options, strategy options) of ``key=value`` texts, values read as YAML, or of keys and values.

    >>> parse_settings(["epochs=2", "strategy.memory=100"])
    ({'epochs': 2}, {'memory': 100})
    >>> parse_settings({"epochs": 2, "strategy.memory": 100})
    ({'epochs': 2}, {'memory': 100})

    Raises:
        UsageError: A text is not ``key=value``, a key is given twice, or a value cannot be read in one way only.
    """
    pairs = settings.items() if isinstance(settings, Mapping) else map(_parse_setting, settings)
    detector: dict[str, Any] = {}
    strategy: dict[str, Any] = {}
    for key, value in pairs:
        target = strategy if key.startswith(STRATEGY_PREFIX) else detector
        name = key.removeprefix(STRATEGY_PREFIX)
        if name in target:
            raise UsageError(f"--set {key} is given twice; give it once")
        target[name] = value
    return detector, strategy


def _parse_setting(setting: str) -> tuple[str, Any]:
    key, equals, text = setting.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set {setting!r} is not of the form key=value")
    try:
        value = load_yaml(text, origin=f"--set {key.strip()}") if text else ""
    except MalformedError:
        value = text
    except DataError as error:
        raise UsageError(str(error)) from None
    return key.strip(), _number(value) if value == text.strip() else value  # what is quoted is meant as text


def parse_tuned(text: str) -> Tuned | None:
    """The settings that ``--tune`` names, in their order; None: they are to be measured.

    >>> parse_tuned("channels_last,bf16"), parse_tuned("plain"), parse_tuned("measure")
    (('bf16', 'channels_last'), (), None)

    Raises:
        UsageError: an unknown setting, with the nearest one.
    """
    if text == "measure":
        return None
    names = [] if text == "plain" else [name.strip() for name in text.split(",")]
    for name in names:
        if name not in SPEED:
            raise unknown("--tune setting", name, (*SPEED, "plain", "measure"))
    return in_order(names)


def in_order(names: Sequence[str]) -> Tuned:
    """Speed settings in the order of :data:`SPEED`, each once."""
    return tuple(name for name in SPEED if name in names)  # type: ignore[misc]


def detector_config(
    kind: type[Detector],
    name: str,
    preset: str | None,
    settings: Mapping[str, Any],
    budget: Mapping[str, Any],
    strategy: type[Strategy],
) -> tuple[str, Any]:
    """(preset, validated configuration): the preset's values, then the benchmark's budget, then the user's.

    Raises:
        UsageError: no such preset, an unknown key (with the nearest one), or a value of the wrong type.
    """
    preset = preset or next(iter(kind.presets))
    if preset not in kind.presets:
        raise unknown(f"preset of detector {name}", preset, kind.presets)
    fields = kind.Config.model_fields
    elsewhere = [key for key in settings if key not in fields and key in strategy.Config.model_fields]
    if elsewhere:
        raise UsageError(
            f"--set {elsewhere[0]}: an option of the strategy; write --set {STRATEGY_PREFIX}{elsewhere[0]}=…"
        )
    limits = {key: value for key, value in budget.items() if key in fields}
    return preset, _validated(kind.Config, {**kind.presets[preset], **limits, **settings}, f"detector {name}", "")


def without_start(kind: type[Detector], values: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a detector whose weights come from a checkpoint: those that decide other weights are off.

    Args:
        kind: The detector; :attr:`dfbench.Detector.start_options` names these options.
        values: The options so far.
    """
    fields = kind.Config.model_fields
    off = {name: False if fields[name].annotation is bool else None for name in kind.start_options if name in fields}
    return {**values, **off}


def strategy_config(kind: type[Strategy], name: str, settings: Mapping[str, Any]) -> Any:
    """The validated configuration of a strategy."""
    return _validated(kind.Config, dict(settings), f"strategy {name}", STRATEGY_PREFIX)


def memory_budget(stream: Stream, config: Any) -> int:
    """Samples that a strategy may store, in all: the user's, else the benchmark's, else the default."""
    budget = stream.budget
    if getattr(config, "memory", None):
        return int(config.memory)
    if budget.memory is not None:
        return budget.memory
    if budget.memory_per_experience is not None:
        return budget.memory_per_experience * len(stream.experiences)
    return DEFAULT_MEMORY


def _validated(model: type[BaseModel], values: dict[str, Any], what: str, prefix: str) -> Any:
    for key in values:
        if key not in model.model_fields:
            raise unknown(f"--set option of {what}", prefix + key, [prefix + known for known in model.model_fields])
    try:
        config = model.model_validate(values, strict=False)
        for key, value in values.items():  # pydantic takes true for the number 1
            if isinstance(value, bool) and not isinstance(getattr(config, key), bool):
                raise UsageError(f"--set {prefix}{key}={str(value).lower()} of {what}: this is not a yes-or-no option")
        for key, value in config.model_dump().items():
            if not _is_finite(value):
                raise UsageError(f"--set {prefix}{key}={value} of {what}: not a finite number")
        return config
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"--set {prefix}{key}={first['input']!r} of {what}: {first['msg'].removeprefix('Value error, ')}"
        ) from error


def _is_finite(value: Any) -> bool:
    """Whether no number in a value is NaN or infinite: no record can hold one, and no training survives one."""
    if isinstance(value, Mapping):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _number(value: Any) -> Any:
    """YAML reads ``1e-3`` as text; numbers are meant as numbers."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value

"""What a strategy has put into a network, so that everybody can build it again: a list of adapters with their options.

A strategy says before each experience what is to be added (:meth:`dfbench.Strategy.adapt`), as names of adapters and
options that JSON can hold. The same list builds the network of a resumed run, of ``--init``, of the zoo and of the Hub;
it travels in the header of the weights' file. What an adapter adds lies in the network's own modules and ``forward``,
so nobody who predicts has to know of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol

import torch
from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError
from torch import nn

from dfbench.errors import DataError, UsageError, first_problem
from dfbench.plugin_faults import calling

KEY = "dfbench_adaptations"
"""Where the header of a file of weights holds them."""
MOST = 1000
"""Adaptations of one network."""


class AdapterOptions(BaseModel):
    """Options of an adapter; they come from files of strangers too, so each needs its bounds."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Adapter:
    """Something that can be added to a network: low-rank matrices, prompts, a further head.

    Attributes:
        Options: class of the options.
    """

    Options: ClassVar[type[AdapterOptions]] = AdapterOptions

    def add(self, model: nn.Module, options: Any, generator: torch.Generator) -> None:
        """Add it to a network in place. The network stays the same object, on its device.

        Names of what was in the state dict before stay as they are, so that weights of the plain network still fit.

        Args:
            model: the network, perhaps with earlier adapters in it.
            options: an ``Options``.
            generator: the only source of random numbers, on the CPU.

        Raises:
            IncompatibleError: the network has no place for it.
        """
        raise NotImplementedError(f"{type(self).__name__} must define add()")


class Adaptation(BaseModel):
    """One thing that was added to a network.

    Attributes:
        adapter: name under which the adapter is registered.
        options: of the adapter, as JSON holds them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    adapter: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")
    options: dict[str, JsonValue] = {}


@dataclass(frozen=True)
class AdaptContext:
    """What a strategy may know when it decides what to add before an experience.

    Attributes:
        experience: index of the coming one, from 0.
        experiences: number of experiences of the stream.
        detector: the :class:`dfbench.Detector` whose network it is.
        heads: names of the network's final linear layers.
    """

    experience: int
    experiences: int
    detector: Any
    heads: tuple[str, ...]


class AdapterTable(Protocol):
    """The registered adapters by name, as :attr:`dfbench.plugins.Registry.adapters` is."""

    def load(self, name: str, base: type | None = None) -> Any: ...

    def __contains__(self, name: object) -> bool: ...


def add_adaptations(
    model: nn.Module,
    adaptations: Sequence[Adaptation],
    adapters: AdapterTable,
    generator: torch.Generator | None = None,
    origin: str = "",
) -> None:
    """Add what a list says, in its order.

    Args:
        model: the network, changed in place; what is new is on its device.
        adaptations: what to add.
        adapters: the registered ones.
        generator: of the new weights; may be left out where they are replaced at once.
        origin: the checkpoint that they are of, for error messages; empty: a strategy asks for them.

    Raises:
        UsageError: an adapter is not installed.
        DataError: its options are not valid.
        IncompatibleError: the network has no place for it.
    """
    place = next((p.device for p in model.parameters()), torch.device("cpu"))
    generator = generator or torch.Generator().manual_seed(0)
    for each in adaptations:
        if each.adapter not in adapters:
            of = origin or "the strategy"
            raise UsageError(f"{of} needs the adapter {each.adapter!r}, which no installed plugin provides")
        adapter = adapters.load(each.adapter, Adapter)()
        try:
            options = adapter.Options.model_validate(each.options)
        except ValidationError as error:
            raise DataError(f"{origin or 'adapter'}: adapter {each.adapter!r}: {first_problem(error)}") from error
        with calling(adapter, "add"):
            adapter.add(model, options, generator)
    model.to(place)


def dumped(adaptations: Sequence[Adaptation]) -> list[dict[str, Any]]:
    """As JSON holds them."""
    return [each.model_dump(mode="json") for each in adaptations]


def parsed(value: Any, origin: str) -> list[Adaptation]:
    """From their JSON value.

    Raises:
        DataError: it is something else; ``origin`` is named.
    """
    try:
        return _LIST.validate_python(value)
    except ValidationError as error:
        raise DataError(f"{origin}: what was added to the network: {first_problem(error)}") from error


def metadata_of(adaptations: Sequence[Adaptation]) -> dict[str, str]:
    """The header of a file of weights; empty for a network as its detector builds it."""
    return {KEY: json.dumps(dumped(adaptations))} if adaptations else {}


def read_adaptations(path: Path, name: str) -> list[Adaptation]:
    """What was added to the network whose weights are in a file of safetensors.

    Args:
        path: the file.
        name: what errors call the checkpoint.

    Raises:
        DataError: the file is missing or damaged, or its header holds something else.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header: Mapping[str, str] = file.metadata() or {}
    except FileNotFoundError:
        raise DataError(f"{name}: {path} is missing") from None
    except (OSError, ValueError, SafetensorError) as error:
        raise DataError(f"{path}: not a safetensors file ({' '.join(str(error).split())})") from error
    if KEY not in header:
        return []
    try:
        value = json.loads(header[KEY])
    except ValueError as error:
        raise DataError(f"{name}: {path}: its header is damaged ({error})") from error
    return parsed(value, name)


_LIST: TypeAdapter[list[Adaptation]] = TypeAdapter(Annotated[list[Adaptation], Field(max_length=MOST)])

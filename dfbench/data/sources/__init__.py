"""What reads a data set: the contract of a source, and how one is made from the options of a stream.

A source is a class. Its constructor takes the root folder and its own options as keyword arguments;
their annotations are what the values in a YAML file are checked against::

    class MyFaces:
        def __init__(self, root: Path | None, *, compression: str = "c23") -> None: ...
        def samples(self) -> Samples: ...               # the table, without decoding a picture
        def read(self, sample: str) -> np.ndarray: ...  # one sample's pixels: uint8 (H, W, 3), RGB

An instance is pickled to the processes that decode pictures, so it holds paths and options, not open
files. ``read`` raises :class:`~dfbench.data.pictures.PictureError` for a picture that cannot be used.

Optional, each for a reason:

- ``classes``: names of the classes, where they are not ``("real", "fake")``.
- ``needs_root = False``: the source makes its pictures itself; ``root`` may be None.
- ``notes``: after ``samples()``, a list of lines the user should see (what was ignored, and why).
- ``stamp(sample) -> str``: a cheap text that changes when the sample's picture does. Without it every
  picture is read again at every start to make sure that it is still the same.
- ``prepare(progress)``: called once before ``samples()``; makes what the source needs (renders pictures).
- ``stored(samples, size) -> PixelView | None``: the pixels, where the source has them as a store already.
- ``inspect(sample) -> Inspection``: hash and size of a picture, where that is cheaper than ``read``.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dfbench.errors import DataError, UsageError, unknown

if typing.TYPE_CHECKING:
    from dfbench.data.samples import Samples

REAL_FAKE: tuple[str, ...] = ("real", "fake")


class Source(Protocol):
    """What every source has; see the module's text for what one may have besides."""

    def samples(self) -> Samples:
        """The table of all samples; ``sha256`` may be empty, names are those that ``read`` takes."""
        ...

    def read(self, sample: str) -> np.ndarray:
        """Pixels of one sample: uint8 (H, W, 3), RGB."""
        ...


def class_names(source: Source) -> tuple[str, ...]:
    """The names of a source's classes, in the order of its labels."""
    return tuple(getattr(source, "classes", REAL_FAKE))


def option_names(factory: Callable[..., Source]) -> list[str] | None:
    """The options that a source's constructor takes; None where it takes any."""
    known, takes_any = _options(factory)
    return None if takes_any else sorted(known)


@dataclass(frozen=True)
class Origin:
    """A source together with what it was made from."""

    name: str
    root: Path | None
    options: Mapping[str, Any]
    source: Source

    @property
    def place(self) -> str:
        """Identifies these files on this machine."""
        return _digest([self.name, str(self.root.resolve()) if self.root else None, dict(self.options)])

    @property
    def kind(self) -> str:
        """Identifies how pixels are made of content, on any machine."""
        return _digest([self.name, dict(self.options)])


def open_source(name: str, factory: Callable[..., Source], root: Path | None, options: Mapping[str, Any]) -> Origin:
    """Construct a source after checking its options against the constructor's annotations.

    :param name: the registered name, for the errors
    :param root: an existing folder, or None where the source needs none
    :raise UsageError: an unknown option or a value of the wrong type
    :raise DataError: the root does not exist
    """
    if root is not None and not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"source {name!r}: the root {root} {what}")
    known, takes_any = _options(factory)
    for key in options:
        if key not in known and not takes_any:
            raise unknown(f"option of source {name!r}", key, known)
    checked = {key: _checked(name, key, value, known.get(key, Any)) for key, value in options.items()}
    return Origin(name, root, dict(options), factory(root, **checked))


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _options(factory: Callable[..., Source]) -> tuple[dict[str, Any], bool]:
    """Option name → annotation, and whether the constructor takes any other as well."""
    parameters = list(inspect.signature(factory).parameters.values())[1:]  # the first is the root
    try:
        constructor = factory.__init__ if isinstance(factory, type) else factory  # type: ignore[misc]
        hints = typing.get_type_hints(constructor)
    except Exception:  # an annotation that cannot be resolved is no reason to refuse the source
        hints = {}
    by_name = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    named = {name: hints.get(name, Any) for name in by_name}
    return named, any(p.kind is p.VAR_KEYWORD for p in parameters)


def _checked(source: str, key: str, value: Any, annotation: Any) -> Any:
    from pydantic import ConfigDict, TypeAdapter, ValidationError
    from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

    try:
        return TypeAdapter(annotation, config=ConfigDict(strict=False)).validate_python(value)
    except ValidationError as error:
        problem = error.errors()[0]["msg"]
        raise UsageError(f"source {source!r}, option {key}: {problem} (got {value!r})") from None
    except (PydanticSchemaGenerationError, PydanticUserError):
        return value

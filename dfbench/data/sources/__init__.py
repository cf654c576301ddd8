"""Data sources: the contract of a source, and its construction from the options of a stream.

A source is a class. Its constructor takes the root folder and its own options as keyword arguments;
their annotations are what the values in a YAML file are checked against::

    class MyFaces:
        def __init__(self, root: Path | None, *, compression: str = "c23") -> None: ...
        def samples(self) -> Samples: ...               # the table, without decoding a picture
        def read(self, sample: str) -> np.ndarray: ...  # one sample's pixels: uint8 (H, W, 3), RGB

An instance is pickled to the processes that decode pictures, so it holds paths and options, not open
files. ``read`` raises :class:`~dfbench.data.pictures.PictureError` for a picture that cannot be used.

Optional attributes:

- ``classes``: names of the classes, unless they are ``("real", "fake")``.
- ``needs_root = False``: the source makes its pictures itself; ``root`` may be None.
- ``notes``: after ``samples()``, a list of lines for the user (files ignored, with the reason).
- ``stamp(sample) -> str``: a cheap text that changes when the sample's picture does. Without it every
  picture is read at every start, since it may have changed.
- ``prepare(progress)``: called once before ``samples()``; renders or converts the pictures, say.
- ``stored(samples, size) -> PixelView | None``: the pixels, if the source keeps them as a store already.
- ``inspect(sample) -> Inspection``: hash and size of a picture, if that is cheaper than ``read``.
- ``inspected(samples) -> Inspected``: the same of all samples at once, if the source knows it without reading them.
- ``undecoded(samples, size) -> EncodedPixels``: pixels that are decoded when they are fetched; used where the
  decoded ones do not fit into the cache (``DFBENCH_CACHE_GB``).
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

from dfbench.errors import DataError, UsageError, first_problem, unknown
from dfbench.plugin_faults import Fault

if typing.TYPE_CHECKING:
    from dfbench.data.samples import Samples

REAL_FAKE: tuple[str, ...] = ("real", "fake")


class Source(Protocol):
    """The required part of a source; the module's docstring lists the optional attributes."""

    def samples(self) -> Samples:
        """The table of all samples; ``sha256`` may be empty, names are those that ``read`` takes."""
        ...

    def read(self, sample: str) -> np.ndarray:
        """Pixels of one sample: uint8 (H, W, 3), RGB."""
        ...


def class_names(source: Source) -> tuple[str, ...]:
    """Names of a source's classes, in the order of its labels; real and fake by default."""
    return tuple(getattr(source, "classes", REAL_FAKE))


def option_names(factory: Callable[..., Source]) -> list[str] | None:
    """The options that a source's constructor accepts; None if it accepts any."""
    known, takes_any = _options(factory)
    return None if takes_any else sorted(known)


@dataclass(frozen=True)
class Origin:
    """A source with the name, root and options that it was constructed from."""

    name: str
    root: Path | None
    options: Mapping[str, Any]
    source: Source

    @property
    def location_hash(self) -> str:
        """Hash of the root and the options: the same files on this machine, read in the same way."""
        return _digest([self.name, str(self.root.resolve()) if self.root else None, dict(self.options)])

    @property
    def decoding_hash(self) -> str:
        """Hash of the source and the options alone: the same content gives the same pixels, on any machine."""
        return _digest([self.name, dict(self.options)])


def open_source(name: str, factory: Callable[..., Source], root: Path | None, options: Mapping[str, Any]) -> Origin:
    """Construct a source after checking its options against the constructor's annotations.

    Args:
        name: the registered name, for error messages.
        factory: the source's class.
        root: an existing folder, or None if the source needs none.
        options: keyword arguments of the constructor, as they are in the stream file.

    Raises:
        UsageError: an unknown option or a value of the wrong type.
        DataError: the root does not exist.
    """
    if root is not None and not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"source {name!r}: the root {root} {what}")
    return Origin(name, root, dict(options), factory(root, **checked_options(f"source {name!r}", factory, options)))


def checked_options(what: str, factory: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as the annotations of a function want them; its first parameter is the root.

    Args:
        what: whose options they are, for error messages.
        factory: a class, or a function.
        options: name → value, as a user gave it.

    Raises:
        UsageError: an unknown option or a value of the wrong type.
    """
    known, takes_any = _options(factory)
    for key in options:
        if key not in known and not takes_any:
            raise unknown(f"option of {what}", key, known)
    return {key: _checked(what, key, value, known.get(key, Any)) for key, value in options.items()}


def read_pixels(source: Source, sample: str) -> np.ndarray:
    """Read one sample, and check that the source keeps its contract: uint8 (H, W, 3).

    Raises:
        PictureError: the picture cannot be used.
        Fault: the source returned something else.
    """
    pixels = source.read(sample)
    is_array = isinstance(pixels, np.ndarray)
    if not is_array or pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        got = f"{pixels.dtype} {pixels.shape}" if is_array else type(pixels).__name__
        raise Fault(source, "read", f"returned {got} for {sample!r}, not uint8 (H, W, 3)")
    return pixels


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _options(factory: Callable[..., Any]) -> tuple[dict[str, Any], bool]:
    """Option name → annotation, and whether the constructor accepts any other option too (``**kwargs``)."""
    parameters = list(inspect.signature(factory).parameters.values())[1:]  # the first is the root
    try:
        constructor = factory.__init__ if isinstance(factory, type) else factory  # type: ignore[misc]
        hints = typing.get_type_hints(constructor, include_extras=True)
    except Exception:  # an annotation that cannot be resolved is no reason to refuse the source
        hints = {}
    by_name = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    named = {name: hints.get(name, Any) for name in by_name}
    return named, any(p.kind is p.VAR_KEYWORD for p in parameters)


def _checked(what: str, key: str, value: Any, annotation: Any) -> Any:
    from pydantic import ConfigDict, TypeAdapter, ValidationError
    from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

    try:
        return TypeAdapter(annotation, config=ConfigDict(strict=False)).validate_python(value)
    except ValidationError as error:
        raise UsageError(f"{what}, option {key}: {first_problem(error)} (got {value!r})") from None
    except (PydanticSchemaGenerationError, PydanticUserError):  # a class that pydantic cannot check
        return value

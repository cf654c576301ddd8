"""YAML and JSON that are read: what two readers could understand differently is refused.

The parsers of the standard library and of PyYAML keep the last of two equal keys, accept NaN, and expand a few
hundred bytes of YAML aliases to gigabytes. Every document that dfbench reads is read by these functions instead.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NoReturn

import yaml

from dfbench.errors import DataError

LIMIT = 1 << 20
"""Characters that a YAML document may have; those that people write have a few thousand."""

VALUES = 100_000
"""Values that a YAML document may have once its aliases are expanded."""

_MERGE = "tag:yaml.org,2002:merge"
_VALUE = "tag:yaml.org,2002:value"


def load_yaml(text: str, *, origin: str | Path, limit: int = LIMIT) -> Any:
    """Parse one YAML document of plain values.

    Args:
        text: The document.
        origin: What it is, for errors: a path, an option.
        limit: Characters that it may have.

    Raises:
        DataError: It is not YAML, too large (also by its aliases), an alias contains itself, a mapping has a key
            twice, or a number is not finite. The message names the origin and, where known, the line.
    """
    if len(text) > limit:
        raise DataError(f"{origin}: {len(text)} characters are more than the {limit} that are read of YAML")
    loader = None
    try:
        loader = _StrictLoader(text)
        return loader.get_single_data()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or _line(error)
        raise MalformedError(f"{origin}{line}: not YAML ({reason})") from error
    except _Refused as error:
        raise DataError(f"{origin}, line {error.line}: {error}") from error
    except RecursionError as error:
        raise MalformedError(f"{origin}: not YAML (nested too deeply)") from error
    except ValueError as error:  # a date in month 13, an integer of 5000 digits
        raise MalformedError(f"{origin}: not YAML ({_line(error)})") from error
    finally:
        if loader is not None:
            loader.dispose()


def load_json(text: str, *, origin: str | Path) -> Any:
    """Parse JSON without repeated keys and without numbers that are not finite.

    Args:
        text: The document.
        origin: What it is, for errors.

    Raises:
        DataError: It is not such a document.
    """
    try:
        return json.loads(text, parse_constant=_not_finite, parse_float=_finite, object_pairs_hook=_object)
    except RecursionError as error:
        raise MalformedError(f"{origin}: not JSON (nested too deeply)") from error
    except json.JSONDecodeError as error:
        raise MalformedError(f"{origin}, line {error.lineno}: not JSON ({error.msg})") from error
    except ValueError as error:
        raise DataError(f"{origin}: {error}") from error


def read_yaml(path: Path, *, limit: int = LIMIT) -> Any:
    """Parse a file as :func:`load_yaml` does; DataError too where it cannot be read."""
    return load_yaml(_text(path), origin=path, limit=limit)


def read_json(path: Path) -> Any:
    """Parse a file as :func:`load_json` does; DataError too where it cannot be read."""
    return load_json(_text(path), origin=path)


class MalformedError(DataError):
    """The text is not YAML or JSON, as opposed to a document that is refused for what it says."""


class _Refused(Exception):
    """YAML that is well-formed and is refused nevertheless."""

    def __init__(self, message: str, node: yaml.Node) -> None:
        super().__init__(message)
        self.line = node.start_mark.line + 1


class _StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader, which checks the tree of nodes before any value is made of it."""

    def get_single_node(self) -> yaml.Node | None:
        """The root of the tree; None for an empty document."""
        root = super().get_single_node()
        if root is not None and self._size(root, {}) > VALUES:
            raise _Refused(f"more than {VALUES} values once its aliases are expanded", root)
        return root

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        """A finite number."""
        value = super().construct_yaml_float(node)
        if not math.isfinite(value):
            raise _Refused(f"{node.value} is not a finite number", node)
        return value

    def _size(self, node: yaml.Node, sizes: dict[int, int]) -> int:
        """Values at and below a node, with aliases expanded; each node is walked once.

        Args:
            node: Where to start.
            sizes: id of a node → its size; 0 while the walk is below it.
        """
        if id(node) in sizes:
            if not sizes[id(node)]:
                raise _Refused("an alias contains itself", node)
            return sizes[id(node)]
        sizes[id(node)] = 0
        children: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            self._check_keys(node)
            children = [child for pair in node.value for child in pair]
        elif isinstance(node, yaml.SequenceNode):
            children = node.value
        sizes[id(node)] = 1 + sum(self._size(child, sizes) for child in children)
        return sizes[id(node)]

    def _check_keys(self, node: yaml.MappingNode) -> None:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _Refused("a key is not a single word or number", key)
            value = key.value if key.tag in (_MERGE, _VALUE) else self.construct_object(key)
            if value in seen:
                raise _Refused(f"the key {key.value!r} is there twice", key)
            seen.add(value)


_StrictLoader.add_constructor("tag:yaml.org,2002:float", _StrictLoader.construct_yaml_float)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: cannot be read (not UTF-8)") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _not_finite(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a finite number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _not_finite(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(n for n in names if names.count(n) > 1)!r} is there twice in one object")
    return value

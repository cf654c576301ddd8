"""``dfbench show``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfbench.cli.examples import examples
from dfbench.errors import printable

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from dfbench.plugins import Registry


@click.command("show", epilog=examples("dfbench show xception", "dfbench show forge5"))
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="One JSON list on stdout.")
def command(name: str, as_json: bool) -> None:
    """Show a detector's presets and options, a strategy's options and needs, a benchmark's or a reproduction's
    file, a source, a logger's options."""
    from dfbench.cli.output import print_json
    from dfbench.errors import unknown
    from dfbench.plugins import registry

    known = registry()
    kinds: dict[str, Any] = {"detector": known.detectors, "strategy": known.strategies, "benchmark": known.benchmarks,
             "source": known.sources, "metric": known.metrics, "logger": known.loggers,
             "reproduction": known.reproductions}  # fmt: skip
    found = [_describe(known, kind, name) for kind, names in kinds.items() if name in names]
    if not found:
        raise unknown("name", name, sorted({n for names in kinds.values() for n in names}))
    found = _printable(found)
    if as_json:
        print_json(found)
        return
    for description in found:
        _print(description)


def _describe(known: Registry, kind: str, name: str) -> dict[str, Any]:
    from dfbench.errors import PluginError

    names = getattr(known, {"strategy": "strategies"}.get(kind, kind + "s"))
    entry, plugin = names[name], names.plugin(name)
    distribution = f"{plugin.distribution} {plugin.version}".strip()
    result: dict[str, Any] = {"kind": kind, "name": name, "summary": entry.summary, "target": entry.target,
                              "plugin": plugin.name, "distribution": distribution}  # fmt: skip
    if kind in ("benchmark", "reproduction"):
        try:
            result["file"] = Path(entry.target).read_text(encoding="utf-8")
        except OSError as error:
            raise PluginError(
                f"{kind} {name!r} of plugin {plugin.name!r} ({plugin.distribution}): "
                f"{entry.target}: cannot be read ({error.strerror})"
            ) from error
        if kind == "benchmark":
            result["sets"] = _sets(Path(entry.target))
        return result
    target = _target(known, kind, name)
    result["about"] = (target.__doc__ or "").strip().splitlines()[0] if target.__doc__ else ""
    if kind == "detector":
        result["presets"] = target.presets
    if kind == "strategy":
        result["needs"] = sorted(need.value for need in target.needs)
        result["paper"] = entry.paper
    if kind in ("detector", "strategy", "logger"):
        prefix = "strategy." if kind == "strategy" else ""
        result["options"] = {
            prefix + key: {
                "default": _default(field),
                "about": field.description or "",
                "type": _type(field.annotation),
            }
            for key, field in target.Config.model_fields.items()
        }
    return result


def _sets(file: Path) -> list[dict[str, Any]]:
    """The prepared sets that a benchmark describes: where each is expected, whether it is there, what makes it."""
    from dfbench.benchmarks.schema import read_stream_file, unseen_sets
    from dfbench.benchmarks.sets import needed_sets

    spec, entries = read_stream_file(file)
    needed = needed_sets(spec.sets, [*entries, *unseen_sets(file, spec)], None)
    return [
        {"name": each.name, "folder": str(each.folder), "prepared": each.is_there, "command": each.command}
        for each in needed
    ]


def _target(known: Registry, kind: str, name: str) -> Any:
    """What is registered, checked to be of its kind where that has a base class."""
    if kind == "detector":
        from dfbench.training.detector import load_detector

        return load_detector(known, name)
    if kind == "strategy":
        from dfbench.training.strategies import Strategy

        return known.strategies.load(name, Strategy)
    if kind == "logger":
        from dfbench.runs.loggers import Logger

        return known.loggers.load(name, Logger)
    return getattr(known, f"{kind}s").load(name)


def _printable(value: Any) -> Any:
    """What plugins say of themselves, control characters written out."""
    if isinstance(value, dict):
        return {printable(str(key)): _printable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(inner) for inner in value]
    return printable(value) if isinstance(value, str) else value


def _default(field: FieldInfo) -> Any:
    """A default as JSON holds it; None where the option must be given."""
    from pydantic_core import to_jsonable_python

    return None if field.is_required() else to_jsonable_python(field.get_default(call_default_factory=True))


def _type(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


def _words(kind: str) -> str:
    """A type in English: ``int | None`` is a whole number, ``Literal['a', 'b']`` is a or b.

    >>> _words("Literal['fp32', 'bf16']"), _words("int | None"), _words("tuple[str, ...]")
    ('fp32 or bf16', 'whole number', 'tuple[str, ...]')
    """
    kind = kind.removesuffix(" | None")
    if kind.startswith("Literal["):
        *others, last = (part.strip(" '") for part in kind[len("Literal[") : -1].split(","))
        return f"{', '.join(others)} or {last}" if others else last
    return {"int": "whole number", "float": "number", "str": "text", "bool": "true or false"}.get(kind, kind)


def _print(description: dict[str, Any]) -> None:
    from rich.text import Text

    from dfbench.cli.output import console, say, table

    out = console()
    plugin = f"plugin {description['plugin']} ({description['distribution']})"
    out.print(Text.assemble((description["name"], "bold"), f" – {description['kind']} of {plugin}"))
    for key in ("summary", "about", "paper"):
        if description.get(key):
            say(str(description[key]))
    for need in description.get("needs", []):
        say(f"needs: {need}")
    if "presets" in description:
        rows = [[name, ", ".join(f"{k}={v}" for k, v in values.items()) or "the defaults below"]
                for name, values in description["presets"].items()]  # fmt: skip
        out.print()
        out.print(table("", ["preset", "sets"], rows))
    if "options" in description:
        rows = [[key, _words(o["type"]), "–" if o["default"] is None else str(o["default"]), o["about"]]
                for key, o in description["options"].items()]  # fmt: skip
        set_by = f"--log {description['name']}:" if description["kind"] == "logger" else "--set"
        out.print()
        out.print(table("", [set_by, "type", "default", ""], rows))
    if "file" in description:
        out.print(description["file"], markup=False, highlight=False)
    if description.get("sets"):
        rows = [[each["name"], "yes" if each["prepared"] else "no"] for each in description["sets"]]
        out.print(table("", ["set", "prepared"], rows))
        say("FOLDER: where the data set lies (dfbench data show)")
        for each in description["sets"]:
            if not each["prepared"]:
                say(each["command"])

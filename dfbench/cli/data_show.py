"""``dfbench data show``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfbench.cli.examples import examples

if TYPE_CHECKING:
    from dfbench.data.prepare.sources.contract import DataSet

HEADINGS = {
    "access": "where to ask", "licence": "licence", "counts": "counts", "citation": "citation", "splits": "splits",
    "names": "what file names say of the class",
}  # fmt: skip


@click.command(
    "show",
    short_help="What a data set's tree is, and where to ask for the data.",
    epilog=examples("dfbench data show ffpp"),
)
@click.argument("source", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON value on stdout.")
def show(source: str | None, as_json: bool) -> None:
    """What tree the data set SOURCE is expected to have, where to ask for the data, its licence, counts, citation,
    splits and options; without SOURCE a list of all."""
    from dfbench.cli.output import console, print_json, table
    from dfbench.data.prepare.opening import data_set
    from dfbench.plugins import registry

    pages = [page(data_set(name)) for name in ([source] if source else registry().data_sets)]
    if as_json:
        print_json(pages[0] if source else pages)
        return
    if source:
        _print(pages[0])
        return
    rows = [[found["name"], found["title"], found["counts"]] for found in pages]
    console().print(table("", ["data set", "title", "counts of the full set"], rows))


def page(found: DataSet) -> dict[str, Any]:
    """Everything about a data set that is printed: the fields of its page, and its options."""
    from dataclasses import asdict
    from typing import get_type_hints

    hints = get_type_hints(found.read)
    options = {
        name: {"default": parameter.default, "values": values(hints[name])}
        for name, parameter in found.options().items()
    }
    return {"name": found.name, **asdict(found.about), "options": options}


def values(annotation: Any) -> str:
    """What an option may be, in words.

    >>> from typing import Literal
    >>> values(list[Literal["FaceSwap", "Deepfakes"]] | None)
    'list of FaceSwap, Deepfakes'
    """
    import types
    from typing import Literal, Union, get_args, get_origin

    if get_origin(annotation) is Literal:
        return ", ".join(map(str, get_args(annotation)))
    if get_origin(annotation) in (types.UnionType, Union):
        return " or ".join(values(each) for each in get_args(annotation) if each is not type(None))
    if get_origin(annotation) is list:
        return f"list of {values(get_args(annotation)[0])}"
    words = {float: "number", bool: "true, false", Path: "folder", str: "names"}
    return words.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _print(found: dict[str, Any]) -> None:
    import textwrap

    from rich.text import Text

    from dfbench.cli.output import console, table

    out = console()
    width = min(out.width, 100)

    def paragraph(heading: str, *texts: str) -> None:
        out.print(Text(heading, style="bold"))
        for text in texts:
            lines = textwrap.wrap(text, width - 2, break_on_hyphens=False, break_long_words=False)
            out.print(textwrap.indent("\n".join(lines), "  "), highlight=False)

    out.print(Text.assemble((found["name"], "bold"), f" – {found['title']}"), highlight=False)
    for key, heading in HEADINGS.items():
        if found[key]:
            paragraph(heading, found[key])
    out.print(Text("expected tree", style="bold"))
    out.print(textwrap.indent(found["tree"], "  "), highlight=False)
    paragraph("what goes wrong with it", *(f"– {trap}" for trap in found["traps"]))
    if found["options"]:
        rows = [[key, _default(option["default"]), option["values"]] for key, option in found["options"].items()]
        out.print(table("", ["--option", "default", "values"], rows))


def _default(value: Any) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

"""The page of a report: one HTML file that asks for nothing; figures, the numbers behind them and what was run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING

from dfbench.errors import DfbenchError
from dfbench.publish.plotting import FAINT, GRID, INK, METRIC_NAMES, PALETTE
from dfbench.publish.report import tables
from dfbench.publish.report.runs import Method, Run
from dfbench.publish.report.tables import Table
from dfbench.records.comparison import largest_loss, sentence
from dfbench.records.text import count, number, seconds, size

if TYPE_CHECKING:
    from jinja2 import Environment

SCALE = 1.75
"""Pixels on a screen for a point of print."""

_ROOT = re.compile(r"<svg\b.*?>", re.DOTALL)


@dataclass(frozen=True)
class Shown:
    """A figure on the page."""

    name: str
    """Of its files, without the ending."""
    svg: str
    caption: str
    alt: str
    """What it shows, in words."""
    table: Table

    @property
    def wide(self) -> bool:
        """Two columns wide in print."""
        found = re.search(r"width:(\d+)px", self.svg)
        return found is not None and int(found[1]) > 520


@dataclass(frozen=True)
class Card:
    """A figure in large type."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Section:
    """What was run and measured, of one run."""

    run: Run
    command: str | None
    tables: list[Table] = field(default_factory=list)


def render(methods: Sequence[Method], figures: Sequence[Shown]) -> str:
    """The page of one run, or of several compared."""
    runs = [run for method in methods for run in method.runs]
    single = len(runs) == 1
    first = runs[0]
    spec = first.spec
    title = f"{spec['detector']} · {spec['strategy']}" if single else f"{len(methods)} methods"
    if len(methods) == 1 and not single:
        title = f"{methods[0].label}, {len(runs)} seeds"
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            title=f"{title} on {spec['benchmark']}",
            single=single,
            spec=spec,
            experiences=first.names,
            sentence=sentence([run.record for run in runs]),
            cards=_cards(methods) if len(methods) == 1 else [],
            notes=list(dict.fromkeys(note for run in runs for note in run.record["data"].get("notes", ()))),
            dirty=[run.record["run"] for run in runs if (run.record.get("git") or {}).get("dirty")],
            summary=[tables.methods(methods), tables.final_values(methods)] if not single else [],
            figures=figures,
            sections=[section(run, single) for run in runs],
            style=_asset("report.css"),
        )
    )


def section(run: Run, whole: bool) -> Section:
    """The tables of one run; ``whole``: of a page that is about it alone."""
    record = run.record
    metric = METRIC_NAMES.get(run.headline, run.headline)
    found = [tables.per_experience(run), tables.metrics(run)]
    if not whole:
        found.append(tables.matrix(f"R: {metric}", run.names, run.matrix))
    found.append(tables.cost(run))
    memory, peak = record["memory"], record.get("peak_memory") or {}
    costs = {
        "parameters of the network": count(record["detector"]["parameters"]),
        "time in all": seconds(record["seconds"]["total"]),
        "memory budget, samples": memory["budget_samples"],
        "other state of the strategy": size(memory["state_bytes"]),
        "peak memory of the process": size(peak["host_bytes"]) if peak.get("host_bytes") else None,
        "peak memory of the device": size(peak["device_bytes"]) if peak.get("device_bytes") else None,
        "resumed, times": record.get("resumed", 0),
    }
    effects = record.get("effects") or {"": "none counted"}
    found += [
        tables.facts("Memory and compute", costs),
        tables.facts("What the strategy did", {k: f"{v:g}" if isinstance(v, float) else v for k, v in effects.items()}),
        tables.data(run),
        tables.facts("Spec", {**run.spec, "identity": record.get("identity")}),
        tables.facts("Environment", record.get("environment") or {}),
        tables.facts("State of the sources (git)", record.get("git") or {"": "not a checkout"}),
        tables.facts("Files (sha256)", record["files"]),
    ]
    return Section(run, _command(run), found)


def inline(svg: bytes, prefix: str, label: str) -> str:
    """An SVG as it stands in the page: its own ids, a text for screen readers, colours that follow the page's.

    Everything before the root element is dropped, and its size: the page decides that.
    """
    text = svg.decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", text)
    text = re.sub(r'\b(?:xlink:)?href="#([^"]+)"', rf'href="#{prefix}-\1"', text)
    for colour, variable in ((INK, "ink"), (FAINT, "faint"), (GRID, "grid"), (PALETTE[0], "blue")):
        text = text.replace(colour, f"var(--{variable})")
    root = _ROOT.search(text)
    assert root is not None
    width, height = (float(v) for v in re.findall(r'(?:width|height)="([\d.]+)pt"', root[0])[:2])
    pixels = f"{width * SCALE:.0f}px"
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'style="width:{pixels}" role="img" aria-label="{_attribute(label)}">'
    )
    return opening + text[root.end() :]


def describe(name: str, run: Run) -> tuple[str, str, Table]:
    """Caption, description and table of a figure of one run."""
    metric = METRIC_NAMES.get(run.headline, run.headline)
    last, size_ = run.names[-1], len(run.names)
    average = number(run.record["metrics"].get(f"average_{run.headline}"))
    R = tables.matrix(f"R: {metric}", run.names, run.matrix)
    if name == "matrix":
        caption = f"{metric} on the test set of each experience (column) after training on each (row)."
        return caption, f"Heat map of {metric}, {size_} by {size_}; the last row averages {average}.", R
    if name == "forgetting":
        caption = f"{metric} of each experience over the stream. A ring: just trained on it; dotted: not yet."
        ends = "; ".join(f"{n} {number(v)}" for n, v in zip(run.names, run.matrix[-1].tolist(), strict=True))
        return caption, f"A curve an experience. After {last}: {ends}.", R
    if name == "roc":
        caption = "ROC curves of the final model, by samples; a mark where the threshold is .5."
        each = "; ".join(f"{f['experience']} AUC {number(f.get('frame_auc'))}" for f in run.record["per_experience"])
        return caption, f"ROC curves of the final model: {each}.", tables.per_experience(run)
    if name == "histograms":
        caption = "Scores of the final model, real and fake, on each test set."
        pairs = [(size_ - 1, j) for j in range(size_)]
        return caption, "Histograms of P(fake) by class, a panel an experience.", tables.score_quantiles(run, pairs)
    if name == "forgotten":
        loss = largest_loss(run.record)
        assert loss is not None
        column = run.names.index(loss.experience)
        pairs = [(run.names.index(loss.after), column), (size_ - 1, column)]
        caption = f"Scores on {loss.experience} where it was known best and at the end of the stream."
        alt = f"{metric} fell from {loss.best:.3f} after {loss.after} to {loss.final:.3f} after {last}."
        return caption, alt, tables.score_quantiles(run, pairs)
    caption = f"{metric} of each experience while later ones are trained on (stability gap)."
    return caption, "A curve an experience over optimizer steps.", tables.within(run)


def describe_comparison(name: str, methods: Sequence[Method]) -> tuple[str, str, Table]:
    """Caption, description and table of a figure of several methods."""
    run = methods[0].runs[0]
    metric = METRIC_NAMES.get(run.headline, run.headline)
    if name == "matrices":
        rows = [
            (f"{m.label}: after {row[0]}", *row[1:])
            for m in methods
            for row in tables.matrix("", run.names, m.mean, m.spread).rows
        ]
        table = Table(f"R: {metric}, mean over seeds", ("method, after training on", *run.names), tuple(rows))
        return f"{metric} on each test set after training on each experience, mean over seeds.", "Heat maps.", table
    if name == "forgetting":
        rows = [(m.label, *(number(v) for v in m.seen.mean(0).tolist())) for m in methods]
        table = Table(f"{metric}, mean of the experiences seen so far", ("method", *run.names), tuple(rows))
        caption = f"{metric} of the experiences seen so far and of each, over the stream. Bands: ± standard deviation."
        return caption, "Curves of each method, a panel an experience.", table
    caption = f"{metric} at the end of the stream, minus that of {methods[0].label}."
    return caption, "Points with 95 % intervals, an experience a row.", tables.final_values(methods)


def _cards(methods: Sequence[Method]) -> list[Card]:
    (method,) = methods
    headline = method.runs[0].headline
    names = list(
        dict.fromkeys([f"average_{headline}", "average_accuracy", "forgetting", "bwt", "fwt", "learning_accuracy"])
    )
    cards = []
    for name in names:
        value, spread = method.metric(name)
        better = "lower is better" if name in tables.HIGHER_IS_WORSE else ""
        cards.append(
            Card(tables.METRIC_WORDS[name], number(value), f"± {number(spread)}" if spread is not None else better)
        )
    return cards


def _command(run: Run) -> str | None:
    """The line that makes the run again, or None for a record too old or too odd to say."""
    from dfbench.records.command import command
    from dfbench.records.record import parse_record

    try:
        return command(parse_record(run.record, run.folder / "record.json"))
    except DfbenchError:
        return None


def _attribute(text: str) -> str:
    from html import escape

    return escape(text, quote=True)


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        loader=PackageLoader("dfbench.publish.report", "assets"),
    )  # fmt: skip


def _asset(name: str) -> str:
    return resources.files("dfbench.publish.report").joinpath("assets", name).read_text(encoding="utf-8")

"""The page of a report: one HTML file that asks for nothing; figures, the numbers behind them and what was run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from dfbench.plugins import registry
from dfbench.publish import about
from dfbench.publish.plotting import FAINT, GRID, INK, PALETTE, common_unseen
from dfbench.publish.report import further, tables, thresholds
from dfbench.publish.report.conclusion import conclusions, warning
from dfbench.publish.report.runs import Method, Run
from dfbench.publish.report.tables import Table
from dfbench.records.command import command, needed_settings
from dfbench.records.comparison import describe_forgetting, most_forgotten
from dfbench.records.record import SCORES, WEIGHTS, Record
from dfbench.records.text import METRICS, count, number, seconds, size

if TYPE_CHECKING:
    from jinja2 import Environment

SCALE = 1.75
"""Pixels on a screen for a point of print."""

SUMMARY = (tables.methods, tables.final_values, tables.checked_methods)
"""The tables of several methods."""

FEW_RUNS = 4
"""Up to so many, what each kept of the experience that one forgot most fits in a sentence."""

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
    command: str
    """The line that reruns it."""
    tables: list[Table]
    """What was measured."""
    details: list[Table]
    """Where and how: spec, environment, hashes."""


def render(methods: Sequence[Method], figures: Sequence[Shown]) -> str:
    """The page of one run, or of several compared."""
    runs = [run for method in methods for run in method.runs]
    single = len(runs) == 1
    first = runs[0].record
    spec = first.spec
    title = f"{spec.detector} · {spec.strategy}" if single else f"{len(methods)} methods"
    if len(methods) == 1 and not single:
        title = f"{methods[0].label}, {len(runs)} seeds"
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            title=f"{title} on {spec.benchmark}",
            single=single,
            spec=spec,
            experiences=first.names,
            subject=about.benchmark([run.record for run in runs]),
            conclusions=conclusions(methods),
            warning=warning(methods),
            sentence=describe_forgetting([run.record for run in runs]) if len(runs) <= FEW_RUNS else "",
            cards=_cards(methods) if len(methods) == 1 else [],
            notes=list(dict.fromkeys(note for run in runs for note in run.record.notes)),
            dirty=[run.record.run for run in runs if run.record.git and run.record.git.dirty],
            summary=[] if single else [make(methods) for make in SUMMARY],
            figures=figures,
            sections=[section(run, single) for run in runs],
            style=_asset("report.css"),
        )
    )


def section(run: Run, whole: bool) -> Section:
    """The tables of one run; ``whole``: of a page that is about it alone."""
    record = run.record
    found = [tables.per_experience(run), tables.metrics(run)]
    if whole:
        found.append(tables.checked(run))
    else:
        found.append(tables.matrix(f"R: {run.metric}", run.names, run.matrix))
    found.append(tables.cost(run))
    memory, peak = record.memory, record.peak_memory
    costs = {
        "parameters of the network": count(record.detector.parameters),
        "time in all": seconds(record.seconds.total),
        "memory budget, samples": memory.budget_samples,
        "other state of the strategy": size(memory.state_bytes),
        "compute": f"{count(record.compute.passes)} passes (one pass = one picture forward and backward)"
        if record.compute
        else None,
        "peak memory of the process": size(peak.host_bytes) if peak.host_bytes else None,
        "peak memory of the device": size(peak.device_bytes) if peak.device_bytes else None,
        "resumed, times": record.resumed,
    }
    effects = {k: f"{v:g}" for k, v in record.effects.items()} or {"": "none counted"}
    git = record.git.model_dump() if record.git else {"": "not a checkout"}
    found += [
        tables.facts("Memory and compute", costs),
        tables.facts("What the strategy did", effects),
        tables.data(run),
    ]
    details = [
        tables.facts("Spec", {**record.spec.shown, "identity": record.identity}),
        tables.facts("Environment", record.environment.model_dump()),
        tables.facts("State of the sources (git)", git),
        tables.facts("Hashes (sha256)", {f"rows of {SCORES}": record.scores_sha256, WEIGHTS: record.weights_sha256}),
    ]
    return Section(run, line(record), found, details)


def line(record: Record) -> str:
    """The line that reruns a record, without the options that preset and benchmark give anyhow."""
    if record.settings is None:
        record = record.model_copy(update={"settings": needed_settings(record.spec, registry())})
    return command(record)


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
    metric, record = run.metric, run.record
    last, size_ = run.names[-1], len(run.names)
    average = number(record.metrics.get(f"average_{record.headline}"))
    sets = record.unseen_names
    R = tables.matrix(f"R: {metric}", run.names, run.matrix, unseen=run.unseen, sets=sets)
    if name == "matrix":
        caption = f"{metric} on the test set of each experience (column) after training on each (row)."
        if not record.trained:
            caption = f"{metric} of the network as it is on the test set of each experience; nothing was trained."
        caption += f" After the gap: {', '.join(sets)}, never trained on." if sets else ""
        return caption, f"Heat map of {metric}, {size_} by {size_}; the last row averages {average}.", R
    if name == "forgetting":
        caption = f"{metric} of each experience over the stream. A ring: just trained on it; dotted: not yet."
        ends = "; ".join(f"{n} {number(v)}" for n, v in zip(run.names, run.matrix[-1].tolist(), strict=True))
        return caption, f"A curve per experience. After {last}: {ends}.", R
    if name == "roc":
        caption = "ROC curves of the final model, by samples; a mark where the threshold is .5."
        each = "; ".join(f"{n} AUC {number(f.get('frame_auc'))}" for n, f in zip(run.names, run.final, strict=True))
        return caption, f"ROC curves of the final model: {each}.", tables.per_experience(run)
    if name == "histograms":
        caption = "Scores of the final model, real and fake, on each test set."
        pairs = [(size_ - 1, j) for j in range(size_)]
        return caption, "Histograms of P(fake) by class, a panel per experience.", tables.score_quantiles(run, pairs)
    if name == "robustness":
        return further.describe(run)
    if name == "thresholds":
        return thresholds.describe(run)
    if name == "forgotten":
        lost = most_forgotten(record)
        assert lost is not None
        column = run.names.index(lost.experience)
        pairs = [(run.names.index(lost.after), column), (size_ - 1, column)]
        caption = f"Scores on {lost.experience} where it was known best and at the end of the stream."
        alt = f"{metric} fell from {lost.best:.3f} after {lost.after} to {lost.final:.3f} after {last}."
        return caption, alt, tables.score_quantiles(run, pairs)
    caption = f"{metric} of each experience while later ones are trained on (stability gap)."
    return caption, "A curve per experience over optimizer steps.", tables.mid_training(run)


def describe_comparison(name: str, methods: Sequence[Method]) -> tuple[str, str, Table]:
    """Caption, description and table of a figure of several methods."""
    run = methods[0].runs[0]
    metric = run.metric
    if name == "matrices":
        sets = common_unseen([run.record for m in methods for run in m.runs])
        matrices = [tables.matrix("", run.names, m.mean, m.spread, m.unseen if sets else None, sets) for m in methods]
        rows = [
            (f"{m.label}: after {row[0]}", *row[1:]) for m, R in zip(methods, matrices, strict=True) for row in R.rows
        ]
        how = ", mean over seeds" if any(len(m.runs) > 1 for m in methods) else ""
        table = Table(f"R: {metric}{how}", ("method, after training on", *matrices[0].columns[1:]), tuple(rows))
        return f"{metric} on each test set after training on each experience{how}.", "Heat maps.", table
    if name == "forgetting":
        rows = [(m.label, *(number(v) for v in m.seen.mean(0).tolist())) for m in methods]
        table = Table(f"{metric}, mean of the experiences seen so far", ("method", *run.names), tuple(rows))
        bands = " Bands: ± standard deviation over seeds." if any(len(m.runs) > 1 for m in methods) else ""
        caption = f"{metric} of the experiences seen so far and of each, over the stream.{bands}"
        return caption, "Curves of each method, a panel per experience.", table
    caption = f"{metric} at the end of the stream, minus that of {methods[0].label}, with 95 % intervals."
    return caption, "Points with 95 % intervals, a row per experience.", tables.final_values(methods)


def _cards(methods: Sequence[Method]) -> list[Card]:
    (method,) = methods
    cards = []
    for name in tables.main_metrics(method):
        value, spread = method.metric(name)
        better = "lower is better" if name in tables.HIGHER_IS_WORSE else ""
        cards.append(Card(METRICS[name], number(value), f"± {number(spread)}" if spread is not None else better))
    return cards


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

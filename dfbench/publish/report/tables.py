"""The tables of a report: what its figures show in numbers, and what was run, where and at what cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dfbench.evaluation.detection import THRESHOLD
from dfbench.evaluation.uncertainty import interval
from dfbench.publish.plotting import METRIC_NAMES
from dfbench.publish.report.comparison import differences
from dfbench.publish.report.runs import Method, Run
from dfbench.records.text import NONE, number, seconds, size, with_spread

METRIC_WORDS = {
    "average_auc": "average AUC",
    "average_video_auc": "average video AUC",
    "average_accuracy": "average accuracy",
    "average": "average (headline)",
    "average_incremental": "average incremental",
    "learning_accuracy": "learning accuracy",
    "bwt": "backward transfer (BWT)",
    "fwt": "forward transfer (FWT)",
    "forgetting": "forgetting",
    "af": "average forgetting (AF)",
}
HIGHER_IS_WORSE = {"forgetting", "af"}


@dataclass(frozen=True)
class Table:
    """Texts in rows; the first cell of a row is its heading."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def _table(caption: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    return Table(caption, tuple(columns), tuple(tuple(row) for row in rows))


def matrix(caption: str, names: Sequence[str], values: np.ndarray, spread: np.ndarray | None = None) -> Table:
    """R, row: after which experience; column: tested on which."""

    def cell(i: int, j: int) -> str:
        if not np.isfinite(values[i, j]):
            return NONE
        return with_spread(values[i, j], None if spread is None else float(spread[i, j]))

    rows = ([name, *(cell(i, j) for j in range(len(names)))] for i, name in enumerate(names))
    return _table(caption, ["after training on ↓, tested on →", *names], rows)


def metrics(run: Run) -> Table:
    """The continual metrics of a run, with the intervals that its record or its scores give."""
    intervals = run.record.get("uncertainty") or {}
    rows = []
    for name, value in run.record["metrics"].items():
        bounds = intervals.get("average" if name == f"average_{run.headline}" else name)
        rows.append([METRIC_WORDS.get(name, name), number(value), _bounds(bounds)])
    return _table("Continual metrics", ["metric", "value", "95 % interval (videos)"], rows)


def per_experience(run: Run) -> Table:
    """What the final model does on each test set."""
    if not run.two_class:
        rows = [[f["experience"], str(f["n"]), number(f["accuracy"])] for f in run.record["per_experience"]]
        return _table("The final model on each test set", ["experience", "n", "accuracy"], rows)
    columns = {
        "frame_auc": "AUC", "video_auc": "video AUC", "average_precision": "AP", "eer": "EER",
        "eer_threshold": "threshold at EER", "accuracy": "accuracy", "accuracy_real": "on reals",
        "accuracy_fake": "on fakes", "log_loss": "log loss", "brier": "Brier", "ece": "ECE",
    }  # fmt: skip
    drawn = [_bounds(interval(run.replicates[:, -1, j])) for j in range(len(run.names))]
    rows = [
        [
            f["experience"],
            f"{f.get('n_real', NONE)} + {f.get('n_fake', NONE)}",
            str(f.get("n_videos") or NONE),
            bounds,
            *(number(f.get(key)) for key in columns),
        ]
        for f, bounds in zip(run.record["per_experience"], drawn, strict=True)
    ]
    headline = METRIC_NAMES.get(run.headline, run.headline)
    head = ["experience", "real + fake", "videos", f"{headline}, 95 % interval", *columns.values()]
    return _table(f"The final model on each test set (accuracy at threshold {THRESHOLD})", head, rows)


def score_quantiles(run: Run, pairs: Sequence[tuple[int, int]]) -> Table:
    """Scores by class, for those who cannot see a histogram; pairs of (trained on, tested on)."""
    rows = []
    for trained_on, tested_on in pairs:
        group = run.scores.get(trained_on, tested_on)
        for k, name in enumerate(run.classes):
            values = group.scores[group.labels == k] if group is not None else np.empty(0)
            if len(values):
                low, middle, high = np.quantile(values, [0.1, 0.5, 0.9])
                called = float((values > THRESHOLD).mean())
                rows.append([run.names[tested_on], run.names[trained_on], name, str(len(values)), number(float(low)),
                             number(float(middle)), number(float(high)), number(called)])  # fmt: skip
    head = ["tested on", "after", "class", "n", "10 %", "median", "90 %", f"share above {THRESHOLD}"]
    return _table("P(fake) by class", head, rows)


def within(run: Run) -> Table:
    """Measures inside trainings, each as it was made."""
    points = [p for p in run.record.get("within") or () if p["metric"] == run.headline]
    rows = [[str(p["step"]), run.names[p["trained_on"]], *(number(v) for v in p["values"])] for p in points]
    return _table("While training", ["step", "training on", *run.names], rows)


def cost(run: Run) -> Table:
    """Time, steps and memory of each training."""
    record = run.record
    at_once = len(record["steps"]) == 1 < len(run.names)
    names = ["all at once"] if at_once else run.names
    scored = record["seconds"]["evaluate"][-len(names) :]
    columns = (
        record["seconds"]["train"],
        scored,
        record["steps"],
        record["memory"]["samples"],
        record["memory"]["bytes"],
    )
    rows = [
        [name, seconds(train), seconds(score), str(steps), str(samples), size(stored)]
        for name, train, score, steps, samples, stored in zip(names, *columns, strict=False)
    ]
    head = ["training", "training time", "scoring time", "optimizer steps", "samples stored", "bytes stored"]
    return _table("Cost of each training", head, rows)


def facts(title: str, values: dict[str, Any]) -> Table:
    """Names and values, nested ones with dotted names."""
    return _table(title, ["", ""], [[key, _plain(value)] for key, value in _flat(values).items()])


def data(run: Run) -> Table:
    """Sizes of the experiences."""
    experiences = run.record["data"]["experiences"]
    splits = list(dict.fromkeys(split for e in experiences for split in e if split != "name"))
    cells = [[e["name"], *(" + ".join(str(n) for n in e.get(s, {}).values()) for s in splits)] for e in experiences]
    few = len(run.classes) <= 4
    rows = cells if few else [[e["name"], *(str(sum(e.get(s, {}).values())) for s in splits)] for e in experiences]
    kinds = f" ({' + '.join(run.classes)})" if few else f" (of {len(run.classes)} classes)"
    return _table(f"Samples of each experience{kinds}", ["experience", *splits], rows)


def methods(found: Sequence[Method]) -> Table:
    """Methods side by side: mean ± standard deviation over seeds."""
    headline = found[0].runs[0].headline
    names = list(
        dict.fromkeys([f"average_{headline}", "average_accuracy", "forgetting", "bwt", "fwt", "learning_accuracy"])
    )
    rows = []
    for method in found:
        stored = [run.record["memory"]["samples"][-1] for run in method.runs]
        time = float(np.mean([run.record["seconds"]["total"] for run in method.runs]))
        cells = [with_spread(*method.metric(name)) for name in names]
        rows.append([method.label, ", ".join(map(str, method.seeds)), *cells, str(max(stored)), seconds(time)])
    head = ["method", "seeds", *(METRIC_WORDS[name] for name in names), "samples stored", "time"]
    return _table("Methods side by side (mean ± standard deviation over seeds)", head, rows)


def final_values(found: Sequence[Method]) -> Table:
    """The headline metric on each experience at the end, and each method's difference from the first one's."""
    names = found[0].runs[0].names
    rows = []
    gaps = [{}, *({d.position: d for d in rows} for rows in differences(found))]
    for method, gap in zip(found, gaps, strict=True):
        values, spread = method.mean[-1], method.spread
        cells = [with_spread(v if np.isfinite(v) else None, None if spread is None else float(spread[-1, j]))
                 for j, v in enumerate(values)]  # fmt: skip
        rows.append([method.label, *cells])
        if gap:
            told = [_signed(gap[j]) if j in gap else NONE for j in range(len(names))]
            rows.append([f"{method.label} minus {found[0].label}", *told])
    metric = METRIC_NAMES.get(found[0].runs[0].headline, found[0].runs[0].headline)
    return _table(f"{metric} on each experience at the end; differences with 95 % intervals", ["method", *names], rows)


def _signed(difference: Any) -> str:
    sign = "+" if difference.value > 0 else ""
    return f"{sign}{number(difference.value)} [{number(difference.low)}, {number(difference.high)}]"


def _bounds(bounds: Sequence[float] | None) -> str:
    return NONE if bounds is None else f"{number(bounds[0])} – {number(bounds[1])}"


def _plain(value: Any) -> str:
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(_plain, value)) if isinstance(value, list | tuple) else str(value)


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, item in value.items():
        result |= _flat(item, f"{prefix}{key}.") if isinstance(item, dict) else {f"{prefix}{key}": item}
    return result

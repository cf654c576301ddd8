"""The tables of a report: what its figures show in numbers, and what was run, where and at what cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dfbench.evaluation import uncertainty
from dfbench.evaluation.detection import THRESHOLD
from dfbench.publish.report.comparison import Difference, differences
from dfbench.publish.report.runs import Method, Run
from dfbench.records.seeds import flat
from dfbench.records.text import METRICS, NONE, UNITS, interval, number, seconds, signed, size, with_spread
from dfbench.records.verdict import NAMES, QUESTIONS, verdicts

HIGHER_IS_WORSE = {"forgetting", "af"}


@dataclass(frozen=True)
class Table:
    """Texts in rows; the first cell of a row is its heading."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def _table(caption: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    return Table(caption, tuple(columns), tuple(tuple(row) for row in rows))


def checked(run: Run) -> Table:
    """What was checked of a run, in questions; *processing* only a leaderboard knows."""
    rows = ([QUESTIONS[each.name], f"{each.status}: {each.detail}"] for each in verdicts([run.record]))
    return _table("What was checked", ["", ""], rows)


def checked_methods(methods: Sequence[Method]) -> Table:
    """The same of several, a row per method."""
    found = [(method, verdicts([run.record for run in method.runs])) for method in methods]
    rows = ([method.label, *(f"{each.status}: {each.detail}" for each in checks)] for method, checks in found)
    return _table("What was checked", ["method", *NAMES], rows)


def matrix(
    caption: str,
    names: Sequence[str],
    values: np.ndarray,
    spread: np.ndarray | None = None,
    unseen: np.ndarray | None = None,
    sets: Sequence[str] = (),
) -> Table:
    """R, row: after which experience; column: tested on which, the unseen ``sets`` last.

    Args:
        caption: What it is.
        names: Of the experiences.
        values: float64 (T, T).
        spread: float64 (T, T).
        unseen: float64 (T, U).
        sets: Names of the U unseen sets.
    """
    if unseen is not None:
        values = np.hstack([values, unseen])

    def cell(i: int, j: int) -> str:
        if not np.isfinite(values[i, j]):
            return NONE
        return with_spread(values[i, j], None if spread is None or j >= len(names) else float(spread[i, j]))

    rows = ([name, *(cell(i, j) for j in range(values.shape[1]))] for i, name in enumerate(names))
    return _table(caption, ["after training on ↓, tested on →", *names, *(f"{name} (unseen)" for name in sets)], rows)


def metrics(run: Run) -> Table:
    """The continual metrics of a run, with the intervals that its record gives."""
    record = run.record
    drawn = record.uncertainty
    bounds = {name: getattr(drawn, name) for name in ("average", "forgetting", "bwt", "learning_accuracy")}
    bounds[f"average_{record.headline}"] = drawn.average
    rows = [
        [METRICS.get(name, name), number(value), interval(*(bounds.get(name) or (None, None)))]
        for name, value in record.metrics.items()
    ]
    return _table("Continual metrics", ["metric", "value", f"95 % interval ({UNITS[drawn.unit]})"], rows)


def per_experience(run: Run) -> Table:
    """What the final model does on each test set."""
    if not run.two_class:
        rows = [[name, str(f["n"]), number(f["accuracy"])] for name, f in zip(run.names, run.final, strict=True)]
        return _table("The final model on each test set", ["experience", "n", "accuracy"], rows)
    columns = {
        "frame_auc": "AUC", "video_auc": "video AUC", "average_precision": "AP", "eer": "EER",
        "eer_threshold": "threshold at EER", "accuracy": "accuracy", "accuracy_real": "on reals",
        "accuracy_fake": "on fakes", "log_loss": "log loss", "brier": "Brier", "ece": "ECE",
    }  # fmt: skip
    drawn = [uncertainty.interval(run.replicates[:, -1, j]) or (None, None) for j in range(len(run.names))]
    rows = [
        [
            name,
            f"{f.get('n_real', NONE)} + {f.get('n_fake', NONE)}",
            str(f.get("n_videos") or NONE),
            interval(*bounds),
            *(number(f.get(key)) for key in columns),
        ]
        for name, f, bounds in zip(run.names, run.final, drawn, strict=True)
    ]
    head = ["experience", "real + fake", "videos", f"{run.metric}, 95 % interval", *columns.values()]
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


def mid_training(run: Run) -> Table:
    """Test sets scored in the middle of trainings."""
    points = [p for p in run.record.mid_training or () if p.metric == run.record.headline]
    rows = [[str(p.step), run.names[p.trained_on], *map(number, p.values)] for p in points]
    return _table("While training", ["step", "training on", *run.names], rows)


def cost(run: Run) -> Table:
    """Time, steps and memory of each training."""
    record = run.record
    names = run.names if record.trained else ["nothing was trained"]
    names = ["all at once"] if record.trained_at_once else names
    scored = record.seconds.evaluate[-len(names) :]
    columns = (record.seconds.train, scored, record.steps, record.memory.samples, record.memory.bytes)
    rows = [
        [name, seconds(train), seconds(score), str(steps), str(samples), size(stored)]
        for name, train, score, steps, samples, stored in zip(names, *columns, strict=False)
    ]
    head = ["training", "training time", "scoring time", "optimizer steps", "samples stored", "bytes stored"]
    return _table("Cost of each training", head, rows)


def facts(title: str, values: dict[str, Any]) -> Table:
    """Names and values, nested ones with dotted names."""
    return _table(title, ["", ""], [[key, _plain(value)] for key, value in flat(values).items()])


def data(run: Run) -> Table:
    """Sizes of the experiences."""
    few = len(run.classes) <= 4
    sizes = [{"train": e.train, "val": e.val, "test": e.test} for e in run.record.data.experiences]
    splits = [split for split in ("train", "val", "test") if any(e[split] for e in sizes)]

    def cell(counts: dict[str, int]) -> str:
        return " + ".join(map(str, counts.values())) if few else str(sum(counts.values()))

    rows = ([name, *(cell(e[split]) for split in splits)] for name, e in zip(run.names, sizes, strict=True))
    kinds = f" ({' + '.join(run.classes)})" if few else f" (of {len(run.classes)} classes)"
    return _table(f"Samples of each experience{kinds}", ["experience", *splits], rows)


def main_metrics(method: Method) -> list[str]:
    """The metrics by which methods are compared, the headline average first."""
    average = f"average_{method.runs[0].record.headline}"
    return list(dict.fromkeys([average, "average_accuracy", "forgetting", "bwt", "fwt", "learning_accuracy", "next"]))


def methods(found: Sequence[Method]) -> Table:
    """Methods side by side: mean ± standard deviation over seeds."""
    names = main_metrics(found[0])
    rows = []
    for method in found:
        stored = [run.record.memory.samples[-1] for run in method.runs]
        time = float(np.mean([run.record.seconds.total for run in method.runs]))
        cells = [with_spread(*method.metric(name)) for name in names]
        rows.append([method.label, _seeds(method), *cells, str(max(stored)), seconds(time)])
    head = ["method", "seeds", *(METRICS[name] for name in names), "samples stored", "time"]
    several = any(len(method.runs) > 1 for method in found)
    how = " (mean ± standard deviation over seeds)" if several else " (one seed each)"
    return _table(f"Methods side by side{how}", head, rows)


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
            cells = [_with_interval(gap[j]) if j in gap else NONE for j in range(len(names))]
            rows.append([f"{method.label} minus {found[0].label}", *cells])
    metric = found[0].runs[0].metric
    return _table(f"{metric} on each experience at the end; differences with 95 % intervals", ["method", *names], rows)


def _with_interval(difference: Difference) -> str:
    return f"{signed(difference.value)} [{number(difference.low)}, {number(difference.high)}]"


def _seeds(method: Method) -> str:
    """``1 seed (seed 0)``, ``3 seeds (0, 1, 2)``."""
    if len(method.seeds) == 1:
        return f"1 seed (seed {method.seeds[0]})"
    return f"{len(method.seeds)} seeds ({', '.join(map(str, method.seeds))})"


def _plain(value: Any) -> str:
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(_plain, value)) or NONE if isinstance(value, list | tuple) else str(value)

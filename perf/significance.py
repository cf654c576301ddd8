"""How often the leaderboard's test calls equal rows different, and how often it finds a difference.

    python -m perf.significance [--tables 150]

Tables of rows are simulated whose true means and spreads over seeds are those of the committed continual rows of one
detector on forge5, drawn at random; seeds are normal around the mean. The spreads of three seeds scatter more than the
true ones do, so these tables are less even than the real ones; ``even`` has one spread for all rows. Every pair of rows
is compared (:func:`dfbench.evaluation.significance.compare`) after its true difference was taken out, and with a
difference of .02 put in its place. ``widest`` are the pairs with the row of the greatest true spread.

Four variances over seeds are tried: one pooled over all rows (Dunnett 1955), each row's own (Welch's test; rows of one
seed are left out), moderated ones (:func:`dfbench.evaluation.significance.moderated`), and moderated ones on the scale
asin √AUC, on which values near 1 vary like others.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from dfbench.evaluation.significance import Sample, SeedVariance, compare, moderated
from dfbench.records.record import Record
from dfbench.records.seeds import by_seed

RESULTS = Path(__file__).parent.parent / "leaderboard" / "results"
DIFFERENCE = 0.02
TEST_DATA = 0.006
"""Standard deviation of a row's error from the test data, apart from what all rows share; as of the committed rows."""
COUNT = 100
"""Replicates."""
Values = Sequence[np.ndarray]
Rule = Callable[[Values], Sequence[SeedVariance | None]]


def pooled(rows: Values) -> list[SeedVariance | None]:
    """The variance within rows, one for all."""
    freedom = sum(len(v) - 1 for v in rows)
    return [SeedVariance(float(sum(((v - v.mean()) ** 2).sum() for v in rows) / freedom), freedom)] * len(rows)


def own(rows: Values) -> list[SeedVariance | None]:
    """Each row's, None for one seed."""
    return [SeedVariance(float(np.var(v, ddof=1)), len(v) - 1) if len(v) > 1 else None for v in rows]


def moderated_on_arcsine(rows: Values) -> list[SeedVariance | None]:
    """Moderated on asin √x, and brought back by the slope at each row's mean."""
    found = moderated([np.arcsin(np.sqrt(np.clip(v, 0, 1))) for v in rows])
    slopes = [4 * float(np.mean(v)) * (1 - float(np.mean(v))) for v in rows]
    return [each and SeedVariance(each.value * slope, each.freedom) for each, slope in zip(found, slopes, strict=True)]


RULES: dict[str, Rule] = {
    "pooled": pooled, "own": own, "moderated": moderated, "moderated, arcsine": moderated_on_arcsine,
}  # fmt: skip


def table(
    rng: np.random.Generator, truth: np.ndarray, seeds: Sequence[int]
) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """Rows of a simulated table: true means and spreads (rows, 2), values of each row's seeds, errors of replicates."""
    values, errors = [], []
    for mean, spread in truth:
        n = int(rng.choice(seeds))
        values.append(mean + rng.normal(0, TEST_DATA) + rng.normal(0, spread, n))
        errors.append(rng.normal(0, TEST_DATA, COUNT))
    return truth, values, errors


def p_values(
    truth: np.ndarray, values: Values, errors: Values, rule: Rule, difference: float = 0.0
) -> Iterator[tuple[bool, float]]:
    """(whether the row of the greatest true spread is in it, p) of each pair of rows that are ``difference`` apart."""
    found = rule(values)
    widest = int(np.argmax(truth[:, 1]))
    for i, j in combinations(range(len(values)), 2):
        if rule is own and (found[i] is None or found[j] is None):
            continue
        centred = [values[k] - truth[k, 0] + shift for k, shift in ((i, 0.0), (j, difference))]
        a, b = (Sample(v, [x + errors[k] for x in v], found[k]) for v, k in zip(centred, (i, j), strict=True))
        if rule is own:
            yield widest in (i, j), _welch(a, b)
        else:
            yield widest in (i, j), compare(a, b).p


def _welch(a: Sample, b: Sample) -> float:
    """Welch's test with the variance over the test data as a further part that is known."""
    from scipy.special import stdtr

    parts = [(row.seeds.value / len(row.values), row.seeds.freedom) for row in (a, b) if row.seeds is not None]
    total = 2 * TEST_DATA**2 + sum(v for v, _ in parts)
    freedom = total**2 / max(sum(v**2 / d for v, d in parts), 1e-30)
    difference = float(np.mean(a.values) - np.mean(b.values))
    return float(2 * stdtr(min(freedom, 1e9), -abs(difference) / np.sqrt(total)))


def committed(detector: str) -> np.ndarray:
    """(mean, standard deviation over seeds) of the committed continual rows on forge5, shape (rows, 2)."""
    records = [Record.read(path) for path in sorted(RESULTS.glob("*.json"))]
    chosen = [r for r in records if (r.data.benchmark, r.spec.detector) == ("forge5", detector)]
    rows = [row for row in by_seed(chosen, lambda r: r.spec) if len(row) > 1 and not row[0].sees_everything]
    values = [[r.average for r in row if r.average is not None] for row in rows]
    return np.array([(np.mean(v), np.std(v, ddof=1)) for v in values])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=150, help="simulated per line")
    tables = parser.parse_args().tables
    simple, xception = committed("simple_cnn"), committed("xception")
    even = np.column_stack([simple[:, 0], np.full(len(simple), np.median(simple[:, 1]))])
    print("| spreads | rows | seeds | variance | false | widest | difference found |\n|---|---|---|---|---|---|---|")
    for name, rows in (("simple_cnn", simple), ("xception", xception), ("even", even)):
        for size in (4, len(xception), len(simple)):
            for seeds in ((3,), (5,), (1, 3, 5)):
                rng = np.random.default_rng(0)
                drawn = [
                    table(rng, rows[rng.choice(len(rows), size, replace=size > len(rows))], seeds)
                    for _ in range(max(20, tables * 4 // size))
                ]
                for rule in RULES:
                    line = [name, str(size), "–".join(map(str, sorted({min(seeds), max(seeds)}))), rule]
                    print(f"| {' | '.join(line + _shares(drawn, RULES[rule]))} |", flush=True)


def _shares(drawn: Sequence[tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]], rule: Rule) -> list[str]:
    """Shares of p < .05: of equal rows, of those with the widest, of rows that differ."""
    able = [each for each in drawn if max(map(len, each[1])) > 1]
    equal = [pair for each in able for pair in p_values(*each, rule)]
    apart = [p < 0.05 for each in able for _, p in p_values(*each, rule, DIFFERENCE)]
    widest = [p < 0.05 for is_widest, p in equal if is_widest]
    return [f"{np.mean(each):.3f}" for each in ([p < 0.05 for _, p in equal], widest, apart)]


if __name__ == "__main__":
    main()

"""Runs and leaderboards of an earlier version, converted with their scores and their benchmark's data.

    python -m dfbench.publish.conversion [--benchmark my-stream.yaml] runs/RUN leaderboard

Scores get the person of each sample, where the benchmark knows them; forgetting and all intervals are computed anew.
Everything else stays, and is checked to follow from the scores. A run whose data are not available is named and left.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dfbench.errors import DataError, DfbenchError
from dfbench.evaluation.further import figures, parts_of
from dfbench.evaluation.scores import Scores
from dfbench.evaluation.uncertainty import data_key
from dfbench.publish.board.manifest import update_manifest
from dfbench.publish.verification.checks import difference
from dfbench.publish.verification.samples import SampleCheck
from dfbench.records.conversion import with_what_is_stated
from dfbench.records.finished import FinishedRun
from dfbench.records.packed_scores import PackedRun, pack_path, write_pack
from dfbench.records.record import SCORES, Record
from dfbench.records.seeds import by_seed

CONVERTED = ("metrics", "per_experience", "uncertainty", "generalisation", "robustness", "operating",
             "between_reals")  # fmt: skip
"""Fields of a record that are computed anew."""

if TYPE_CHECKING:
    from dfbench.plugins import Registry


def convert(paths: Sequence[Path], registry: Registry, benchmark: str | None = None) -> Iterable[str]:
    """Convert folders of runs and of leaderboards in place; one line for each row of runs.

    Args:
        paths: Folders of runs, or of leaderboards (with ``results/``).
        registry: Where benchmarks are looked up.
        benchmark: The stream's YAML file, for runs whose benchmark is not registered.

    Raises:
        DataError: A run's figures do not follow from its scores, or its data are not available.
    """
    check = SampleCheck(registry, benchmark=benchmark)
    for path in paths:
        if not (path / "results").is_dir():
            run = FinishedRun.open(path)
            record, scores = _converted(run, check)
            scores.write(run.folder / SCORES)
            record.write(run.path)
            yield f"{path}: by {record.uncertainty.unit}"
            continue
        runs = [FinishedRun.open(file) for file in sorted((path / "results").glob("*.json"))]
        for row in by_seed(runs, lambda run: run.record.spec):
            found = [_converted(run, check) for run in row]
            pack = pack_path(path, row[0].record.spec)
            write_pack(pack, {PackedRun(record.run, record.scores_sha256): scores for record, scores in found})
            update_manifest(path, [pack])
            for run, (record, _) in zip(row, found, strict=True):
                record.write(run.path)
            yield f"{pack.name}: {len(row)} runs, by {found[0][0].uncertainty.unit}"


def _converted(run: FinishedRun, check: SampleCheck) -> tuple[Record, Scores]:
    record = run.record
    scores = check.with_identities(record, run.scores)
    parts, key = parts_of(scores, record.tested), data_key(record.data.fingerprint, record.spec.split)
    found = figures(parts, record.tested, record.headline, len(record.data.classes), key)
    if wrong := difference(dict(record.metrics), with_what_is_stated(found["metrics"], record.metrics), "metrics"):
        raise DataError(f"{run.path}: {wrong}")
    drawn = {name: found[name] for name in CONVERTED}
    document = record.document() | drawn | {"scores_sha256": scores.digest()}
    return Record.parse(document, run.path), scores


def main(arguments: Sequence[str]) -> int:
    """The command; its exit code."""
    from dfbench.plugins import registry

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="folder of a run or of a leaderboard")
    parser.add_argument("--benchmark", metavar="FILE", help="the stream's YAML, where it is not registered")
    given = parser.parse_args(arguments)
    try:
        for line in convert(given.paths, registry(), given.benchmark):
            print(line, flush=True)
    except DfbenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

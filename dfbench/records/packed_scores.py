"""A pack: the scores of runs that differ in the seed alone, in one small file that a leaderboard keeps.

One row of the file is what one model (``run``, ``trained_on``) said of one distinct test set. Experiences that share
their test set share the row (``tested_on`` lists them), and names, videos and labels of a test set are stored in the
first row that needs them. Scores are float32, split into byte streams and compressed (zstd); nothing is lost:
:meth:`~dfbench.evaluation.scores.Scores.digest` of what is unpacked is that of what was packed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dfbench.errors import DataError
from dfbench.evaluation.scores import Group, Scores, reading
from dfbench.files import replacing
from dfbench.parquet import check_expansion, read_table
from dfbench.records.spec import RunSpec

SCHEMA = pa.schema(
    [
        pa.field("run", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("trained_on", pa.int16(), nullable=False),
        pa.field("tested_on", pa.list_(pa.int16()), nullable=False),
        pa.field("test_set", pa.int32(), nullable=False),
        pa.field("samples", pa.list_(pa.string())),
        pa.field("videos", pa.list_(pa.string())),
        pa.field("labels", pa.list_(pa.int16())),
        pa.field("scores", pa.list_(pa.float32()), nullable=False),
        pa.field("predicted", pa.list_(pa.int16())),
        pa.field("identities", pa.list_(pa.string())),
    ]
)
"""``sha256`` is the digest of all scores of the run. ``samples``, ``videos``, ``labels`` and ``identities`` are null
where an earlier row of the same ``test_set`` has them, ``identities`` also where nobody is known, ``predicted`` where
it is 1 for a score above .5 and 0 otherwise. A pack from before ``identities`` is read as one that knows nobody."""

_PARQUET: dict[str, Any] = {
    "compression": "zstd",
    "compression_level": 19,
    "write_page_checksum": True,
    "use_dictionary": [
        "run",
        "sha256",
        *(f"{name}.list.element" for name in ("videos", "labels", "predicted", "identities")),
    ],
    "column_encoding": {"samples.list.element": "DELTA_BYTE_ARRAY", "scores.list.element": "BYTE_STREAM_SPLIT"},
}


class PackedRun(NamedTuple):
    """A run in a pack. A pack may hold one run twice with other scores while a leaderboard replaces it."""

    run: str
    sha256: str
    """Digest of its scores."""


def pack_path(board: Path, spec: RunSpec) -> Path:
    """The pack of a run on the leaderboard in ``board``."""
    parts = (spec.detector, spec.strategy, spec.benchmark)
    name = "-".join(re.sub(r"[^A-Za-z0-9_.]+", "_", part)[:60] for part in parts)
    return board / "scores" / f"{name}-{spec.row_id}.parquet"


def write_pack(path: Path, runs: Mapping[PackedRun, Scores]) -> None:
    """Write a pack whole; equal runs give equal bytes (with one version of PyArrow).

    Raises:
        StorageError: The file cannot be written.
    """
    table = pa.Table.from_pylist(list(_rows(runs)), schema=SCHEMA)
    with replacing(path) as temporary, temporary.open("wb") as file:
        pq.write_table(table, file, **_PARQUET)


def packed_runs(path: Path) -> set[PackedRun]:
    """The runs that a pack says it holds.

    Raises:
        DataError: The file is missing, damaged or not a pack.
    """
    with reading(path):
        table = read_table(path, columns=["run", "sha256"])
        return {PackedRun(**row) for row in table.to_pylist()}


def read_pack(path: Path, sha256: str | None = None) -> dict[PackedRun, Scores]:
    """The runs of a pack (those with this digest alone, if it is given), each checked against its digest.

    Raises:
        DataError: The file is missing, damaged or not a pack.
    """
    with reading(path):
        table = read_table(path, rows=1)
        if table.schema.equals(pa.schema(list(SCHEMA)[:-1])):  # from before the column
            people = SCHEMA.field("identities")
            table = table.append_column(people, pa.nulls(len(table), people.type))
        if not table.schema.equals(SCHEMA):
            raise DataError(f"{path} is not a pack of scores: its columns are {table.column_names}")
        table.validate(full=True)
        # Experiences may share a row: they share its arrays too, but every check goes through the rows of each.
        tested_on, values = (pc.list_value_length(table.column(name)).cast("int64") for name in ("tested_on", "scores"))
        check_expansion(path, 4 * (pc.sum(pc.multiply(tested_on, values)).as_py() or 0), len(table))
        groups = _groups(table.combine_chunks(), sha256)
    found = {run: Scores(each) for run, each in groups.items()}
    for run, scores in found.items():
        if scores.digest() != run.sha256:
            raise DataError(f"{path} is damaged: the scores of {run.run} are not the ones that were packed")
    return found


def read_packed(path: Path, sha256: str) -> Scores:
    """The scores with this digest from a pack.

    Raises:
        DataError: The pack does not hold them, or is missing, damaged or not a pack.
    """
    for scores in read_pack(path, sha256).values():
        return scores
    raise DataError(f"{path} does not hold these scores (sha256 {sha256[:12]}…): it is older or newer than the record")


def _rows(runs: Mapping[PackedRun, Scores]) -> Iterable[dict[str, Any]]:
    test_sets: dict[tuple[bytes, ...], int] = {}
    for run in sorted(runs):
        rows: dict[tuple[bytes | int, ...], dict[str, Any]] = {}
        for group in runs[run]:
            names = (
                _joined(group.samples), _joined(group.videos), group.labels.tobytes(), _joined(group.identities)
            )  # fmt: skip
            new = names not in test_sets
            test_set = test_sets.setdefault(names, len(test_sets))
            same = (group.trained_on, test_set, group.scores.tobytes(), group.predicted.tobytes())
            if same in rows:
                rows[same]["tested_on"].append(group.tested_on)
                continue
            follows = np.array_equal(group.predicted, _predicted(group.scores))
            rows[same] = {
                **run._asdict(),
                "trained_on": group.trained_on,
                "tested_on": [group.tested_on],
                "test_set": test_set,
                "samples": group.samples if new else None,
                "videos": group.videos if new else None,
                "labels": group.labels if new else None,
                "scores": group.scores,
                "predicted": None if follows else group.predicted,
                "identities": group.identities if new and group.identities.any() else None,
            }
        yield from rows.values()


def _groups(table: pa.Table, sha256: str | None) -> dict[PackedRun, list[Group]]:
    columns = {name: table.column(name) for name in SCHEMA.names}
    test_sets: dict[int, tuple[tuple[np.ndarray, np.ndarray, np.ndarray], np.ndarray | None]] = {}
    found: dict[PackedRun, list[Group]] = {}
    for i in range(len(table)):
        test_set = columns["test_set"][i].as_py()
        if columns["samples"][i].is_valid:
            samples, videos, labels = (_array(columns[name][i]) for name in ("samples", "videos", "labels"))
            people = columns["identities"][i]
            test_sets[test_set] = (samples, videos, labels), _array(people) if people.is_valid else None
        run = PackedRun(columns["run"][i].as_py(), columns["sha256"][i].as_py())
        if sha256 is not None and run.sha256 != sha256:
            continue
        if test_set not in test_sets:
            raise ValueError(f"row {i} is on test set {test_set}, which no row describes")
        scores = _array(columns["scores"][i])
        predicted = _array(columns["predicted"][i]) if columns["predicted"][i].is_valid else _predicted(scores)
        names, identities = test_sets[test_set]
        found.setdefault(run, []).extend(
            Group(columns["trained_on"][i].as_py(), tested_on, *names, scores, predicted, identities)  # type: ignore[arg-type]
            for tested_on in columns["tested_on"][i].as_py()
        )
    return found


def _array(value: pa.ListScalar) -> np.ndarray:
    if not value.is_valid or value.values.null_count:
        raise ValueError("an empty cell where there must be a value")
    return value.values.to_numpy(zero_copy_only=False)


def _joined(names: np.ndarray) -> bytes:
    return "".join(f"{len(name)} {name}" for name in names).encode()


def _predicted(scores: np.ndarray) -> np.ndarray:
    return (scores > 0.5).astype(np.int16)

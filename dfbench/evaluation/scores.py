"""The table of per-sample scores: the truth that every metric is computed from.

One row is one prediction: the model as it was after experience ``trained_on``, on one sample of the
test set of experience ``tested_on``. A run holds one group of rows for each such pair.

After the T experiences, counted from 0, ``tested_on`` counts on: U sets that are never trained on, in their order, and
then the degraded copies of the test sets, by experience, kind and level, and the T sets of validation reals
(:mod:`dfbench.evaluation.further`).
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike

from dfbench.errors import DataError
from dfbench.files import replacing
from dfbench.parquet import read_table

UNTRAINED = -1
"""``trained_on`` of the network before any training: the baseline of forward transfer."""

SCHEMA = pa.schema(
    [
        pa.field("trained_on", pa.int16(), nullable=False),
        pa.field("tested_on", pa.int16(), nullable=False),
        pa.field("sample", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("video", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("label", pa.int16(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("predicted", pa.int16(), nullable=False),
        pa.field("identity", pa.dictionary(pa.int32(), pa.string()), nullable=False),
    ]
)
"""``score`` is P(fake) in a two-class stream, to the last bit of its float32. With more classes it is P(predicted),
which no metric reads, rounded to a multiple of 1/256 when predictions are made. ``video`` is "" for a still,
``identity`` where the person is not known. Files from before the column ``identity`` are read as if none were known."""

_PARQUET = {"compression": "zstd", "dictionary_pagesize_limit": 64 << 20, "write_page_checksum": True}
"""The names stay a dictionary however many there are; damage shows on reading, not as other scores."""

_DIGEST = b"dfbench.scores.sha256"

_ROUNDING = 1e-6
"""A float32 softmax may end this far outside [0, 1]; more is an error."""


@dataclass(frozen=True, eq=False)
class Group:
    """The predictions of one model on one test set; all arrays have the shape (n,)."""

    trained_on: int
    tested_on: int
    samples: np.ndarray
    """Names, object array of str, unique within the group."""
    videos: np.ndarray
    """Names, object array of str; "" for a sample of no video."""
    labels: np.ndarray
    """int16."""
    scores: np.ndarray
    """float32 in [0, 1]."""
    predicted: np.ndarray
    """int16."""
    identities: np.ndarray = None  # type: ignore[assignment]  # known to be an array from __post_init__ on
    """Keys of the people, object array of str; "" where the person is not known, as everywhere unless given."""

    def __post_init__(self) -> None:
        if self.identities is None:
            object.__setattr__(self, "identities", _strings([""] * len(self.scores)))
        where = f"scores on experience {self.tested_on} after experience {self.trained_on}"
        columns = (self.samples, self.videos, self.labels, self.scores, self.predicted, self.identities)
        if any(column.shape != (len(self.scores),) for column in columns):
            raise DataError(f"{where}: columns of unequal length {[column.shape for column in columns]}")
        if not len(self):
            raise DataError(f"{where}: there is not one sample")
        if self.trained_on < UNTRAINED or self.tested_on < 0:
            raise DataError(f"{where}: experiences count from 0, and {UNTRAINED} is the untrained network")
        bad = np.flatnonzero(~((self.scores >= 0) & (self.scores <= 1)))
        if bad.size:
            raise DataError(
                f"{where}: the score of sample {self.samples[bad[0]]!r} is {self.scores[bad[0]]}, "
                f"no probability ({bad.size} of {len(self)} samples); a diverged model gives nan"
            )
        if (self.labels < 0).any() or (self.predicted < 0).any():
            raise DataError(f"{where}: labels and predictions are class numbers from 0")
        if len(set(self.samples.tolist())) != len(self):
            names, counts = np.unique(self.samples.astype(str), return_counts=True)
            raise DataError(f"{where}: sample {str(names[counts > 1][0])!r} occurs more than once")

    def __len__(self) -> int:
        return len(self.scores)


class Scores:
    """The groups of a run, each (trained_on, tested_on) pair at most once, iterated in that order."""

    def __init__(self, groups: Iterable[Group] = ()) -> None:
        self._groups: dict[tuple[int, int], Group] = {}
        for group in groups:
            self._add(group)

    def _add(self, group: Group) -> None:
        pair = (group.trained_on, group.tested_on)
        if pair in self._groups:
            raise DataError(f"scores on experience {pair[1]} after experience {pair[0]} are there already")
        self._groups[pair] = group

    def append(
        self,
        trained_on: int,
        tested_on: int,
        samples: Sequence[str],
        videos: Sequence[str],
        labels: ArrayLike,
        scores: ArrayLike,
        predicted: ArrayLike,
        identities: Sequence[str] | None = None,
    ) -> None:
        """Add the predictions of one model on one whole test set; a pair that is there is a DataError."""
        values = np.asarray(scores, dtype=np.float32)
        near = (values >= -_ROUNDING) & (values <= 1 + _ROUNDING)
        values = np.where(near, np.clip(values, 0, 1), values).astype(np.float32)
        self._add(
            Group(
                int(trained_on),
                int(tested_on),
                _strings(samples),
                _strings(videos),
                _classes(labels),
                values,
                _classes(predicted),
                _strings([""] * len(values) if identities is None else identities),
            )
        )

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """All (trained_on, tested_on), sorted."""
        return sorted(self._groups)

    @property
    def experiences(self) -> list[int]:
        """The experiences that some model was tested on, sorted."""
        return sorted({tested_on for _, tested_on in self._groups})

    def __iter__(self) -> Iterator[Group]:
        return (self._groups[pair] for pair in self.pairs)

    def get(self, trained_on: int, tested_on: int) -> Group | None:
        """The group of this pair, or None where it was not measured."""
        return self._groups.get((trained_on, tested_on))

    def __len__(self) -> int:
        """Rows, over all groups."""
        return sum(map(len, self._groups.values()))

    @classmethod
    def concat(cls, parts: Iterable[Scores]) -> Scores:
        """The groups of all parts (one per experience, say); a pair in two parts is a DataError."""
        return cls(group for part in parts for group in part)

    def digest(self) -> str:
        """SHA-256 of the rows, in hexadecimal: equal for equal scores, whatever wrote the file."""
        hasher = hashlib.sha256()
        for group in self:
            hasher.update(f"{group.trained_on} {group.tested_on} {len(group)}\0".encode())
            for names in (group.samples, group.videos):
                hasher.update("".join(f"{name}\0" for name in names).encode())
            for numbers in (group.labels, group.scores, group.predicted):
                hasher.update(numbers.tobytes())
            if group.identities.any():  # only then: scores without identities keep the digest from before the column
                hasher.update("".join(f"{name}\0" for name in group.identities).encode())
        return hasher.hexdigest()

    def to_table(self) -> pa.Table:
        """The rows under :data:`SCHEMA`, sorted by pair and otherwise as appended."""
        groups = list(self)
        table = pa.table(
            {
                "trained_on": _joined([np.full(len(g), g.trained_on, np.int16) for g in groups], np.int16),
                "tested_on": _joined([np.full(len(g), g.tested_on, np.int16) for g in groups], np.int16),
                "sample": _dictionary([g.samples for g in groups]),
                "video": _dictionary([g.videos for g in groups]),
                "label": _joined([g.labels for g in groups], np.int16),
                "score": _joined([g.scores for g in groups], np.float32),
                "predicted": _joined([g.predicted for g in groups], np.int16),
                "identity": _dictionary([g.identities for g in groups]),
            }
        )
        return pa.Table.from_arrays(table.columns, schema=SCHEMA)

    @classmethod
    def from_table(cls, table: pa.Table, origin: str = "the scores table") -> Scores:
        """The scores of a table under :data:`SCHEMA`; DataError, with ``origin``, for any other."""
        if table.schema.equals(pa.schema(list(SCHEMA)[:-1])):  # from before the column
            table = table.append_column(SCHEMA.field("identity"), _dictionary([_strings([""] * len(table))]))
        if not table.schema.equals(SCHEMA):
            found = {field.name: field.type for field in table.schema}
            wrong = [field.name for field in SCHEMA if found.get(field.name) != field.type]
            raise DataError(f"{origin} lacks the columns of a scores file: {wrong or table.column_names}")
        if any(column.null_count for column in table.columns):
            raise DataError(f"{origin} has empty cells: a scores file has none")
        columns = {name: _decoded(table.column(name)) for name in SCHEMA.names}
        trained_on, tested_on = columns["trained_on"].astype(np.int64), columns["tested_on"].astype(np.int64)
        order = np.lexsort((tested_on, trained_on))  # stable: rows keep their order within a pair
        trained_on, tested_on = trained_on[order], tested_on[order]
        starts = np.flatnonzero((np.diff(trained_on) != 0) | (np.diff(tested_on) != 0)) + 1
        scores = cls()
        for rows in np.split(order, starts) if len(order) else []:
            rest = (columns[name][rows] for name in SCHEMA.names[2:])
            scores._add(Group(int(columns["trained_on"][rows[0]]), int(columns["tested_on"][rows[0]]), *rest))
        return scores

    def write(self, path: str | Path) -> None:
        """Write Parquet (zstd) so that the file is whole or, after a crash, what it was before.

        Raises StorageError where the file cannot be written; nothing is left behind then.
        """
        table = self.to_table().replace_schema_metadata({_DIGEST: self.digest()})
        with replacing(Path(path)) as temporary, temporary.open("wb") as file:
            pq.write_table(table, file, **_PARQUET)

    @classmethod
    def read(cls, path: str | Path) -> Scores:
        """The scores of a file; DataError where it is missing, damaged, or no scores file."""
        with reading(path):
            table = read_table(Path(path), dictionaries=("sample", "video"), rows=1 << 16)
            table.validate(full=True)  # indices into the names that point outside them
            scores = cls.from_table(table, str(path))
        # The checksums of Parquet leave out its own page headers; this covers every value.
        written = (table.schema.metadata or {}).get(_DIGEST)
        if written is not None and written != scores.digest().encode():
            raise DataError(f"{path} is damaged: its rows are not the ones that were written")
        return scores


@contextlib.contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Turn what PyArrow raises for a file of scores that is missing or damaged into a one-line :class:`DataError`."""
    try:
        yield
    except OSError as error:
        # PyArrow also reports a damaged page or footer as an OSError, then without an errno.
        raise DataError(f"cannot read the scores {path}: {error.strerror or _line(error)}") from error
    except (pa.ArrowException, ValueError) as error:  # ValueError: names that are not UTF-8
        raise DataError(f"{path} is damaged or not a Parquet file: {_line(error)}") from error


def _line(error: Exception) -> str:
    """The first line of an error's message."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _strings(names: Sequence[str]) -> np.ndarray:
    """Names as an object array of str: the strings themselves are shared, not copied."""
    array = np.empty(len(names), dtype=object)
    array[:] = [str(name) for name in names]
    try:
        "".join(array).encode()
    except UnicodeEncodeError as error:
        raise DataError(f"the name of a sample, video or person is not text (UTF-8): {_line(error)}") from error
    return array


def _classes(values: ArrayLike) -> np.ndarray:
    """Class numbers as int16; DataError where that changes them."""
    given = np.asarray(values)
    with np.errstate(invalid="ignore"):
        classes = given.astype(np.int16)
    if not np.array_equal(classes, given):
        raise DataError("labels and predictions must be whole numbers below 32768")
    return classes


def _joined(parts: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, dtype)


def _dictionary(parts: list[np.ndarray]) -> pa.DictionaryArray:
    return pa.array(_joined(parts, object), type=pa.string()).dictionary_encode()


def _decoded(column: pa.ChunkedArray) -> np.ndarray:
    """A column as a NumPy array; a dictionary column as objects that share one string a name."""
    if not pa.types.is_dictionary(column.type):
        return column.to_numpy()
    array = column.unify_dictionaries().combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # a column without rows has no chunk to combine
        return np.empty(0, dtype=object)
    names = array.dictionary.to_numpy(zero_copy_only=False).astype(object)
    return names[array.indices.to_numpy()]

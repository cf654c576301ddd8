"""A prepared set on disk, in the form of Hugging Face ``datasets``: what its ``load_from_disk`` reads.

A folder per split with Arrow files (IPC streams), ``state.json`` and ``dataset_info.json``, and ``dataset_dict.json``
above them. ``prepared.json`` says how the set was made and holds the SHA-256 of every file.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dfbench.data.samples import SCHEMA, SPLITS
from dfbench.documents import read_json
from dfbench.errors import DataError, StorageError, first_problem, in_one_line
from dfbench.files import write_json, write_whole

META = "prepared.json"
"""The file that a finished set has."""
WORK = ".work"
"""The folder that an unfinished set has."""
BATCH_ROWS = 512
"""Rows per record batch."""

IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
ROWS = pa.schema(
    [
        *(pa.field(field.name, field.type) for field in SCHEMA),
        *(pa.field(name, pa.int32()) for name in ("x", "y", "side")),
        pa.field("image", IMAGE),
    ]
)
"""The columns: those of the sample table, the square that was cut out, and the encoded crop."""

_FEATURES: dict[str, Any] = {
    field.name: {"_type": "Image"} if field.name == "image" else {"dtype": str(field.type), "_type": "Value"}
    for field in ROWS
}
_HUGGING_FACE = json.dumps({"info": {"features": _FEATURES}})
_NOTES = b"dfbench"
"""Key under which a part keeps what the report says about it."""


def part_bytes(rows: Sequence[Mapping[str, Any]], report: Mapping[str, Any]) -> bytes:
    """The rows of one item and its line of the report, as an Arrow stream."""
    schema = ROWS.with_metadata({_NOTES: json.dumps(report).encode()})
    buffer = BytesIO()
    with pa.ipc.new_stream(buffer, schema) as writer:
        writer.write_table(pa.Table.from_pylist(list(rows), schema=ROWS).replace_schema_metadata(schema.metadata))
    return buffer.getvalue()


def read_part(path: Path) -> tuple[pa.Table, dict[str, Any]] | None:
    """The rows of a part and its line of the report; None if it is missing or damaged."""
    try:
        with pa.OSFile(str(path)) as file:
            table = pa.ipc.open_stream(file).read_all()
        return table.replace_schema_metadata(None), json.loads(table.schema.metadata[_NOTES])
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError):
        return None


def shard_bytes(parts: Sequence[pa.Table]) -> bytes:
    """The rows of several parts as one Arrow stream that ``datasets`` reads."""
    schema = ROWS.with_metadata({"huggingface": _HUGGING_FACE})
    table = pa.concat_tables(parts).combine_chunks().cast(ROWS).replace_schema_metadata(schema.metadata)
    buffer = BytesIO()
    with pa.ipc.new_stream(buffer, schema) as writer:
        writer.write_table(table, max_chunksize=BATCH_ROWS)
    return buffer.getvalue()


def write_index(folder: Path, files: Mapping[str, Sequence[str]], digest: str) -> None:
    """Write the files from which ``datasets`` knows the splits and their Arrow files.

    Args:
        folder: the set's.
        files: split → names of its Arrow files, in order.
        digest: SHA-256 (hex) of the whole set, for ``datasets``' cache.
    """
    splits = [split for split in SPLITS if files.get(split)]
    for split in splits:
        info = {"features": _FEATURES, "citation": "", "description": "", "homepage": "", "license": ""}
        state: dict[str, Any] = {
            "_data_files": [{"filename": name} for name in files[split]],
            "_fingerprint": digest[:16],
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": split,
        }
        write_json(folder / split / "dataset_info.json", info)
        write_json(folder / split / "state.json", state)
    write_whole(folder / "dataset_dict.json", json.dumps({"splits": splits}).encode())


def open_shard(path: Path) -> pa.Table:
    """A shard, mapped into memory: nothing is read before it is used.

    Raises:
        StorageError: it is missing or damaged.
    """
    try:
        return pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"{path}: a damaged Arrow file ({in_one_line(error)}); prepare the set again") from None


class FileFacts(BaseModel):
    """What ``prepared.json`` says of one file."""

    model_config = ConfigDict(frozen=True)

    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    rows: Annotated[int, Field(ge=0)] = 0


class Meta(BaseModel):
    """``prepared.json``.

    Attributes:
        options: how the set was made, with the number of videos and their fingerprint.
        summary: counts of the report.
        files: Arrow files by their path in the set, in the order of their rows.
        report: of ``report.csv``.
        digest: see :func:`set_digest`.
    """

    options: dict[str, Any]
    summary: dict[str, Any]
    files: dict[str, FileFacts]
    report: FileFacts
    digest: str

    @model_validator(mode="after")
    def _is_whole(self) -> Meta:
        size = self.options.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= 1 << 14:
            raise ValueError(f"options: size {size!r} is no size of a crop")
        if not self.files or not all(_SHARD.fullmatch(name) for name in self.files):
            raise ValueError("files: Arrow files are called SPLIT/data-NNNNN-of-NNNNN.arrow")
        if self.digest != set_digest(self.files, self.report):
            raise ValueError("digest: it is not that of the files")
        return self

    def by_split(self) -> dict[str, list[str]]:
        """Split → names of its Arrow files."""
        result: dict[str, list[str]] = {}
        for path in self.files:
            split, _, name = path.partition("/")
            result.setdefault(split, []).append(name)
        return result


_SHARD = re.compile(rf"({'|'.join(SPLITS)})/data-[0-9]{{5,}}-of-[0-9]{{5,}}\.arrow")


def set_digest(files: Mapping[str, FileFacts], report: FileFacts) -> str:
    """SHA-256 (hex) over all files of a set: equal sets have equal digests."""
    content = [[name, about.sha256] for name, about in files.items()]
    return hashlib.sha256(json.dumps([content, report.sha256]).encode()).hexdigest()


def read_meta(folder: Path) -> Meta:
    """What ``prepared.json`` says.

    Raises:
        DataError: the folder holds no finished set.
    """
    path = folder / META
    if not path.is_file():
        unfinished = (folder / WORK).is_dir()
        reason = "is not finished: rerun its dfbench data prepare" if unfinished else "no prepared set"
        raise DataError(f"{folder}: {reason}")
    content = read_json(path)
    try:
        return Meta.model_validate(content)
    except ValidationError as error:
        raise DataError(f"{path}: not the description of a prepared set ({first_problem(error)})") from None


def shard_files(folder: Path, meta: Meta) -> Iterator[Path]:
    """The Arrow files of a set, each checked to have the size that it was written with.

    Raises:
        StorageError: one is missing or was cut.
    """
    for name, about in meta.files.items():
        path = folder / name
        size = path.stat().st_size if path.is_file() else -1
        if size != about.bytes:
            what = "is missing" if size < 0 else f"has {size} bytes, not {about.bytes}"
            raise StorageError(f"{path} {what}; copy the set again, or prepare it again")
        yield path

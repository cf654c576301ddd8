"""Columns as JSON, byte for byte as Python's ``json`` writes it row by row; fingerprints are made of it."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfbench.data.texts import Texts, content, joined

_CHUNK = 1 << 16
"""Rows that are joined at a time."""
_ESCAPED = r'["\\\x00-\x1f\x7f]'
"""What of ASCII JSON may escape."""


def json_texts(texts: Texts, *, ascii_only: bool, form: Literal["NFC"] | None = None) -> Texts:
    """Each text as a JSON string.

    Args:
        texts: the texts.
        ascii_only: escape what is not ASCII, as ``json.dumps`` does unless told otherwise.
        form: Unicode form of the result.
    """
    codes, values = texts.compact()
    quoted = joined('"', values, '"')
    plain = pc.and_(pc.string_is_ascii(values), pc.invert(pc.match_substring_regex(values, _ESCAPED)))
    if not pc.all(plain, min_count=0).as_py():
        encode = json.JSONEncoder(ensure_ascii=ascii_only).encode
        others = map(encode, values.filter(pc.invert(plain)).to_pylist())
        written = [unicodedata.normalize(form, text) if form else text for text in others]
        quoted = pc.replace_with_mask(quoted, pc.invert(plain), pa.array(written, pa.large_string()))
    return Texts(quoted, codes)


def json_rows(columns: Sequence[Texts | np.ndarray]) -> Iterator[memoryview]:
    """Rows as lines, each a JSON list.

    Args:
        columns: whole numbers, and texts from :func:`json_texts`; each (N,).
    """
    for start in range(0, len(columns[0]), _CHUNK):
        parts = [_part(column, start) for column in columns]
        between = [piece for part in parts for piece in (part, ", ")][:-1]
        yield content(joined("[", *between, "]\n"))


def json_list(texts: Texts) -> Iterator[memoryview]:
    """Texts as one JSON list, as ``json.dumps`` writes it."""
    quoted = json_texts(texts, ascii_only=True)
    yield memoryview(b"[")
    for start in range(0, len(texts), _CHUNK):
        part = content(joined(_part(quoted, start), ", "))
        yield part if start + _CHUNK < len(texts) else part[:-2]
    yield memoryview(b"]")


def _part(column: Texts | np.ndarray, start: int) -> pa.Array:
    if isinstance(column, Texts):
        return column.take(slice(start, start + _CHUNK)).to_arrow()
    return pa.array(column[start : start + _CHUNK]).cast(pa.large_string())

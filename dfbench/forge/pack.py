"""The face pack: 370 synthetic portraits with landmarks, opened on first use.

tools/make_face_pack.py makes it; docs/forge5.md is its data card, `pack/provenance.json` the machine-readable part.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dfbench.errors import DataError

FOLDER = Path(__file__).parent / "pack"
SIDE = 256
"""Width and height of a portrait, in pixels."""


@dataclass(frozen=True, eq=False)
class Portrait:
    """One synthetic person.

    Attributes:
        identity: the person's name, such as ``face0012``.
        seed: the seed that the portrait was generated from.
        split: train, val or test.
        image: uint8 RGB (256, 256, 3).
        landmarks: float64 (K, 3): x and y in pixels of `image`, z on the same scale, negative towards the camera.
    """

    identity: str
    seed: int
    split: str
    image: np.ndarray
    landmarks: np.ndarray


@dataclass(frozen=True, eq=False)
class Mesh:
    """The layout of the landmarks, shared by all portraits.

    Attributes:
        groups: part of the face → int (n,) positions among the K landmarks.
        face: int (n, 3) triangles inside the face.
        all: int (n, 3) triangles over landmarks and anchors, which cover the face and its surroundings.
        anchors: float64 (A, 2) fixed points around a portrait, x first, in its pixels.
    """

    groups: dict[str, np.ndarray]
    face: np.ndarray
    all: np.ndarray
    anchors: np.ndarray

    @property
    def landmarks(self) -> int:
        """K, the number of landmarks."""
        return sum(map(len, self.groups.values()))


@lru_cache(maxsize=1)
def mesh() -> Mesh:
    """The pack's landmark layout."""
    stored = json.loads(_read("mesh.json"))
    groups, start = {}, 0
    for name, points in stored["groups"].items():
        groups[name] = np.arange(start, start + len(points))
        start += len(points)
    triangles = np.array(stored["triangles"], np.int64)
    inside = (triangles < start).all(axis=1)
    return Mesh(groups, triangles[inside], triangles, np.array(stored["anchors"], np.float64))


def identities(split: str | None = None) -> tuple[str, ...]:
    """Names of the people in one split (train, val or test), or in all, in a fixed order."""
    return tuple(name for name, row in _index().items() if split in (None, row["split"]))


@lru_cache(maxsize=8)
def portrait(identity: str) -> Portrait:
    """Decode one portrait.

    Raises:
        DataError: the pack has no such identity.
    """
    row = _index().get(identity)
    if row is None:
        raise DataError(f"no identity {identity!r} in the face pack; known: {', '.join(list(_index())[:3])}, …")
    image = cv2.imdecode(np.frombuffer(row["jpeg"], np.uint8), cv2.IMREAD_COLOR)
    assert image is not None  # the file was checked against its hash
    return Portrait(identity, row["seed"], row["split"], image[:, :, ::-1].copy(), landmarks(identity))


def landmarks(identity: str) -> np.ndarray:
    """The landmarks of one portrait, float64 (K, 3), without decoding the picture."""
    marks = np.array(_index()[identity]["landmarks"], np.float64).reshape(-1, 3)
    return (marks - [0, 0, 32768]) / 64


def tone(identity: str) -> np.ndarray:
    """Mean colour of a face, float64 (3,): R, G, B from 0 to 255."""
    return np.array(_index()[identity]["tone"], np.float64)


def seed(identity: str) -> int:
    """The seed that a person's portrait was generated from; it never changes."""
    return int(_index()[identity]["seed"])


def provenance() -> dict[str, Any]:
    """Where the portraits come from, what was dropped, and the hashes of the pack's files."""
    return json.loads((FOLDER / "provenance.json").read_text("utf-8"))


@lru_cache(maxsize=1)
def _index() -> dict[str, dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(pa.BufferReader(_read("portraits.parquet")), use_threads=False)
    marks = np.stack(table["landmarks"].to_numpy())  # a list of Python numbers would take a second
    rows = table.drop_columns(["landmarks"]).to_pylist()
    return {row["identity"]: row | {"landmarks": own} for row, own in zip(rows, marks, strict=True)}


def _read(name: str) -> bytes:
    """Read a file of the pack and check it against the hash in the provenance file.

    Raises:
        DataError: the file is missing or damaged.
    """
    path = FOLDER / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: the face pack is incomplete ({error.strerror}); reinstall dfbench") from None
    if hashlib.sha256(content).hexdigest() != provenance()["sha256"][name]:
        raise DataError(f"{path}: the face pack is damaged (wrong SHA-256); reinstall dfbench")
    return content

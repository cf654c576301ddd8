"""What a decoding process and its worker say to each other: a line of JSON, and bytes. The worker believes nothing.

No pickles: a decoding process that a hostile file has taken over must not get hold of the worker. Everything that it
sends is bounded in size and checked for its type and its range.
"""

from __future__ import annotations

import json
from multiprocessing.connection import Connection
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from dfbench.publish.predict.faces import MOST

HEADER = 1 << 16
"""Bytes of a header at most."""
SEVERAL = 16
"""Frames in one search for faces at most."""
WIDEST = 1280
"""Longer side of a frame in which faces are searched at most, in pixels."""

Text = Annotated[str, Field(max_length=500)]
Count = Annotated[int, Field(ge=0, le=10**9)]
Figure = Annotated[float, Field(allow_inf_nan=False)]


class Broken(Exception):
    """The other side ended, or sent something that nobody may send."""


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    bytes: Annotated[int, Field(ge=0)] = 0
    """Of what follows the header."""


class Detect(_Message):
    """Frames in which faces are to be found; uint8 (N, H, W, 3) follows."""

    kind: Literal["detect"] = "detect"
    shape: tuple[
        Annotated[int, Field(ge=1, le=SEVERAL)],
        Annotated[int, Field(ge=1, le=WIDEST)],
        Annotated[int, Field(ge=1, le=WIDEST)],
        Literal[3],
    ]


class Progress(_Message):
    """How far the search for faces is, in frames."""

    kind: Literal["progress"] = "progress"
    done: Count
    total: Count


class Refused(_Message):
    """The file is not judged."""

    kind: Literal["refused"] = "refused"
    reason: Text
    code: Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")]
    values: Annotated[dict[Annotated[str, Field(max_length=40)], Figure | Text], Field(max_length=8)] = {}


class SeenMedium(_Message):
    """What the file is; as many :class:`SeenFace` follow as it says."""

    kind: Literal["seen"] = "seen"
    container: Text
    codec: Text
    pixel_format: Text
    width: Count
    height: Count
    fps: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    bit_rate: Annotated[int, Field(ge=0, le=10**15)]
    frames: Count
    note: Text
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    looked_at: Count
    left_out: Count
    faces: Annotated[int, Field(ge=0, le=MOST)]


class SeenLook(BaseModel):
    """One look at a face, as :class:`dfbench.publish.predict.faces.Look` without its pixels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    frames: Annotated[list[Count], Field(min_length=1, max_length=512)]
    seconds: Figure | None
    where: tuple[int, int, Annotated[int, Field(ge=1)]]


class SeenFace(_Message):
    """One face; uint8 (looks, …, H, W, 3) follows."""

    kind: Literal["face"] = "face"
    side: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    looks: Annotated[list[SeenLook], Field(min_length=1, max_length=4096)]


Message = Detect | Progress | Refused | SeenMedium | SeenFace
_ANY: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])


def send(connection: Connection, message: BaseModel | list[Any], payload: np.ndarray | None = None) -> None:
    """Send a message, and the array that follows it."""
    value = message if isinstance(message, list) else message.model_dump()
    if payload is not None and isinstance(value, dict):
        value["bytes"] = payload.nbytes
    connection.send_bytes(json.dumps(value).encode())
    if payload is not None:
        connection.send_bytes(np.ascontiguousarray(payload).reshape(-1).data)


def receive(connection: Connection, most: int) -> tuple[Message, bytes]:
    """The next message of a decoding process, and what follows it.

    Args:
        connection: To that process.
        most: Bytes that may follow.

    Raises:
        Broken: The process ended, or sent what is no message.
    """
    try:
        message = _ANY.validate_json(connection.recv_bytes(HEADER))
        if message.bytes > most:
            raise Broken("too many bytes")
        payload = connection.recv_bytes(message.bytes) if message.bytes else b""
    except (EOFError, OSError, ValidationError) as error:
        raise Broken(type(error).__name__) from None
    if len(payload) != message.bytes:
        raise Broken("another number of bytes than stated")
    return message, payload


def array(payload: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """The uint8 array of this shape.

    Raises:
        Broken: There are more or fewer bytes.
    """
    if len(payload) != int(np.prod(shape, dtype=np.int64)):
        raise Broken("an array of another size than stated")
    return np.frombuffer(payload, np.uint8).reshape(shape)

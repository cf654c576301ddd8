"""One file from a request's body to the disk: counted while it arrives, and never longer in memory than a chunk."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from dfbench.publish.serve.problems import Problem

OVERHEAD = 100_000
"""Bytes that a form may have around its file."""


async def receive(request: Request, path: Path, most: int, seconds: float) -> int:
    """Write the file of a request; its size in bytes.

    Args:
        request: Its body is the file, or a form (``multipart/form-data``) with one file.
        path: Made anew, for its owner alone.
        most: Bytes of the file.
        seconds: In which it must be there.

    Raises:
        Problem: It is too large, too slow, or not there.
        ClientDisconnect: The client has gone.
    """
    form = request.headers.get("content-type", "").lower().startswith("multipart/form-data")
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > most + (OVERHEAD if form else 0):
        raise _too_large(most)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        written = _Counted(file, most)
        parse = _form_reader(request, written) if form else written.write
        received = 0
        try:
            async with asyncio.timeout(seconds):
                async for chunk in request.stream():
                    received += len(chunk)
                    if received > most + OVERHEAD:
                        raise _too_large(most)
                    parse(chunk)
        except TimeoutError:
            raise Problem(408, "too_slow", f"the file was not there within {seconds:.0f} s") from None
        except FormParserError:
            raise Problem(400, "no_form", "the body is not the form that its content-type says") from None
    if form and not written.opened:
        raise Problem(400, "no_file", "the form holds no file")
    return written.size


class _Counted:
    """Writes up to a limit."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file, self._most = file, most
        self.size, self.opened = 0, False

    def write(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > self._most:
            raise _too_large(self._most)
        self._file.write(data)


def _form_reader(request: Request, written: _Counted) -> Callable[[bytes], object]:
    """What takes the chunks of a form and passes on its first file."""
    _, options = parse_options_header(request.headers["content-type"])
    boundary = options.get(b"boundary")
    if not boundary:
        raise Problem(400, "no_form", "the content-type of a form names its boundary")
    name, value, headers = bytearray(), bytearray(), {}
    wanted = False

    def field(data: bytes, start: int, end: int) -> None:
        name.extend(data[start:end])

    def content(data: bytes, start: int, end: int) -> None:
        value.extend(data[start:end])

    def header_end() -> None:
        headers[bytes(name).lower()] = bytes(value)
        name.clear()
        value.clear()

    def headers_finished() -> None:
        nonlocal wanted
        _, said = parse_options_header(headers.get(b"content-disposition", b""))
        wanted = b"filename" in said and not written.opened
        written.opened = written.opened or wanted
        headers.clear()

    def part_data(data: bytes, start: int, end: int) -> None:
        if wanted:
            written.write(data[start:end])

    parser = MultipartParser(
        boundary,
        {"on_header_field": field, "on_header_value": content, "on_header_end": header_end,
         "on_headers_finished": headers_finished, "on_part_data": part_data},
    )  # fmt: skip
    return parser.write


def _too_large(most: int) -> Problem:
    return Problem(413, "too_large", f"the file is larger than {most / 1e6:g} MB")


async def discarded(request: Request, most: int = 8_000_000, seconds: float = 2) -> None:
    """Read a little more of a body that was refused, so that ordinary clients get to the answer."""
    with contextlib.suppress(TimeoutError, ClientDisconnect, RuntimeError):
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                most -= len(chunk)
                if most < 0:
                    return

"""uvicorn's HTTP/1.1 connection, with an end to what it waits for without one: headers, and bodies nobody reads."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

PATIENCE = 10.0
"""Seconds for a request's head, and for the rest of a body after its answer."""


class Connection(H11Protocol):
    """Closes where a client sends its headers a byte at a time, or goes on sending what was refused."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As uvicorn's."""
        super().connection_made(transport)
        self._wait_or_rest()

    def data_received(self, data: bytes) -> None:
        """As uvicorn's."""
        super().data_received(data)
        self._wait_or_rest()

    def on_response_complete(self) -> None:
        """As uvicorn's."""
        super().on_response_complete()
        self._wait_or_rest()

    def connection_lost(self, exc: Exception | None) -> None:
        """As uvicorn's."""
        self._rest()
        super().connection_lost(exc)

    def _wait_or_rest(self) -> None:
        answered = self.cycle is None or self.cycle.response_complete
        if not answered or self.transport.is_closing():
            self._rest()
        elif self._timer is None:
            self._timer = self.loop.call_later(PATIENCE, self._give_up)

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY) and not self.transport.is_closing():
            self.transport.abort()

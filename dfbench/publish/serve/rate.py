"""How many files an address may ask about: a bucket of tokens per address, which is refilled steadily."""

from __future__ import annotations

import ipaddress
import math
import time
from collections.abc import Callable

MOST = 100_000
"""Addresses that are remembered; those that have asked for the longest time ago are forgotten first."""


class Rate:
    """Counts in memory only, and forgets an address once its bucket is full again.

    Args:
        per_minute: Files; 0: any number.
        now: Seconds, for tests.
    """

    def __init__(self, per_minute: int, now: Callable[[], float] = time.monotonic) -> None:
        self._per_minute, self._now = per_minute, now
        self._buckets: dict[str, tuple[float, float]] = {}  # address → (tokens, when)

    def wait(self, address: str) -> int:
        """Take a token: 0, or after how many seconds there will be one.

        Args:
            address: Of the client; IPv6 addresses count by their first 64 bits, which one subscriber has.
        """
        if not self._per_minute:
            return 0
        key, now, pace = _network(address), self._now(), self._per_minute / 60
        tokens, before = self._buckets.pop(key, (float(self._per_minute), now))
        tokens = min(tokens + (now - before) * pace, self._per_minute)
        if tokens < 1:
            self._buckets[key] = (tokens, now)
            return math.ceil((1 - tokens) / pace)
        self._buckets[key] = (tokens - 1, now)
        self._forget(now)
        return 0

    def _forget(self, now: float) -> None:
        """The oldest stand first: those that are full again, or too many, go."""
        while self._buckets:
            key, (_, before) = next(iter(self._buckets.items()))
            if len(self._buckets) <= MOST and now - before < 60:
                return
            del self._buckets[key]


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 6:
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address

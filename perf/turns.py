"""Rivals that take turns every few steps, so that a change of the machine's speed meets all alike.

Each rival runs in a thread of its own and hands over after so many of its training steps; only one
runs at a time. What is reported is each one's whole time, start and end of its work included. The
times are longer than those of a rival alone (each thread wakes a pool of torch's threads of its own);
only the ratios mean something.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from dfbench.runs.events import Event, Listener, TrainingStep


class Turns:
    """Runs functions side by side, one at a time.

    Args:
        names: of the rivals, in the order of their turns.
        every: steps a turn.
    """

    def __init__(self, names: list[str], every: int = 8) -> None:
        self.names, self.every = names, every
        self.seconds = dict.fromkeys(names, 0.0)
        self._steps = dict.fromkeys(names, 0)
        self._running: list[str] = []
        self._at = 0
        self._began = 0.0
        self._condition = threading.Condition()
        self._error: BaseException | None = None

    def run(self, ways: dict[str, Callable[[], None]]) -> dict[str, float]:
        """Run all to their end; the seconds that each took in this call."""
        before = dict(self.seconds)
        self._running, self._at = list(ways), 0
        threads = [threading.Thread(target=self._one, args=(name, way)) for name, way in ways.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._error is not None:
            raise self._error
        return {name: self.seconds[name] - before[name] for name in ways}

    def step(self, name: str) -> None:
        """A rival says that it made a step."""
        self._steps[name] += 1
        if self._steps[name] % self.every == 0:
            with self._condition:
                self.seconds[name] += time.perf_counter() - self._began
                self._at = (self._running.index(name) + 1) % len(self._running)
                self._condition.notify_all()
                self._wait(name)

    def _one(self, name: str, way: Callable[[], None]) -> None:
        with self._condition:
            self._wait(name)
        try:
            way()
        except BaseException as error:
            self._error = error
        with self._condition:
            self.seconds[name] += time.perf_counter() - self._began
            place = self._running.index(name)
            self._running.remove(name)
            self._at = place % len(self._running) if self._running else 0
            self._condition.notify_all()

    def _wait(self, name: str) -> None:
        self._condition.wait_for(lambda: self._running[self._at] == name)
        self._began = time.perf_counter()


class EachStep(Listener):
    """Calls a function after every training step of a session."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call

    def due(self, done: int, total: int) -> bool:
        """Every step."""
        return True

    def event(self, event: Event) -> None:
        """Call the function after a step."""
        if isinstance(event, TrainingStep):
            self.call()

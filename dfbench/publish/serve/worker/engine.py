"""One thread that runs the networks; what several jobs want at the same time goes through them together."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dfbench.data.prepare.faces import BATCH, FaceDetector
from dfbench.publish.predict.run import Judge, Scores
from dfbench.publish.serve.worker.heat import HeatMaps

LOOKS = 128
"""Looks that are scored together."""
HEAT = 16
"""Heat maps that are made together."""


@dataclass
class _Wish:
    """What a job waits for. Wishes with equal keys go together."""

    key: tuple[Any, ...]
    items: Any
    count: int
    answer: Future[Any] = field(default_factory=Future)


class Engine:
    """Finds faces, scores looks and makes heat maps for many threads at once.

    There is no waiting for more work: while a batch is computed, the next one gathers.

    Args:
        faces: The face detector.
        judges: By the name of their model.
    """

    def __init__(self, faces: FaceDetector, judges: Mapping[str, Judge]) -> None:
        self._faces, self._judges = faces, judges
        self._heat = {name: HeatMaps(judge.predictor) for name, judge in judges.items()}
        self._arriving: queue.SimpleQueue[_Wish] = queue.SimpleQueue()
        self._since: float | None = None
        threading.Thread(target=self._run, name="engine", daemon=True).start()

    def detect(self, frames: np.ndarray) -> list[np.ndarray]:
        """Boxes of the faces in frames of one size; see :mod:`dfbench.data.prepare.faces`."""
        return self._wish(("detect", frames.shape[1:]), frames, len(frames))

    def score(self, model: str, looks: Sequence[np.ndarray]) -> Scores:
        """What a model says of looks."""
        return self._wish(("score", model, looks[0].shape), looks, len(looks))

    def heat(self, model: str, looks: Sequence[np.ndarray]) -> list[np.ndarray] | None:
        """Heat maps of looks, float32 (H, W) from 0 to 1 each; None where the network gives none."""
        return self._wish(("heat", model, looks[0].shape), looks, len(looks))

    @property
    def busy_for(self) -> float:
        """Seconds since the batch that is being computed began; 0 where there is none."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def _wish(self, key: tuple[Any, ...], items: Any, count: int) -> Any:
        wish = _Wish(key, items, count)
        self._arriving.put(wish)
        return wish.answer.result()

    def _run(self) -> None:
        waiting: deque[_Wish] = deque()
        while True:
            if not waiting:
                waiting.append(self._arriving.get())
            while not self._arriving.empty():
                waiting.append(self._arriving.get())
            chosen = _together(waiting)
            self._since = time.monotonic()
            self._grant(chosen)
            self._since = None

    def _grant(self, wishes: list[_Wish]) -> None:
        try:
            answers = self._compute(wishes)
        except Exception as error:
            if len(wishes) == 1:
                wishes[0].answer.set_exception(error)
            else:  # one of them is at fault: the others must not pay for it
                for wish in wishes:
                    self._grant([wish])
            return
        for wish, answer in zip(wishes, answers, strict=True):
            wish.answer.set_result(answer)

    def _compute(self, wishes: list[_Wish]) -> list[Any]:
        kind, *rest = wishes[0].key
        if kind == "detect":
            return _split(self._faces.detect(np.concatenate([wish.items for wish in wishes])), wishes)
        looks = [look for wish in wishes for look in wish.items]
        if kind == "heat":
            maps = self._heat[rest[0]].of(looks)
            return [None] * len(wishes) if maps is None else _split(maps, wishes)
        scores = self._judges[rest[0]].score(looks)
        return _split(scores, wishes, lambda start, stop: scores.part(start, stop))


def _together(waiting: deque[_Wish]) -> list[_Wish]:
    """Take the first wish and as many of its kind as fit into a batch."""
    key = waiting[0].key
    most = {"detect": BATCH, "score": LOOKS, "heat": HEAT}[key[0]]
    chosen: list[_Wish] = []
    left: list[_Wish] = []
    count = 0
    for wish in waiting:
        if wish.key == key and (not chosen or count + wish.count <= most):
            chosen.append(wish)
            count += wish.count
        else:
            left.append(wish)
    waiting.clear()
    waiting.extend(left)
    return chosen


def _split(values: Any, wishes: list[_Wish], part: Callable[[int, int], Any] | None = None) -> list[Any]:
    """Each wish's part of the values."""
    take = part or (lambda start, stop: values[start:stop])
    result, start = [], 0
    for wish in wishes:
        result.append(take(start, start + wish.count))
        start += wish.count
    return result

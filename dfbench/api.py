"""``dfbench.run``: a benchmark from Python, as ``dfbench eval`` runs it."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from dfbench.plugins import registry
from dfbench.publish.zoo.initial import find_initial
from dfbench.records.choice import options_from as read_options
from dfbench.records.record import Record
from dfbench.runs.events import Event, Listener, Notice
from dfbench.runs.prepare import Request
from dfbench.runs.runner import run as run_request

_log = logging.getLogger("dfbench")


def run(
    detector: str,
    strategy: str,
    benchmark: str | Path | None = None,
    *,
    preset: str | None = None,
    settings: Mapping[str, Any] | Sequence[str] = (),
    seed: int = 0,
    split: Literal["test", "val"] = "test",
    device: str = "auto",
    out: str | Path = "runs",
    data_root: str | Path | None = None,
    fresh: bool = False,
    allow_leaks: bool = False,
    eval_every: int | None = None,
    eval_samples: int | None = None,
    skip_tests: Sequence[str] = (),
    log: Sequence[str] = (),
    tune: str | None = None,
    init: str | Path | None = None,
    options_from: str | Path | None = None,
    progress: bool = False,
) -> Record:
    """Train a detector on one experience after another under a strategy, and measure what it forgets.

    The same call goes on where it was interrupted, and returns the record of a finished run.

    Args:
        detector: Name of a registered detector.
        strategy: Name of a registered strategy.
        benchmark: Name of a registered benchmark, or the path of a stream's ``.yaml`` file; the detector's own,
            or ``forge5``, unless given.
        preset: Named configuration of the detector; its first, or its choice by device, unless given.
        settings: Options, as ``{"epochs": 2, "strategy.memory": 100}`` or ``["epochs=2", "strategy.memory=100"]``.
        seed: Decides everything that is random.
        split: What is scored; ``val`` to choose hyperparameters.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, …
        out: Folder of runs.
        data_root: Folder that holds the data sets, each under its source's name; ``$DFBENCH_DATA`` unless given.
        fresh: Start again, whatever is in the run's folder.
        allow_leaks: Run although people or videos are in two splits, or a prepared set fails its audit; the record
            names what was allowed.
        eval_every: Score the test sets every so many optimizer steps too.
        eval_samples: With ``eval_every``: on so many samples of each test set; all unless given.
        skip_tests: Unseen sets of the benchmark that are left out; ``"perturbed"`` (the degraded copies); or ``"all"``.
        log: Loggers, each ``NAME`` or ``NAME:key=value,key=value``.
        tune: ``measure`` speed settings and take the fastest, or their names (``bf16,channels_last``).
        init: The checkpoint to start from, as :func:`dfbench.load` takes it, or a ``.safetensors`` file. With the
            strategy ``none`` it is scored as it is.
        options_from: A file of ``dfbench sweep --choose``: it decides all options, and the record names it.
        progress: Show a bar on stderr. Without it notices go to Python's logger ``dfbench``, at level INFO.

    Raises:
        DfbenchError: The input is wrong; the message says what, where and what to do. Nothing is written then.
    """
    data_root = data_root or os.environ.get("DFBENCH_DATA")
    known = registry()
    stream = None if benchmark is None else str(benchmark)
    chosen = None if options_from is None else read_options(Path(options_from), detector, strategy, stream, preset)
    request = Request(
        detector=detector,
        strategy=strategy,
        benchmark=stream,
        preset=preset,
        settings=settings,
        seed=seed,
        split=split,
        device=device,
        out=Path(out),
        data_root=Path(data_root) if data_root else None,
        fresh=fresh,
        allow_leaks=allow_leaks,
        eval_every=eval_every,
        eval_samples=eval_samples,
        skip_tests=skip_tests,
        log=log,
        tune=tune,
        init=None if init is None else find_initial(str(init), known, [Path(out)], _log.info),
        chosen=chosen,
    )
    with _listener(progress) as listener:
        return run_request(request, known, listener)


def _listener(progress: bool) -> contextlib.AbstractContextManager[Listener]:
    if not progress:
        return contextlib.nullcontext(_Notices())
    from dfbench.cli.progress import watching

    return watching()


class _Notices(Listener):
    """Sends what the user should know to Python's logging."""

    def follows(self, kind: type[Event]) -> bool:
        """Notices alone."""
        return issubclass(kind, Notice)

    def event(self, event: Event) -> None:
        """Log it."""
        if isinstance(event, Notice):
            _log.info(event.text)

"""From a request to a record: the spine of ``dfbench eval``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from dfbench.evaluation.scores import Scores
from dfbench.plugin_faults import named
from dfbench.plugins import Registry
from dfbench.processes import reports
from dfbench.records.record import RECORD, WEIGHTS, Record
from dfbench.runs.allocator import keep_freed_memory
from dfbench.runs.events import EventStream, Listener, RunFinished, RunResumed, RunStarted, RunStopped
from dfbench.runs.facts import facts_of
from dfbench.runs.loggers import GuardedLogger, make_loggers
from dfbench.runs.prepare import Prepared, Request, prepare
from dfbench.runs.session import Session
from dfbench.runs.shared_folder import SharedFolder
from dfbench.runs.storage import RunFolder
from dfbench.runs.tuning import tune
from dfbench.training.checkpoint import save_weights


def run(request: Request, registry: Registry, listener: Listener | None = None) -> Record:
    """Run a benchmark, or go on with it, or read its record if it is finished.

    Args:
        request: What to run.
        registry: What plugins brought.
        listener: Receives what happens, next to the loggers that the request names.

    Raises:
        DfbenchError: Bad input, each with its own exit code; see :mod:`dfbench.errors`. Nothing is
            written where the fault is in the input.
    """
    with named(lambda: registry):
        return _run(request, registry, listener)


def _run(request: Request, registry: Registry, listener: Listener | None) -> Record:
    if not reports():
        request, listener = replace(request, log=()), None
    loggers = make_loggers(request.log, registry)
    prepared = prepare(request, registry, listener)
    if prepared.device.type == "cpu":
        keep_freed_memory()
    notices = EventStream(listener)
    if prepared.measure:
        prepared = tune(prepared, request.out, request.fresh, listener)
    own = RunFolder(request.out, prepared.spec, prepared.code)
    folder = own if prepared.ranks.alone else SharedFolder(own, prepared.ranks)
    if not request.fresh and (record := folder.record()) is not None:
        record = folder.name_choice(record, prepared.chosen)
        unlogged = ", nothing is left to log" if loggers else ""
        notices.notice(f"this run is finished already ({folder.path}){unlogged}; --fresh runs it again")
        return record
    guarded = [GuardedLogger(name, logger, notices.notice) for name, logger in loggers.items()]
    session = Session(prepared, EventStream(listener, *guarded))
    with contextlib.closing(session), folder.opened(request.fresh) as moved, _closing(guarded, session.events):
        if moved:
            notices.notice(moved)
        # Another process may have finished it before this one got the lock.
        record = folder.record() or _train(session, folder, prepared, registry, guarded)
        return folder.name_choice(record, prepared.chosen)


@contextlib.contextmanager
def _closing(loggers: Sequence[GuardedLogger], events: EventStream) -> Iterator[None]:
    """However the run ends, its loggers are closed; where it ends early, that is an event."""
    try:
        yield
    except BaseException as error:
        events.event(RunStopped(f"{type(error).__name__}: {error}".removesuffix(": ")))
        raise
    finally:
        for logger in loggers:
            logger.close()


def _train(
    session: Session,
    folder: RunFolder | SharedFolder,
    prepared: Prepared,
    registry: Registry,
    loggers: Sequence[GuardedLogger],
) -> Record:
    """Train what is left, storing after every experience, and write the record."""
    done = folder.finished()
    if done:
        session.load_state_dict(folder.load(done))
    if done and session.strategy.trains:
        session.events.notice(f"going on after {done} of {session.trainings} trainings")
    _announce(session, folder, done)
    session.template.observe([plugin for logger in loggers for plugin in logger.avalanche_plugins()])
    # Scores lie in the folder until the end: in memory those of a long stream would grow with every experience.
    for number in session.evaluations:  # 0: the untrained network
        if number <= done and folder.has_scores(number):
            folder.load_scores(number)  # damage is reported now, not after hours
            continue
        if number:
            session.train(number)
        folder.save_scores(number, session.evaluate(number))
        if number:
            folder.save(number, session.state_dict())
    if not folder.has_scores(session.trainings + 1):
        folder.save_scores(session.trainings + 1, session.evaluate_perturbed())
    tuning = prepared.tuning
    if tuning is not None and session.fast is not None and session.fast.failure:
        tuning = {**tuning, "compile_failed": session.fast.failure}
    weights = session.ranks.of_first(
        lambda: save_weights(folder.path / WEIGHTS, session.final_weights, session.adapting.adaptations)
    )
    facts = {**facts_of(session, registry, prepared.code), "weights_sha256": weights, "tuning": tuning}
    scores = Scores.concat(folder.load_scores(number) for number in (*session.evaluations, session.trainings + 1))
    record = folder.finish(scores, Record.of(prepared.spec, prepared.stream, scores, prepared.metrics, facts))
    session.events.event(RunFinished(record, folder.path / RECORD))
    return record


def _announce(session: Session, folder: RunFolder | SharedFolder, finished: int) -> None:
    """Say that the run starts, or goes on after ``finished`` trainings of an earlier process."""
    facts: dict[str, Any] = {
        "run": session.spec.run_id,
        "identity": session.spec.identity,
        "spec": session.spec.document(),
        "folder": folder.path,
        "experiences": tuple(session.names),
        "headline": session.stream.metric,
        "trainings": session.trainings,
    }
    resumed = finished > 0
    event = RunResumed(**facts, finished=finished, step=session.step) if resumed else RunStarted(**facts)
    session.events.event(event)

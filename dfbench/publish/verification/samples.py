"""Whether the scored samples are the benchmark's own test sets, all of them and with their labels.

Every figure can follow from the scores and still be wrong: hard samples may be left out, or predictions put in the
place of labels. That shows only against the data.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dfbench.benchmarks.flow import scored_after
from dfbench.errors import DataError, DfbenchError, first_problem
from dfbench.evaluation.further import tested_of
from dfbench.publish.verification.checks import Finding

if TYPE_CHECKING:
    from dfbench.benchmarks.stream import Stream
    from dfbench.data.units import Units
    from dfbench.evaluation.scores import Group, Scores
    from dfbench.plugins import Registry
    from dfbench.records.record import Record
    from dfbench.runs.events import Listener
    from dfbench.training.detector import Detector

WHAT = "samples"


class TestSet(NamedTuple):
    """The units that are scored for one experience, sorted by name; arrays of shape (n,)."""

    names: np.ndarray
    videos: np.ndarray
    labels: np.ndarray
    identities: np.ndarray


def _left_out(record: Record, stream: Stream, scores: Scores) -> str | None:
    """Whether other test sets were scored than a sampled R has: none may be left out because of its score."""
    if stream.flow.tests is None and "forgetting_at_least" not in record.metrics:
        return None
    names = record.names
    for row in sorted({trained_on for trained_on, _ in scores.pairs}):
        found = [j for i, j in scores.pairs if i == row and j < len(names)]
        if odd := sorted({*found} ^ {*scored_after(row, names, stream.flow.tests)}):
            what = "is scored" if odd[0] in found else "is not scored"
            after = f"after {names[row]!r}" if row >= 0 else "before any training"
            return f"{names[odd[0]]!r} {what} {after}, unlike what the benchmark's flow says"
    return None


class SampleCheck:
    """Compares scores with the data of their benchmark; each benchmark is opened once.

    Args:
        registry: Where benchmarks, sources and detectors are looked up.
        data_root: Folder that holds the data sets.
        benchmark: The stream's YAML file, for records whose benchmark is not registered.
        listener: Follows the opening; forge5 is rendered where it is not in the cache.
    """

    def __init__(
        self,
        registry: Registry,
        data_root: Path | None = None,
        benchmark: str | None = None,
        listener: Listener | None = None,
    ) -> None:
        self.registry, self.data_root, self.benchmark, self.listener = registry, data_root, benchmark, listener
        self._streams: dict[tuple[str, tuple[str, ...]], Stream | str] = {}

    def __call__(self, record: Record, scores: Scores) -> Finding:
        """The finding; ``ok`` is None where the data or the detector are not available here."""
        stream = self._stream(record)
        if isinstance(stream, str):
            return Finding(WHAT, None, f"not checked: {stream}")
        if stream.fingerprint != record.data.fingerprint:
            found, stated = stream.fingerprint[:12], record.data.fingerprint[:12]
            return Finding(
                WHAT, None, f"not checked: {stream.name} has other data here (fingerprint {found}…, not {stated}…)"
            )
        if stream.further_fingerprint != record.spec.further_tests:
            return Finding(WHAT, None, f"not checked: {stream.name} has other unseen sets or degraded copies here")
        try:
            sets = self._sets(record, stream)
        except (DfbenchError, ImportError) as error:
            return Finding(WHAT, None, f"not checked: {error}")
        if problem := _described(record, stream) or _left_out(record, stream, scores):
            return Finding(WHAT, False, problem)
        names = [*record.names, *record.unseen_names, *(copy.name for copy in record.tested.copies), *record.names]
        for group in scores:
            if problem := _different(group, sets[group.tested_on]):
                split = "val" if group.tested_on >= len(names) - len(record.names) else record.spec.split
                return Finding(WHAT, False, f"{split} set of {names[group.tested_on]!r}: {problem}")
        return Finding(WHAT, True)

    def with_identities(self, record: Record, scores: Scores) -> Scores:
        """The scores with the person of each sample, as the benchmark has them.

        Raises:
            DataError: The data are not available here or others, or a sample is not in them.
        """
        stream = self._stream(record)
        if isinstance(stream, str):
            raise DataError(f"{record.run}: {stream}")
        if stream.fingerprint != record.data.fingerprint:
            raise DataError(f"{record.run}: {stream.name} has other data here (fingerprint {stream.fingerprint[:12]}…)")
        own, new = (
            dict(zip(each.samples.sample.tolist(), each.identities.tolist(), strict=True)) if each is not None else {}
            for each in (stream, stream.unseen)
        )
        unseen = range(len(record.names), len(record.names) + len(record.unseen_names))
        groups = []
        for group in scores:
            people = new if group.tested_on in unseen else own
            if lost := [name for name in group.samples.tolist() if name not in people]:
                raise DataError(f"{record.run}: the scored sample {lost[0]!r} is not in {stream.name}")
            keys = np.array([people[name] for name in group.samples.tolist()], dtype=object)
            groups.append(replace(group, identities=keys))
        return type(scores)(groups)

    def _stream(self, record: Record) -> Stream | str:
        """The benchmark with the further tests that the record has scores of, or why it cannot be opened."""
        from dfbench.benchmarks.schema import EVERYTHING
        from dfbench.runs.prepare import open_stream

        name, spec = record.data.benchmark, record.spec
        key = name, spec.skipped_tests if spec.further_tests else (EVERYTHING,)
        if key not in self._streams:
            try:
                self._streams[key] = open_stream(
                    self.benchmark or name, self.registry, self.data_root, self.listener, key[1], allow_leaks=True
                )  # whether a record says what it allowed is a question of its own
            except (DfbenchError, ImportError) as error:
                self._streams[key] = f"the data are not available ({error})"
        return self._streams[key]

    def _sets(self, record: Record, stream: Stream) -> list[TestSet]:
        """The units of each test set's scored split, as the record's detector groups samples."""
        from pydantic import ValidationError

        from dfbench.runs.further import REALS, chosen
        from dfbench.training.detector import Task

        spec = record.spec
        kind: type[Detector] = self.registry.detectors.load(spec.detector)
        try:
            config = kind.Config.model_validate(spec.detector_config)
        except ValidationError as error:
            raise DataError(f"the installed detector {spec.detector!r} refuses {first_problem(error)}") from error
        detector = kind(config, Task(stream.classes, stream.native_size, len(stream.experiences)))
        unseen = stream.unseen and stream.unseen.having(spec.split)
        own, new = (_units(detector, each, spec.split) if each is not None else [] for each in (stream, unseen))
        copies = []
        if (perturb := stream.perturb) is not None:
            for units, columns in own:
                kept = chosen(columns[0], units.target, perturb.samples)
                part = _by_name(*(column[kept] for column in columns))
                copies += [part] * len(perturb.kinds) * len(perturb.levels)
        held = []
        for units, columns in _units(detector, stream, "val") if record.operating is not None else []:
            reals = np.flatnonzero(units.labels == 0)
            kept = reals[chosen(columns[0][reals], units.labels[reals], REALS)]
            held.append(_by_name(*(column[kept] for column in columns)))
        return [*(_by_name(*columns) for _, columns in (*own, *new)), *copies, *held]


def _described(record: Record, stream: Stream) -> str | None:
    """How what the record says of the data differs from them, though the fingerprint is theirs."""
    if record.names != [e.name for e in stream.experiences]:
        return f"the experiences of {stream.name} are {', '.join(e.name for e in stream.experiences)}"
    unseen = stream.unseen and stream.unseen.having(record.spec.split)
    scored = [e.name for e in unseen.experiences] if unseen is not None else []
    if record.unseen_names != scored:
        return f"the unseen sets of {stream.name} are {', '.join(scored)}"
    if list(record.tested.copies) != list(tested_of(record.names, scored, stream.perturb).copies):
        return f"the degraded copies of {stream.name} are others"
    if tuple(record.data.classes) != tuple(stream.classes):
        return f"the classes of {stream.name} are {', '.join(stream.classes)}"
    return None


def _units(detector: Detector, stream: Stream, split: str) -> list[tuple[Units, tuple[np.ndarray, ...]]]:
    """For each experience a detector's units, and of these names, videos, labels and people."""
    from dfbench.data.units import frames
    from dfbench.data.videos import video_keys

    names, videos = stream.samples.sample, video_keys(stream.samples)
    found: list[tuple[Units, tuple[np.ndarray, ...]]] = []
    for experience in stream.experiences:
        rows = experience.rows[split]
        units = detector.units(stream.samples, rows, training=False) if len(rows) else frames(stream.samples, rows)
        first = units.rows.reshape(len(units), -1)[:, 0]
        found.append((units, (names[first], videos[first], units.labels, stream.identities[first])))
    return found


def _by_name(names: np.ndarray, videos: np.ndarray, labels: np.ndarray, identities: np.ndarray) -> TestSet:
    order = np.argsort(names.astype(str), kind="stable")
    return TestSet(names[order], videos[order], labels[order], identities[order])


def _different(group: Group, right: TestSet) -> str | None:
    """How scored samples differ from a test set, in words; None where they do not."""
    found = _by_name(group.samples, group.videos, group.labels, group.identities)
    if not np.array_equal(found.names, right.names):
        lost, more = (sorted({*a} - {*b}) for a, b in ((right.names, found.names), (found.names, right.names)))
        if lost:
            return f"{len(lost)} of {len(right.names)} samples were not scored (the first: {lost[0]!r})"
        return f"{len(more) or len(found.names)} scored samples are not in it (the first: {(more or found.names)[0]!r})"
    for what, stated, true in (
        ("label", found.labels, right.labels),
        ("video", found.videos, right.videos),
        ("person", found.identities, right.identities),
    ):
        if (wrong := np.flatnonzero(stated != true)).size:
            i = wrong[0]
            return f"the {what} of {found.names[i]!r} is {true[i]!s} and not {stated[i]!s} ({wrong.size} such samples)"
    return None

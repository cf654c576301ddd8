"""Whether the scored samples are the benchmark's own test sets, all of them and with their labels.

Every figure can follow from the scores and still be wrong: hard samples may be left out, or predictions put in the
place of labels. That shows only against the data.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dfbench.errors import DataError, DfbenchError, first_problem
from dfbench.publish.verification.checks import Finding

if TYPE_CHECKING:
    from dfbench.benchmarks.stream import Stream
    from dfbench.evaluation.scores import Group, Scores
    from dfbench.plugins import Registry
    from dfbench.records.record import Record
    from dfbench.runs.events import Listener

WHAT = "samples"


class TestSet(NamedTuple):
    """The units that are scored for one experience, sorted by name; arrays of shape (n,)."""

    names: np.ndarray
    videos: np.ndarray
    labels: np.ndarray
    identities: np.ndarray


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
        self._streams: dict[str, Stream | str] = {}

    def __call__(self, record: Record, scores: Scores) -> Finding:
        """The finding; ``ok`` is None where the data or the detector are not available here."""
        stream = self._stream(record.data.benchmark)
        if isinstance(stream, str):
            return Finding(WHAT, None, f"not checked: {stream}")
        if stream.fingerprint != record.data.fingerprint:
            found, stated = stream.fingerprint[:12], record.data.fingerprint[:12]
            return Finding(
                WHAT, None, f"not checked: {stream.name} has other data here (fingerprint {found}…, not {stated}…)"
            )
        try:
            sets = self._sets(record, stream)
        except (DfbenchError, ImportError) as error:
            return Finding(WHAT, None, f"not checked: {error}")
        if problem := _described(record, stream):
            return Finding(WHAT, False, problem)
        for group in scores:
            if problem := _different(group, sets[group.tested_on]):
                name = record.names[group.tested_on]
                return Finding(WHAT, False, f"{record.spec.split} set of {name!r}: {problem}")
        return Finding(WHAT, True)

    def with_identities(self, record: Record, scores: Scores) -> Scores:
        """The scores with the person of each sample, as the benchmark has them.

        Raises:
            DataError: The data are not available here or others, or a sample is not in them.
        """
        stream = self._stream(record.data.benchmark)
        if isinstance(stream, str):
            raise DataError(f"{record.run}: {stream}")
        if stream.fingerprint != record.data.fingerprint:
            raise DataError(f"{record.run}: {stream.name} has other data here (fingerprint {stream.fingerprint[:12]}…)")
        people = dict(zip(stream.samples.sample.tolist(), stream.identities.tolist(), strict=True))
        groups = []
        for group in scores:
            if lost := [name for name in group.samples.tolist() if name not in people]:
                raise DataError(f"{record.run}: the scored sample {lost[0]!r} is not in {stream.name}")
            keys = np.array([people[name] for name in group.samples.tolist()], dtype=object)
            groups.append(replace(group, identities=keys))
        return type(scores)(groups)

    def _stream(self, name: str) -> Stream | str:
        """The benchmark, or why it cannot be opened."""
        from dfbench.runs.prepare import open_stream

        if name not in self._streams:
            try:
                self._streams[name] = open_stream(self.benchmark or name, self.registry, self.data_root, self.listener)
            except (DfbenchError, ImportError) as error:
                self._streams[name] = f"the data are not available ({error})"
        return self._streams[name]

    def _sets(self, record: Record, stream: Stream) -> list[TestSet]:
        """The units of each experience's scored split, as the record's detector groups samples."""
        from pydantic import ValidationError

        from dfbench.data.videos import video_keys
        from dfbench.training.detector import Detector, Task

        spec = record.spec
        kind: type[Detector] = self.registry.detectors.load(spec.detector)
        try:
            config = kind.Config.model_validate(spec.detector_config)
        except ValidationError as error:
            raise DataError(f"the installed detector {spec.detector!r} refuses {first_problem(error)}") from error
        detector = kind(config, Task(stream.classes, stream.native_size, len(stream.experiences)))
        names, videos, sets = stream.samples.sample, video_keys(stream.samples), []
        for experience in stream.experiences:
            units = detector.units(stream.samples, experience.rows[spec.split], training=False)
            first = units.rows.reshape(len(units), -1)[:, 0]
            sets.append(_by_name(names[first], videos[first], units.labels, stream.identities[first]))
        return sets


def _described(record: Record, stream: Stream) -> str | None:
    """How what the record says of the data differs from them, though the fingerprint is theirs."""
    if record.names != [e.name for e in stream.experiences]:
        return f"the experiences of {stream.name} are {', '.join(e.name for e in stream.experiences)}"
    if tuple(record.data.classes) != tuple(stream.classes):
        return f"the classes of {stream.name} are {', '.join(stream.classes)}"
    return None


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

"""The contract as tests for pytest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from dfbench.testing.checks import CHECKS, Check, under
from dfbench.testing.subject import Subject, Workbench


class DetectorContract:
    """Tests that every detector passes. Subclass it, in a class that pytest collects, and name the detector.

    Attributes:
        detector: its registered name.
        preset, settings, benchmark, strategies, refused, rounds, pairs, frames, size, device: see
            :class:`dfbench.testing.Subject`. A strategy that refuses the detector fails the contract unless
            ``refused`` names it, and so does one that ``refused`` names and that trains it.
    """

    detector: ClassVar[str]
    preset: ClassVar[str | None] = None
    settings: ClassVar[Mapping[str, Any]] = {}
    benchmark: ClassVar[str | None] = None
    strategies: ClassVar[Sequence[str] | None] = None
    refused: ClassVar[Sequence[str]] = ()
    rounds: ClassVar[int] = Subject.rounds
    pairs: ClassVar[int] = Subject.pairs
    frames: ClassVar[int] = Subject.frames
    size: ClassVar[int] = Subject.size
    device: ClassVar[str] = Subject.device

    @classmethod
    def subject(cls) -> Subject:
        """What is checked."""
        return Subject(**{name: getattr(cls, name) for name in Subject.__dataclass_fields__})

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """A test for each check, and for each strategy."""
        if "contract_check" in metafunc.fixturenames:
            metafunc.parametrize("contract_check", CHECKS, ids=[check.name for check in CHECKS])
        if "contract_strategy" in metafunc.fixturenames:
            assert metafunc.cls is not None
            metafunc.parametrize("contract_strategy", Workbench(metafunc.cls.subject(), Path()).strategies)

    @pytest.fixture(scope="class")
    def workbench(
        self, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[Workbench]:
        """The small stream and the trainings on it, shared by the tests of the class."""
        with Workbench(request.cls.subject(), tmp_path_factory.mktemp("contract")).opened() as bench:
            yield bench
            bench.close()

    def test_contract(self, contract_check: Check, workbench: Workbench) -> None:
        """One promise of the contract."""
        _report(contract_check, workbench)

    def test_strategy(self, contract_strategy: str, workbench: Workbench) -> None:
        """A training under one strategy."""
        _report(under(contract_strategy), workbench)


def _report(check: Check, bench: Workbench) -> None:
    outcome = check.outcome(bench)
    if outcome.status == "failed":
        pytest.fail(f"{bench.subject.detector}, {check.name}: {outcome.detail}", pytrace=False)
    if outcome.status == "not checked":
        pytest.skip(outcome.detail)

"""All checks of a detector, and running them."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dfbench.errors import DfbenchError, in_one_line
from dfbench.plugin_faults import named
from dfbench.plugins import Registry, registry
from dfbench.testing import behaviour, declared, trainings
from dfbench.testing.outcome import Broken, NotChecked, Outcome, Refused
from dfbench.testing.subject import Subject, Workbench


@dataclass(frozen=True)
class Check:
    """A promise of the contract.

    Attributes:
        name: of one word.
        look: returns what was seen in a few words.

    Raises:
        Broken: by ``look``: the promise is not kept.
        NotChecked: by ``look``: the detector does not do what the promise is about.
        Refused: by ``look``: a strategy refuses the detector, as it may.
    """

    name: str
    look: Callable[[Workbench], str]

    @property
    def promise(self) -> str:
        """One sentence."""
        return (self.look.__doc__ or "").partition("\n")[0]

    def outcome(self, bench: Workbench) -> Outcome:
        """Its result; whatever the detector's code raises is one."""
        try:
            with named(lambda: bench.registry):
                return Outcome(self.name, "passed", self.look(bench))
        except NotChecked as error:
            return Outcome(self.name, "not checked", str(error))
        except Refused as error:
            return Outcome(self.name, "refused", str(error))
        except (Broken, DfbenchError) as error:
            return Outcome(self.name, "failed", in_one_line(error))


CHECKS = (
    Check("import", declared.imports),
    Check("presets", declared.presets),
    Check("build", declared.builds),
    Check("units", declared.units),
    Check("loss", behaviour.loss),
    Check("augment", behaviour.augment),
    Check("predict", behaviour.predict),
    Check("head", behaviour.head),
    Check("rows", behaviour.rows),
    Check("learn", trainings.learns),
    Check("load", trainings.loads),
    Check("repeat", trainings.repeats),
    Check("resume", trainings.resumes),
)
"""Every check but those of single strategies."""


def under(strategy: str) -> Check:
    """The check of a training under a strategy."""
    return Check(f"under {strategy}", functools.partial(trainings.trains_under, strategy=strategy))


def check_detector(
    subject: Subject, known: Registry | None = None, progress: Callable[[int, int, str], None] | None = None
) -> Iterator[Outcome]:
    """Run every check, and a training under each strategy.

    Args:
        subject: The detector, and how it is checked.
        known: The plugins; the installed ones unless given.
        progress: Called before each check with the number of checks done, their number in all, and its name.

    Yields:
        The result of each check.

    Raises:
        UsageError: There is no such detector, preset, option or strategy.
        PluginError: The detector cannot be imported.
    """
    known = known or registry()
    with tempfile.TemporaryDirectory(prefix="dfbench-check-") as folder:
        bench = Workbench(subject, Path(folder), known)
        for strategy in bench.strategies:
            known.strategies[strategy]  # an unknown name ends it here
        with bench.opened():
            bench.prepared()  # so do a preset and options that do not exist, and a class that cannot be imported
            checks = [*CHECKS, *map(under, bench.strategies)]
            try:
                for number, check in enumerate(checks):
                    if progress is not None:
                        progress(number, len(checks), check.name)
                    yield check.outcome(bench)
            finally:
                bench.close()

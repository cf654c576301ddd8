"""Whether the sets of a stream are fit for a result: what their audits say, unless leaks are allowed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dfbench.data.audit.prepared_set import audit_of, unfit
from dfbench.data.sources.prepared import PreparedSource
from dfbench.data.workers import Progress
from dfbench.errors import DataError

if TYPE_CHECKING:
    from dfbench.benchmarks.assemble import Opened

OPTION = "--allow-leaks"


def check_fit(
    opened: Sequence[Opened], allowed: list[str] | None, *, trains: bool, progress: Progress | None = None
) -> None:
    """Check the prepared sets among some sources; a set without a current audit is audited first.

    Args:
        opened: the sources.
        allowed: receives a line for each check that fails; None: one that fails is an error.
        trains: whether they are trained on. In a set that only tests, what crosses its own splits is no leak.
        progress: called with the number of videos read.

    Raises:
        DataError: an audit found leaks or wrong labels.
    """
    for each in opened:
        source = each.origin.source
        if not isinstance(source, PreparedSource):
            continue
        failed = [check for check in unfit(audit_of(source.root, progress)) if trains or check.kind != "leak"]
        if allowed is not None:
            allowed += [f"{source.root.resolve().name}: {check.name}: {check.detail}" for check in failed]
        elif failed:
            found = "; ".join(f"{check.name}: {check.detail}, as {check.examples[0]}" for check in failed)
            raise DataError(
                f"{source.root} fails its audit ({found}); correct the data and prepare the set again, or run with "
                f"{OPTION}, which stays on the record"
            )

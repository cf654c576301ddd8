"""A finished run made public: a row of the leaderboard, its pages, an entry of the zoo, a checkpoint on the Hub."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dfbench.errors import DataError
from dfbench.publish.board.add import add
from dfbench.publish.board.build import pages, write
from dfbench.publish.board.table import read_board
from dfbench.records.record import Record

if TYPE_CHECKING:
    from dfbench.plugins import Registry


@dataclass(frozen=True)
class Published:
    """Where a run is to be seen."""

    record: Path
    """On the leaderboard."""
    pages: tuple[Path, ...]
    """Of the leaderboard, rebuilt."""
    entry: Path | None
    """Of the zoo; None of a run that trained nothing, and so made no checkpoint."""
    hub: str | None
    """Address of the repository; None where nothing was pushed."""


def publish(
    run: Path,
    board: Path,
    zoo: Path,
    registry: Registry,
    hub_id: str | None = None,
    notice: Callable[[str], None] | None = None,
) -> Published:
    """Put a finished run on the leaderboard in ``board`` and into the zoo in ``zoo``.

    With ``hub_id`` (user/repo) the checkpoint is pushed there first, and the entry names its commit; without, the
    weights are copied next to the entry. Called a second time, it goes on where it was interrupted.

    Raises:
        DataError: The run does not pass the checks of :func:`dfbench.publish.board.add.add`; nothing is published.
        HubError: The push failed; the run is on the leaderboard, not in the zoo.
    """
    trained = Record.read(run).trained
    if hub_id is not None and not trained:
        raise DataError(f"{run}: this run trained nothing, so there is no checkpoint to push")
    (added,) = add([run], board, registry)
    written = write(pages(read_board(board)), board)
    if not trained:
        return Published(added.path, tuple(written), None, None)
    if hub_id is None:
        from dfbench.publish.zoo.from_run import package_run

        return Published(added.path, tuple(written), package_run(run, zoo, registry), None)
    from dfbench.publish.hub.push import publish_run
    from dfbench.publish.zoo.entry import write_entry

    pushed = publish_run(run, hub_id, registry, notice=notice)
    entry = zoo / f"{pushed.entry.name}.yaml"
    write_entry(pushed.entry, entry)
    return Published(added.path, tuple(written), entry, pushed.url)

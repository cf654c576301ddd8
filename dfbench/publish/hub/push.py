"""Publishing a run as a repository of the Hub: one commit, never over somebody else's.

A push reads the head of the branch, uploads what is not there yet and makes one commit that the Hub
accepts only on that head. If the branch has moved meanwhile, nothing is overwritten: where somebody
changed a file that dfbench writes the push ends with an error, otherwise it is repeated on the new head.
An interrupted push can be run again; large files that arrived are not sent twice.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from dfbench.errors import HubError, UsageError
from dfbench.publish.hub.errors import LOG_IN, client, explained, status_of, web_page
from dfbench.publish.hub.repository import RepoFile, assemble, written_by_dfbench
from dfbench.publish.hub.transfer import stated
from dfbench.publish.zoo.entry import HUB_ID, CheckpointEntry, Hub
from dfbench.publish.zoo.from_run import entry_from_run
from dfbench.records import outside
from dfbench.records.finished import FinishedRun

if TYPE_CHECKING:
    from dfbench.plugins import Registry

BRANCH = "main"
ATTEMPTS = 3
"""How often a push is tried while others push other files at the same time."""


@dataclass(frozen=True)
class Pushed:
    """What a push did."""

    repo: str
    commit: str
    url: str
    changed: bool
    """False: the repository had everything already, and no commit was made."""
    entry: CheckpointEntry
    """With repository and commit, as it belongs into a zoo."""
    replaced: str | None
    """The head before, if another one."""
    files: Sequence[RepoFile]


@dataclass(frozen=True)
class Plan:
    """What a push would send."""

    repo: str
    entry: CheckpointEntry
    files: Sequence[RepoFile]


def publish_run(
    run: Path,
    hub_id: str | None,
    registry: Registry | None = None,
    *,
    private: bool = False,
    parent: str | None = None,
    endpoint: str | None = None,
    notice: Callable[[str], None] | None = None,
    **facts: Any,
) -> Pushed:
    """Push the finished run in ``run`` to ``hub_id``; the function behind ``dfbench zoo push``.

    Args:
        run: The run's folder.
        hub_id: ``user/repo``; None: a repository of the logged-in user, called as the checkpoint.
        registry: What is installed.
        private: Whether a repository that does not exist yet becomes private.
        parent: The commit that the caller believes to be the head; the push is refused on any other.
        endpoint: Another server than the Hub.
        notice: Receives what happens meanwhile.
        facts: As :func:`dfbench.publish.zoo.from_run.entry_from_run`.

    Raises:
        DataError: The run is not finished, or its files are not the recorded ones.
        UsageError: ``hub_id`` is not a Hub id.
        HubError: No token, no right, no connection, or somebody else pushed meanwhile.
    """
    from dfbench import plugins

    registry = registry or plugins.registry()
    return push(plan(run, hub_id, registry, endpoint=endpoint, **facts), private, parent, endpoint, notice)


def plan(run: Path, hub_id: str | None, registry: Registry, *, endpoint: str | None = None, **facts: Any) -> Plan:
    """What :func:`publish_run` would send; the same arguments."""
    if hub_id is not None and not ((match := HUB_ID.fullmatch(hub_id)) and match["revision"] is None):
        raise UsageError(f"{hub_id!r} is not a Hub id: write user/repo")
    finished = FinishedRun.open(run)
    entry = entry_from_run(finished, registry, **facts)
    repo = hub_id or f"{_user(endpoint)}/{entry.name}"
    return Plan(repo, entry, assemble(entry, finished, repo, registry))


def push(
    what: Plan,
    private: bool = False,
    parent: str | None = None,
    endpoint: str | None = None,
    notice: Callable[[str], None] | None = None,
) -> Pushed:
    """Send a plan. See :func:`publish_run`."""
    api, repo = client(endpoint), what.repo
    with explained(api, repo, doing="write"):
        head = _head(api, repo, private)
    if parent is not None and parent != head:
        raise HubError(f"{repo} is at {head} and not at {parent}: look at {web_page(repo, head, api.endpoint)} first")
    before = head
    for _ in range(ATTEMPTS):
        with explained(api, repo, doing="write"):
            commit = _commit(api, what, head)
        if commit is not None:
            return Pushed(
                repo,
                commit,
                web_page(repo, commit, api.endpoint),
                commit != head,
                what.entry.model_copy(update={"hub": Hub(repo=repo, commit=commit)}),
                before if commit != before else None,
                what.files,
            )
        with explained(api, repo, doing="write"):
            moved = _head(api, repo, private)
            theirs = _changed(api, repo, head, moved)
        mine = sorted(path for path in theirs if written_by_dfbench(path) or path in {file.path for file in what.files})
        if mine:
            raise HubError(
                f"somebody else pushed {moved[:12]} to {repo} meanwhile and changed {', '.join(mine)}: nothing was "
                f"overwritten; look at {web_page(repo, moved, api.endpoint)}, then push again if yours is to replace it"
            )
        if notice is not None:
            others = ", ".join(sorted(theirs)) or "no file"
            notice(f"somebody else pushed {moved[:12]} meanwhile ({others}); trying on top")
        head = moved
    raise HubError(f"{repo}: others push all the time; nothing was overwritten: run the same command again")


def _commit(api: HfApi, what: Plan, head: str) -> str | None:
    """The new commit on ``head`` (``head`` itself where nothing changes); None: the branch has moved."""
    sent = {file.path for file in what.files}
    there = {f.path for f in api.list_repo_tree(what.repo, recursive=True, revision=head) if hasattr(f, "blob_id")}
    stale = sorted(path for path in there - sent if written_by_dfbench(path))
    operations = [CommitOperationAdd(file.path, file.content) for file in what.files]
    entry = what.entry
    try:
        with warnings.catch_warnings():  # it is asked for with --scores, in a repository of a model
            warnings.filterwarnings("ignore", message=".*about to commit a data file")
            done = api.create_commit(
                what.repo,
                [*operations, *(CommitOperationDelete(path) for path in stale)],
                commit_message=f"{entry.name}: {entry.results.metric} {entry.results.average:.3f}",
                commit_description=f"Run {', '.join(entry.records)}",
                revision=BRANCH,
                parent_commit=head,
            )
    except HfHubHTTPError as error:
        if status_of(error) == 412:
            return None
        raise
    return outside.commit(done.oid, what.repo)


def _head(api: HfApi, repo: str, private: bool) -> str:
    """The commit that the branch is at; the repository is made if there is none."""
    try:
        return stated(api, repo, BRANCH).commit
    except RepositoryNotFoundError:
        api.create_repo(repo, private=private or None, exist_ok=True)
        return stated(api, repo, BRANCH).commit


def _changed(api: HfApi, repo: str, old: str, new: str) -> set[str]:
    """Paths that differ between two commits."""
    listings = []
    for revision in (old, new):
        tree = api.list_repo_tree(repo, recursive=True, revision=revision)
        listings.append({f.path: f.blob_id for f in tree if hasattr(f, "blob_id")})
    before, after = listings
    return {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}


def _user(endpoint: str | None) -> str:
    api = client(endpoint)
    with explained(api, "your account", doing="write"):
        try:
            return str(api.whoami()["name"])
        except HfHubHTTPError as error:
            if status_of(error) == 401:
                raise HubError(
                    f"no valid token for {api.endpoint}: {LOG_IN}; or name a repository with --to"
                ) from error
            raise

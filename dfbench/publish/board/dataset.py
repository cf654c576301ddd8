"""A leaderboard's packs of scores in a data set repository of the Hub: fetched when they are needed, sent when new.

``scores.json`` (:mod:`dfbench.publish.board.manifest`) says which packs a leaderboard has. A pack that is fetched gets
its name only after its size and sha256 were found to be the stated ones; those that arrived before an interruption are
kept. A push makes one commit on the head that it has seen, and replaces a pack only by one that holds all its scores.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from dfbench.errors import DataError, HubError, UsageError
from dfbench.files import cache_root, replacing, writing
from dfbench.publish.board.manifest import MANIFEST, Manifest, PackFile, manifest_json, read_manifest
from dfbench.publish.hub.errors import client, explained, status_of, web_page
from dfbench.publish.hub.transfer import Stated, StatedFile, download, stated
from dfbench.publish.zoo.entry import HUB_ID
from dfbench.records import outside

BRANCH = "main"
MANIFEST_LIMIT = 64 << 20
"""Bytes that a data set's manifest may have: some 200,000 packs."""
Progress = Callable[[str, int, int], None]
"""(path, bytes of it, bytes in all), called after each pack."""


@dataclass(frozen=True)
class PulledScores:
    """What a pull did."""

    fetched: tuple[str, ...]
    refused: dict[str, str]
    """Path → why it was not fetched or not kept."""


@dataclass(frozen=True)
class PushedScores:
    """What a push did."""

    repo: str
    commit: str
    url: str
    sent: tuple[str, ...]
    """Empty: everything was there, and no commit was made."""


def pull(
    board: Path,
    source: str,
    paths: Collection[str] | None = None,
    *,
    endpoint: str | None = None,
    progress: Progress = lambda path, size, total: None,
) -> PulledScores:
    """Fetch the packs that a leaderboard lacks, or has in another state than its manifest states.

    Args:
        board: Folder of the leaderboard.
        source: ``user/dataset``, or ``user/dataset@revision``.
        paths: Of the manifest; None: all.
        endpoint: Another server than the Hub.
        progress: Called after each pack.

    Raises:
        DataError: The manifest is missing or breaks its schema.
        HubError: No such repository, or no connection; what was fetched stays.
        StorageError: A file cannot be written.
    """
    repo, revision = _parsed(source)
    manifest = _manifest(board)
    wanted = {p: f for p, f in manifest.items() if (paths is None or p in paths) and not f.is_at(board / p)}
    if not wanted:
        return PulledScores((), {})
    api, total = client(endpoint), sum(file.size for file in wanted.values())
    fetched, refused = [], {}
    staging = cache_root() / "scores" / repo.replace("/", "--")
    with writing(staging):
        staging.mkdir(parents=True, exist_ok=True)
    with FileLock(staging.with_suffix(".lock")), explained(api, f"datasets/{repo}", revision):
        there = stated(api, repo, revision, "dataset")
        for path, file in wanted.items():
            reason = _unlike(there.files.get(path), file) or _fetch(api, repo, there.commit, path, file, staging, board)
            if reason is None:
                fetched.append(path)
            else:
                refused[path] = reason
            progress(path, file.size, total)
    return PulledScores(tuple(fetched), refused)


def push(
    board: Path,
    repo: str,
    *,
    replace: bool = False,
    private: bool = False,
    endpoint: str | None = None,
    progress: Progress = lambda path, size, total: None,
) -> PushedScores:
    """Send the packs that a data set lacks, and the manifest, in one commit.

    Args:
        board: Folder of the leaderboard.
        repo: ``user/dataset``; it is made if there is none.
        replace: Let packs take the place of packs that hold other scores.
        private: Of a repository that does not exist yet.
        endpoint: Another server than the Hub.
        progress: Called after each pack.

    Raises:
        DataError: A pack is not here and not there, or is not the one that the manifest states.
        UsageError: The data set has packs that hold other scores.
        HubError: No token, no right, no connection, or somebody else pushed meanwhile.
    """
    repo, revision = _parsed(repo)
    if revision != BRANCH:
        raise UsageError(f"a push goes to the branch {BRANCH}: write {repo}")
    manifest = _manifest(board)
    api, name = client(endpoint), f"datasets/{repo}"
    with explained(api, name, doing="write"):
        head = _head(api, repo, private)
        there = head.files
        lacking = {p: f for p, f in manifest.items() if _unlike(there.get(p), f) is not None}
        theirs = _their_manifest(api, repo, head) if MANIFEST in there else {}
    _check_replaced(lacking, there, theirs, repo, replace)
    for path, file in lacking.items():
        if not file.is_at(board / path):
            raise DataError(
                f"{board / path}: not the pack that {MANIFEST} names, and {repo} has none; "
                "'dfbench leaderboard pull' fetches packs, 'add' makes them"
            )
    both = theirs | manifest
    if both == theirs and not lacking:
        return PushedScores(repo, head.commit, web_page(name, head.commit, api.endpoint), ())
    packs = [CommitOperationAdd(path, board / path) for path in lacking]
    content = (json.dumps(manifest_json(both), indent=1) + "\n").encode()
    with explained(api, name, doing="write"):
        _upload(api, repo, packs, [file.size for file in lacking.values()], progress)
        commit = _commit(api, repo, [*packs, CommitOperationAdd(MANIFEST, content)], head.commit)
    return PushedScores(repo, commit, web_page(name, commit, api.endpoint), tuple(lacking))


def _fetch(api: HfApi, repo: str, commit: str, path: str, file: PackFile, staging: Path, board: Path) -> str | None:
    """One pack to its place on the leaderboard; what is wrong with it where it was not kept."""
    local = staging / path
    try:
        local.unlink(missing_ok=True)  # what an earlier pull left may be damaged
        download(api, repo, commit, path, file.size, staging, "dataset")
        if file.is_at(local):
            with replacing(board / path) as temporary:
                shutil.copyfile(local, temporary)
            return None
    except DataError as error:
        return str(error)
    finally:
        local.unlink(missing_ok=True)
    return f"what was sent is not the pack that {MANIFEST} names"


def _manifest(board: Path) -> Manifest:
    if manifest := read_manifest(board):
        return manifest
    raise DataError(f"{board / MANIFEST}: no packs are stated here; 'dfbench leaderboard add RUN' makes one")


def _parsed(source: str) -> tuple[str, str]:
    """(user/dataset, revision)."""
    match = HUB_ID.fullmatch(source)
    if match is None:
        raise UsageError(f"{source!r} is not a data set of the Hub: it is written user/dataset")
    return match["repo"], match["revision"] or BRANCH


def _unlike(there: StatedFile | None, file: PackFile) -> str | None:
    """How what the Hub says of a file differs from the manifest; None where it does not."""
    return "not there" if there is None else there.unlike(file.size, file.sha256)


def _head(api: HfApi, repo: str, private: bool) -> Stated:
    """The head of the data set; it is made if there is none."""
    try:
        return stated(api, repo, BRANCH, "dataset")
    except RepositoryNotFoundError:
        api.create_repo(repo, repo_type="dataset", private=private or None, exist_ok=True)
        return stated(api, repo, BRANCH, "dataset")


def _their_manifest(api: HfApi, repo: str, head: Stated) -> Manifest:
    """What the data set states of its packs; nothing where that is not a manifest of ours."""
    folder = cache_root() / "scores" / f"{repo.replace('/', '--')}@{head.commit}"
    try:
        download(api, repo, head.commit, MANIFEST, MANIFEST_LIMIT, folder, "dataset")
        return read_manifest(folder)
    except DataError:
        return {}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_replaced(
    lacking: Manifest, there: dict[str, StatedFile], theirs: Manifest, repo: str, replace: bool
) -> None:
    """Refuse to replace a pack by one that lacks some of its scores, as far as the data set says what it holds."""
    lost = []
    for path, file in lacking.items():
        known = theirs.get(path)
        if path in there and (
            known is None or _unlike(there[path], known) is not None or not known.runs.items() <= file.runs.items()
        ):
            lost.append(path)
    if lost and not replace:
        more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
        raise UsageError(
            f"{repo} has other scores in {lost[0]}{more}: nothing was overwritten; --replace puts yours in their place"
        )


def _upload(
    api: HfApi, repo: str, packs: Iterable[CommitOperationAdd], sizes: Collection[int], progress: Progress
) -> None:
    """Send the packs one after another; those that arrived in an earlier push are not sent again."""
    for pack, size in zip(packs, sizes, strict=True):
        api.preupload_lfs_files(repo, [pack], repo_type="dataset")
        progress(pack.path_in_repo, size, sum(sizes))


def _commit(api: HfApi, repo: str, operations: list[CommitOperationAdd], head: str) -> str:
    packs = len(operations) - 1
    try:
        done = api.create_commit(
            repo,
            operations,
            repo_type="dataset",
            commit_message=f"Scores of {packs} row{'s' * (packs != 1)}",
            revision=BRANCH,
            parent_commit=head,
        )
    except HfHubHTTPError as error:
        if status_of(error) == 412:
            raise HubError(
                f"{repo}: somebody else pushed meanwhile; nothing was overwritten: run the same command again"
            ) from error
        raise
    return outside.commit(done.oid, repo)

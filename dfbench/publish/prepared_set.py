"""A prepared set on the Hub: sent in one commit, private unless it may be public, and fetched back checked.

Most public data sets forbid to pass on their frames. A push is therefore private by default, and goes to a public
repository only where the user says so. The card names the Arrow files of each split, so that Hugging Face ``datasets``
opens and streams the repository as it is.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import yaml
from filelock import FileLock
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from dfbench.data.prepare.shards import META, FileFacts, Meta, read_meta, shard_files, write_index
from dfbench.errors import DataError, HubError, StorageError, UsageError
from dfbench.files import sha256_of, writing
from dfbench.publish.hub.errors import client, explained, status_of, web_page
from dfbench.publish.hub.transfer import Stated, download, stated
from dfbench.publish.zoo.entry import HUB_ID
from dfbench.records import outside

BRANCH = "main"
REPORT = "report.csv"
META_LIMIT = 64 << 20
"""Bytes that ``prepared.json`` may have."""
Progress = Callable[[str, int, int], None]
"""(path, bytes of it, bytes in all), called after each file."""


@dataclass(frozen=True)
class PushedSet:
    """What a push did."""

    repo: str
    commit: str
    url: str
    sent: tuple[str, ...]
    """Empty: the set was there, and no commit was made."""


def push(
    folder: Path,
    repo: str,
    *,
    public: bool = False,
    replace: bool = False,
    endpoint: str | None = None,
    progress: Progress = lambda path, size, total: None,
) -> PushedSet:
    """Send a finished set in one commit.

    Args:
        folder: The set's.
        repo: ``user/dataset``; it is made if there is none.
        public: Let it be, or become, a public repository.
        replace: Let it take the place of another set.
        endpoint: Another server than the Hub.
        progress: Called after each Arrow file.

    Raises:
        DataError: The folder holds no finished set.
        StorageError: One of its files is missing or was changed.
        UsageError: The repository is public, or holds something else.
        HubError: No token, no right, no connection, or somebody else pushed meanwhile.
    """
    repo, revision = _parsed(repo)
    if revision != BRANCH:
        raise UsageError(f"a push goes to the branch {BRANCH}: write {repo}")
    meta = read_meta(folder)
    for path, about in zip(shard_files(folder, meta), meta.files.values(), strict=True):
        if sha256_of(path) != about.sha256:
            raise StorageError(f"{path} was changed after it was prepared; prepare the set again")
    api, name = client(endpoint), f"datasets/{repo}"
    with explained(api, name, doing="write"):
        head = _head(api, repo, public)
        own = {*meta.files, META, REPORT, "README.md", "dataset_dict.json"}
        own |= {f"{split}/{file}" for split in meta.by_split() for file in ("state.json", "dataset_info.json")}
        lacking = [path for path, about in meta.files.items() if _unlike(head, path, about)]
        theirs = set(head.files) - own - {".gitattributes"}
        same = META in head.files and head.files[META].size == (folder / META).stat().st_size
        if same and not lacking and not theirs:
            return PushedSet(repo, head.commit, web_page(name, head.commit, api.endpoint), ())
        if (META in head.files or theirs) and not replace:
            raise UsageError(f"{repo} holds another set: nothing was overwritten; --replace puts yours in its place")
        shards = [CommitOperationAdd(path, folder / path) for path in lacking]
        total = sum(meta.files[path].bytes for path in lacking)
        for shard in shards:  # one after another: those that arrived in an earlier push are not sent again
            api.preupload_lfs_files(repo, [shard], repo_type="dataset")
            progress(shard.path_in_repo, meta.files[shard.path_in_repo].bytes, total)
        small = [CommitOperationAdd(path, folder / path) for path in sorted(own - {*meta.files, "README.md"})]
        card = CommitOperationAdd("README.md", _card(meta).encode())
        gone = [CommitOperationDelete(path) for path in sorted(theirs)]
        commit = _commit(api, repo, [*shards, *small, card, *gone], head.commit)
    return PushedSet(repo, commit, web_page(name, commit, api.endpoint), tuple(lacking))


def pull(
    source: str,
    target: Path,
    *,
    endpoint: str | None = None,
    progress: Progress = lambda path, size, total: None,
) -> Path:
    """Fetch a set to a new folder; every file is checked before the folder gets its name.

    Args:
        source: ``user/dataset``, or ``user/dataset@revision``.
        target: A new or empty folder.
        endpoint: Another server than the Hub.
        progress: Called after each file.

    Returns:
        ``target``.

    Raises:
        DataError: The repository holds no prepared set, or a file is not the one that it states.
        HubError: No such repository, or no connection; what was fetched stays.
        StorageError: ``target`` is not empty, or cannot be written.
    """
    repo, revision = _parsed(source)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise StorageError(f"{target} exists already; choose a new folder with --to")
    staging = target.with_name(f".{target.name}.part")
    with writing(staging):
        staging.mkdir(parents=True, exist_ok=True)
    api, name = client(endpoint), f"datasets/{repo}"
    with FileLock(staging.with_suffix(".lock")), explained(api, name, revision):
        there = stated(api, repo, revision, "dataset")
        where = f"{repo}@{there.commit[:12]}"
        if META not in there.files:
            raise DataError(f"{where} holds no set of dfbench: it has no {META}")
        (staging / META).unlink(missing_ok=True)
        download(api, repo, there.commit, META, META_LIMIT, staging, "dataset")
        meta = read_meta(staging)
        files = {**meta.files, REPORT: meta.report}
        total = sum(about.bytes for about in files.values())
        for path, about in files.items():
            if reason := _unlike(there, path, about):
                raise DataError(f"{where}: {path} {reason}; it was not fetched")
            _fetch(api, repo, there.commit, path, about, staging)
            progress(path, about.bytes, total)
        write_index(staging, meta.by_split(), meta.digest)
        shutil.rmtree(staging / ".cache", ignore_errors=True)
        with writing(target):
            with suppress(FileNotFoundError):
                target.rmdir()
            staging.rename(target)
    staging.with_suffix(".lock").unlink(missing_ok=True)
    return target


def _fetch(api: HfApi, repo: str, commit: str, path: str, about: FileFacts, staging: Path) -> None:
    """One file, checked; a wrong one is deleted, one that is there already is not fetched twice."""
    local = staging / path
    if _is(local, about):
        return
    local.unlink(missing_ok=True)
    download(api, repo, commit, path, about.bytes, staging, "dataset")
    if not _is(local, about):
        local.unlink(missing_ok=True)
        raise DataError(f"{repo}@{commit[:12]}: what was sent for {path} is not the file that {META} names")


def _is(path: Path, about: FileFacts) -> bool:
    return path.is_file() and path.stat().st_size == about.bytes and sha256_of(path) == about.sha256


def _unlike(head: Stated, path: str, about: FileFacts) -> str | None:
    there = head.files.get(path)
    return "is not there" if there is None else there.unlike(about.bytes, about.sha256)


def _parsed(source: str) -> tuple[str, str]:
    match = HUB_ID.fullmatch(source)
    if match is None:
        raise UsageError(f"{source!r} is not a data set of the Hub: it is written user/dataset")
    return match["repo"], match["revision"] or BRANCH


def _head(api: HfApi, repo: str, public: bool) -> Stated:
    """The head of the repository, which is made if there is none; refuses a public one unless it may be."""
    try:
        found = stated(api, repo, BRANCH, "dataset")
    except RepositoryNotFoundError:
        api.create_repo(repo, repo_type="dataset", private=not public, exist_ok=True)
        return stated(api, repo, BRANCH, "dataset")
    if not public and not api.repo_info(repo, repo_type="dataset").private:
        raise UsageError(
            f"{repo} is public: nothing was sent; --public sends it, where the data set's licence lets you pass it on"
        )
    return found


def _card(meta: Meta) -> str:
    """README.md: which files are which split, for ``datasets``, and how the set was made, for people."""
    files = [{"split": split, "path": f"{split}/*.arrow"} for split in meta.by_split()]
    head = {"configs": [{"config_name": "default", "data_files": files}]}
    options = "\n".join(f"- {key}: {value}" for key, value in meta.options.items() if key != "fingerprint")
    return (
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n\n# Face crops made with dfbench\n\n"
        f"{meta.summary.get('videos')} videos, {meta.summary.get('crops')} crops. The terms of the data set that they "
        f"were made from apply to them.\n\n{options}\n\nsha256 {meta.digest}\n"
    )


def _commit(api: HfApi, repo: str, operations: list[CommitOperationAdd | CommitOperationDelete], head: str) -> str:
    try:
        done = api.create_commit(
            repo,
            operations,
            repo_type="dataset",
            commit_message="A prepared set",
            revision=BRANCH,
            parent_commit=head,
        )
    except HfHubHTTPError as error:
        if status_of(error) == 412:
            raise HubError(f"{repo}: somebody else pushed meanwhile; nothing was overwritten: run it again") from error
        raise
    return outside.commit(done.oid, repo)

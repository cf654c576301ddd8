"""What a server states of a repository, and what it sends: checked before anything of it is used.

A commit is 40 hexadecimal digits, sizes and hashes have their types, and a download ends at the size that is expected.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import HfApi
from huggingface_hub.utils import tqdm

from dfbench.errors import DataError, HubError
from dfbench.records import outside


@dataclass(frozen=True)
class StatedFile:
    """What a server says of one file."""

    size: int | None
    """Bytes; None: not stated."""
    sha256: str | None
    """None: not in large-file storage, or not stated."""

    def unlike(self, size: int, sha256: str) -> str | None:
        """How it differs from the file that is expected, in words; None where it does not."""
        if self.size is None:
            return "has no stated size"
        if self.size != size:
            return f"has {self.size} bytes and not {size}"
        if self.sha256 is not None and self.sha256 != sha256:
            return f"has sha256 {self.sha256[:12]}… and not {sha256[:12]}…"
        return None


@dataclass(frozen=True)
class Stated:
    """A repository at one commit."""

    commit: str
    files: dict[str, StatedFile]
    """By path."""


def stated(api: HfApi, repo: str, revision: str, kind: Literal["model", "dataset"] = "model") -> Stated:
    """The commit that a revision is now, and its files.

    Args:
        api: The client.
        repo: ``user/repo``.
        revision: Branch, tag or commit.
        kind: Of the repository.

    Raises:
        DataError: The server states anything else than a commit.
        HubError: The answer is not that of a Hub.
        Exception: What huggingface_hub raises (:func:`dfbench.publish.hub.errors.explained`).
    """
    try:
        info: Any = api.repo_info(repo, revision=revision, repo_type=kind, files_metadata=True)
        files = {str(each.rfilename): _file(each) for each in info.siblings or []}
    except (TypeError, KeyError, AttributeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise HubError(not_a_hub(repo, api.endpoint)) from error
    return Stated(outside.commit(info.sha, f"{repo}@{revision[:40]}"), files)


def not_a_hub(repo: str, endpoint: str) -> str:
    """The sentence for an answer that no Hub gives."""
    return (
        f"{repo}: {endpoint} does not answer as a Hub: a login page of the network or a proxy may answer in its place; "
        "open the address in a browser, or check HF_ENDPOINT"
    )


def download(
    api: HfApi,
    repo: str,
    commit: str,
    path: str,
    limit: int,
    folder: Path,
    kind: Literal["model", "dataset"] = "model",
) -> Path:
    """Fetch one file to its path below ``folder``; its content is for the caller to check.

    Args:
        api: The client.
        repo: ``user/repo``.
        commit: Of the repository.
        path: Of the file in the repository.
        limit: Bytes that it may have; the transfer ends at the first one beyond.
        folder: Where it goes.
        kind: Of the repository.

    Raises:
        DataError: More bytes than ``limit`` or other than the stated number were sent, or ``path`` leads elsewhere.
        Exception: What huggingface_hub raises (:func:`dfbench.publish.hub.errors.explained`).
    """
    where = f"{repo}@{commit[:12]}: {path}"
    try:
        target = folder / outside.inside(path)
        outside.commit(commit, repo)
        api.hf_hub_download(
            repo, path, repo_type=kind, revision=commit, local_dir=folder, tqdm_class=_limited(limit, where)
        )
    except ValueError as error:
        if type(error) is not ValueError:
            raise
        raise DataError(f"{repo}@{commit[:12]}: {error}") from error
    except OSError as error:
        if type(error) is not OSError or error.errno is not None:
            raise  # the library's own for a size that is not the stated one is a bare OSError
        raise DataError(
            f"{where}: another number of bytes was sent than was stated: the transfer broke off, or a login page of "
            "the network was sent; nothing was kept: run the same command again"
        ) from error
    return target


def _file(sibling: Any) -> StatedFile:
    sha256 = getattr(sibling.lfs, "sha256", None)
    size = sibling.size if isinstance(sibling.size, int) and not isinstance(sibling.size, bool) else None
    return StatedFile(size, sha256 if isinstance(sha256, str) else None)


def _limited(limit: int, where: str) -> type[tqdm]:
    """A progress bar that ends a transfer: the one thing of the library's that sees every chunk before it is kept."""

    class Limited(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            self._sent = 0
            self._check(more.get("total") or 0)

        def update(self, n: float | None = 1) -> bool | None:
            self._sent += int(n or 0)
            self._check(self._sent)
            return super().update(n)  # type: ignore[no-any-return]

        def _check(self, size: int) -> None:
            if size > limit:
                raise DataError(f"{where} has more than the {limit:,} bytes that are expected; it was not fetched")

    return Limited

"""Errors of the Hub, each as one line that says what to do."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

from huggingface_hub import HfApi
from huggingface_hub import constants as hub_constants
from huggingface_hub.errors import (
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from dfbench.errors import DataError, DfbenchError, HubError, UsageError
from dfbench.publish.hub.transfer import not_a_hub

LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


def client(endpoint: str | None = None) -> HfApi:
    """huggingface_hub's own client, which finds the token by itself; ``endpoint``: another server than the Hub."""
    return HfApi(endpoint=endpoint, library_name="dfbench")


@contextlib.contextmanager
def explained(api: HfApi, repo: str, revision: str | None = None, doing: str = "read") -> Iterator[None]:
    """Turn huggingface_hub's errors into :class:`DfbenchError`.

    Args:
        api: The client in use.
        repo: The repository in question.
        revision: The revision in question.
        doing: ``read`` or ``write``; a refusal is explained by it.
    """
    try:
        yield
    except DfbenchError:
        raise
    except Exception as error:  # the library's errors have no common base; an unknown one passes unchanged
        explanation = _explanation(error, api.endpoint, repo, revision, doing)
        if explanation is None:
            raise
        raise explanation from error


def status_of(error: BaseException | None) -> int | None:
    """The HTTP status behind an error."""
    response = getattr(error, "response", None)
    return None if response is None else int(response.status_code)


def _explanation(error: Exception, endpoint: str, repo: str, revision: str | None, doing: str) -> DfbenchError | None:
    cause: BaseException = error
    while type(cause) in (RuntimeError, LocalEntryNotFoundError) and cause.__cause__ is not None:
        cause = cause.__cause__  # "Error while uploading …": the reason is behind it
    status = status_of(cause)
    match cause:
        case HFValidationError():
            return UsageError(f"{repo!r} is not a Hub id: write user/repo")
        case LocalTokenNotFoundError():
            return HubError(f"{repo}: this needs a token: {LOG_IN}")
        case GatedRepoError():
            return HubError(f"{repo} is gated: ask for access at {endpoint}/{repo}, then {LOG_IN}")
        case RevisionNotFoundError():
            return UsageError(f"{repo} has no revision {revision!r}; look at {endpoint}/{repo}/commits/main")
        case RemoteEntryNotFoundError():
            return DataError(f"{repo}: a file is not in revision {revision!r}: {_first(cause)}")
        case RepositoryNotFoundError() if doing == "read" or status == 404:
            return HubError(f"{repo}: no such repository on {endpoint}, or a private one: check the name, or {LOG_IN}")
        case HfHubHTTPError() if status in (401, 403) or isinstance(cause, RepositoryNotFoundError):
            if status == 401:
                return HubError(f"{repo}: no valid token for {endpoint}: {LOG_IN}")
            return HubError(
                f"{repo}: this token may not {doing} there: it needs the {doing} right for {repo.split('/')[-2]} "
                f"({endpoint}/settings/tokens)"
            )
        case HfHubHTTPError() if status == 429:
            return HubError(f"{endpoint}: too many requests; wait some minutes and run the same command again")
        case HfHubHTTPError():
            said = getattr(cause, "server_message", None)
            return HubError(f"{repo}: {endpoint} answered {status}{f': {said}' if said else ''}; try again later")
        case OfflineModeIsEnabled():
            return HubError(f"{repo}: HF_HUB_OFFLINE is set, and the files are not in the cache; unset it")
        case _ if _is_transport(cause) or isinstance(cause, LocalEntryNotFoundError):
            return HubError(
                f"{repo}: no connection to {endpoint} ({_first(cause)}); what was transferred stays: "
                "run the same command again"
            )
        case FileMetadataError() | json.JSONDecodeError():
            return HubError(not_a_hub(repo, endpoint))
        case ValueError() if "README.md" in str(cause):
            return DataError(f"{repo}: {endpoint} does not accept the model card: {_first(cause)}")
    return None


def _is_transport(error: BaseException) -> bool:
    """An error of the HTTP library, whichever huggingface_hub uses."""
    return any(
        base.__module__.split(".")[0] in ("httpx", "httpx2", "httpcore", "httpcore2") for base in type(error).__mro__
    )


def _first(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[-2:]) if lines else type(error).__name__


def web_page(repo: str, commit: str, endpoint: str | None = None) -> str:
    """Address of a commit's page."""
    return f"{endpoint or hub_constants.ENDPOINT}/{repo}/tree/{commit}"

"""Where zoo entries and pulled checkpoints lie. Imported when plugins are registered, so it imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import dfbench
from dfbench.errors import DataError


def packaged() -> dict[str, Path]:
    """The entries that come with dfbench: name → YAML file.

    In a wheel they are ``dfbench/zoo_entries``, in a checkout the top-level ``zoo``.
    """
    return {path.stem: path for path in sorted(_folder().glob("*.yaml"))}


def default() -> str:
    """The packaged entry that judges where none is named, as the file ``default`` next to the entries says."""
    return (_folder() / "default").read_text(encoding="utf-8").strip()


def _folder() -> Path:
    package = Path(dfbench.__file__).resolve().parent
    inside = package / "zoo_entries"
    return inside if inside.is_dir() else package.parent / "zoo"


def pulled(repo: str, commit: str) -> Path:
    """The folder of a checkpoint from the Hub; it is there only when every file in it was checked.

    Raises:
        DataError: The commit or the repository is none, so that the folder might lie elsewhere.
    """
    from dfbench.files import cache_root
    from dfbench.records import outside

    outside.commit(commit, repo)
    if problem := outside.path_problem(repo.replace("/", "--")):
        raise DataError(f"{repo!r} {problem}")
    return cache_root() / "zoo" / repo.replace("/", "--") / commit

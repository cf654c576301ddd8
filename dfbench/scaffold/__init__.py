"""A new plugin, as a complete package: ``dfbench plugins new NAME``."""

from __future__ import annotations

import keyword
import re
import tempfile
from pathlib import Path

from dfbench.errors import StorageError, UsageError
from dfbench.plugins import OWN, Registry

FILES = {
    "pyproject.toml": "pyproject.toml.j2",
    "README.md": "README.md.j2",
    ".gitignore": "gitignore.j2",
    ".github/workflows/tests.yml": "workflow.yml.j2",
    "src/{module}/__init__.py": "plugin.py.j2",
    "src/{module}/detector.py": "detector.py.j2",
    "src/{module}/py.typed": "py.typed.j2",
    "tests/test_{name}.py": "test_contract.py.j2",
}
"""Path in the package → its template."""
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


def new_plugin(name: str, folder: Path, known: Registry) -> list[Path]:
    """Write a package with a detector, its tests, a workflow that runs them, and a README.

    Args:
        name: of the detector: lower-case letters, digits and underscores.
        folder: where; it may be empty, and is made if need be.
        known: the plugins, whose names are taken.

    Returns:
        The files, relative to ``folder``.

    Raises:
        UsageError: the name is not one or is taken, or the folder has files in it.
        StorageError: the folder cannot be written.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    _check_name(name, known)
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder} exists and is not an empty folder: choose another one with --to")
        environment = Environment(
            loader=PackageLoader("dfbench.scaffold", "template"), undefined=StrictUndefined, keep_trailing_newline=True,
            autoescape=False,
        )  # fmt: skip
        facts = {
            "name": name,
            "distribution": f"dfbench-{name.replace('_', '-')}",
            "module": f"dfbench_{name}",
            "kind": "".join(part.capitalize() for part in name.split("_") if part),
            "core": OWN,
        }
        texts = {
            path.format(**facts): environment.get_template(template).render(facts) for path, template in FILES.items()
        }
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
            part = Path(temporary) / folder.name
            for path, text in texts.items():
                (part / path).parent.mkdir(parents=True, exist_ok=True)
                (part / path).write_text(text, encoding="utf-8")
            if folder.exists():
                folder.rmdir()
            part.rename(folder)
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror or error}") from error
    return [Path(path) for path in texts]


def _check_name(name: str, known: Registry) -> None:
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise UsageError(
            f"{name!r} cannot be a detector's name here: lower-case letters, digits and underscores, up to 40, "
            "a letter first"
        )
    if name in known.detectors:
        plugin = known.detectors.registered(name)[0].plugin
        raise UsageError(f"there is a detector {name!r} already, of {plugin}: choose another name")
    if any(plugin.name == name for plugin in known.plugins):
        raise UsageError(f"there is a plugin {name!r} already: choose another name")

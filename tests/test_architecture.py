"""The structure that ``docs/decisions.md`` and CONTRIBUTING describe, held against the code."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dfbench
from dfbench.plugins import registry

ROOT = Path(__file__).parent.parent
CORE = sorted((ROOT / "dfbench").rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))
FLOORS = [
    {
        "avalanche_config",
        "documents",
        "errors",
        "files",
        "hookspecs",
        "parquet",
        "plugin_faults",
        "plugin_imports",
        "plugins",
        "processes",
    },
    {"data"},
    {"forge", "benchmarks"},
    {"training", "evaluation"},
    {"records"},
    {"runs"},
    {"publish", "scaffold", "testing"},
    {"cli", "api"},
]
ANYWHERE = {"__init__", "__main__", "builtin"}
"""The public names, the entry points and the built-in registrations point at everything by their nature."""


def floor(name: str) -> int:
    return next(i for i, names in enumerate(FLOORS) if name in names)


def imports(path: Path, only_at_run_time: bool = True) -> Iterator[tuple[str, list[str]]]:
    """(module, names) of every import of dfbench; those for type checkers alone are passed over."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if only_at_run_time and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped |= {inner for part in node.body for inner in ast.walk(part)}
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "dfbench":
            yield node.module, [alias.name for alias in node.names]
        if isinstance(node, ast.Import):
            yield from ((a.name, []) for a in node.names if a.name.split(".")[0] == "dfbench")


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def circles() -> list[set[str]]:
    """Modules of the core that import each other, anywhere in their files and for type checkers too.

    The package itself is left out: its public names point at everything.
    """
    modules = {module_of(path): path for path in CORE if part_of(path) not in ANYWHERE}
    arrows: dict[str, set[str]] = {}
    for module, path in modules.items():
        targets = set()
        for source, names in imports(path, only_at_run_time=False):
            within = {f"{source}.{name}" for name in names if f"{source}.{name}" in modules}
            # Of a package that lists its modules' names, the names that are no modules come from the package itself.
            targets |= within | ({source} if len(within) < len(names) or not names else set())
        arrows[module] = {target for target in targets if target in modules and target != module}

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            new = arrows[waiting.pop()] - seen
            seen |= new
            waiting += new
        return seen

    beyond = {module: reached(module) for module in modules}
    rings = {frozenset(b for b in beyond[a] if a in beyond[b]) for a in modules if a in beyond[a]}
    return sorted((set(ring) for ring in rings), key=sorted)


def test_no_circle_of_imports_even_for_types() -> None:
    """Two modules that know each other are one module, or a name is in the wrong one of them."""
    assert circles() == []


def part_of(path: Path) -> str:
    return path.relative_to(ROOT / "dfbench").with_suffix("").parts[0]


@pytest.mark.parametrize("path", CORE, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    here = part_of(path)
    if here in ANYWHERE:
        return
    for module, names in imports(path):
        parts = module.split(".")
        targets = [parts[1]] if len(parts) > 1 else [n for n in names if n in set().union(*FLOORS)]
        for target in targets:
            assert floor(target) <= floor(here), f"{path.name} (floor {here}) imports dfbench.{target}"


@pytest.mark.parametrize("path", PLUGINS, ids=lambda p: str(p.relative_to(ROOT)))
def test_first_party_plugins_use_the_public_api_alone(path: Path) -> None:
    for module, names in imports(path, only_at_run_time=False):
        assert module == "dfbench", f"{path.name} imports {module}"
        assert set(names) <= set(dfbench.__all__)


def test_the_public_api_is_there() -> None:
    """The stub is the one list of public names, in the form that type checkers take for public too."""
    stub = ast.parse((ROOT / "dfbench" / "__init__.pyi").read_text(encoding="utf-8"))
    aliases = [alias for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert all(alias.asname == alias.name for alias in aliases)
    assert {alias.name for alias in aliases} | {"__version__"} == set(dfbench.__all__)
    assert all(hasattr(dfbench, name) for name in dfbench.__all__)


def test_the_core_knows_no_detector_and_no_strategy_by_name() -> None:
    # "none" is a strategy, and a word for other things; "timm" a detector, and the library that it is made of.
    known = {*registry().detectors, *registry().strategies} - {"none", "timm"}
    for path in CORE:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
        assert not found & known, f"{path.relative_to(ROOT)}: {found & known}"
        named = {text for text in found if text.startswith(tuple(f"{name}-" for name in registry().detectors))}
        assert not named, f"{path.relative_to(ROOT)}: {named}"  # a checkpoint or a run of one


def test_nothing_unpickles_or_runs_a_shell() -> None:
    """The restricted reader of CIFAR-10's original files is the one exception; it has its own tests. What only
    reads tensors (``weights_only=True``) may open what a user has downloaded."""
    allowed = {"cifar10_batches.py", "workers.py"}  # workers: what this process sent to its own children
    for path in [*CORE, *PLUGINS]:
        if path.name in allowed:
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        text = "\n".join(line for line in lines if "weights_only=True" not in line)
        for word in ("pickle.load", "torch.load(", "shell=True", "yaml.load(", "dill"):
            assert word not in text, f"{path.relative_to(ROOT)} has {word}"


def test_everything_imported_is_a_declared_dependency() -> None:
    """What another package happens to pull in may be gone tomorrow, and a fresh machine lacks it."""
    named_otherwise = {
        "PIL": "pillow", "avalanche": "avalanche-lib", "cv2": "opencv-python-headless", "sklearn": "scikit-learn",
        "yaml": "pyyaml", "pydantic_core": "pydantic", "lazy_loader": "lazy-loader",
        "facenet_pytorch": "facenet-pytorch", "prometheus_client": "prometheus-client",
        "python_multipart": "python-multipart", "pytorch_grad_cam": "grad-cam",
    }  # fmt: skip
    declared = re.findall(r'^    "([A-Za-z0-9_-]+)', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    found: set[str] = set()
    for path in [*CORE, *PLUGINS]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    foreign = {m for m in found if m not in sys.stdlib_module_names and not m.startswith("dfbench")}
    assert {named_otherwise.get(m, m) for m in foreign} <= set(declared)

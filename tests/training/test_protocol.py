"""What strategies may use of a training: one list, in the code, in the docs and in what the strategies use."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from avalanche.training.templates import SupervisedTemplate

from dfbench import Loop, Training
from tests.training.harness import PlainConfig, PlainDetector, Problem, strategy_of, train

ROOT = Path(__file__).parent.parent.parent
PLUGINS = sorted((ROOT / "plugins/dfbench_avalanche").glob("*.py"))
MEMBERS = {name for name in (*vars(Training), *Training.__annotations__) if not name.startswith("_")}


def test_the_docs_have_a_row_for_each_member() -> None:
    text = (ROOT / "docs/strategies.md").read_text(encoding="utf-8")
    section = text.partition("### What callbacks receive")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)", section, re.MULTILINE)
    assert sorted(rows) == sorted(MEMBERS)


def test_every_member_has_a_docstring_with_its_own_line() -> None:
    described = set(re.findall(r"^ {8}(\w+): ", Training.__doc__ or "", re.MULTILINE))
    for name in MEMBERS:
        assert name in described or vars(Training)[name].__doc__, name


def test_the_template_has_each_member_while_it_trains() -> None:
    class Looking(PlainDetector):
        missing: set[str] | None = None

        def train(self, loop: Loop) -> None:
            type(self).missing = {name for name in MEMBERS if not hasattr(loop._host, name)}
            super().train(loop)

    from dfbench import Task

    train(Problem.make(size=32), strategy_of("naive"), Looking(PlainConfig(), Task()))
    assert Looking.missing == set()


def test_avalanches_template_has_what_its_stub_says() -> None:
    """The stub is what makes mypy compare the template with the protocol."""
    stub = ast.parse((ROOT / "dfbench/training/avalanche_types.pyi").read_text(encoding="utf-8"))
    (kind,) = (node for node in stub.body if isinstance(node, ast.ClassDef))
    template = train(Problem.make(size=32), strategy_of("naive")).template
    for node in kind.body:
        if isinstance(node, ast.FunctionDef):
            assert callable(getattr(SupervisedTemplate, node.name)), node.name
        elif isinstance(node, ast.AnnAssign):
            assert hasattr(template, ast.unparse(node.target)), ast.unparse(node.target)


def used(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Attributes of parameters annotated ``Training``, and of those of lambdas that are called ``training``."""
    for node in ast.walk(tree):
        if not isinstance(node, (ast.FunctionDef, ast.Lambda)):
            continue
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        names = {
            a.arg
            for a in arguments
            if (a.annotation is not None and "Training" in ast.unparse(a.annotation))
            or (isinstance(node, ast.Lambda) and a.arg == "training")
        }
        for inner in ast.walk(node):
            if isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name) and inner.value.id in names:
                yield inner.attr, inner.lineno


@pytest.mark.parametrize("path", PLUGINS, ids=lambda p: p.name)
def test_first_party_strategies_use_the_protocol_alone(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert {(name, line) for name, line in used(tree) if name not in MEMBERS} == set()
    for node in ast.walk(tree):  # callbacks: Avalanche passes the training as the first argument
        if isinstance(node, ast.FunctionDef) and re.match(r"(before|after)_(train|forward|backward|update)", node.name):
            first = node.args.args[1]
            assert first.annotation is not None, f"{path.name}:{node.lineno}"
            assert ast.unparse(first.annotation) == "Training", f"{path.name}:{node.lineno}"


def test_the_check_sees_what_strategies_use() -> None:
    found = {name for path in PLUGINS for name, _ in used(ast.parse(path.read_text(encoding="utf-8")))}
    assert found > {"model", "loss", "reference_loss", "mix_in", "units"}

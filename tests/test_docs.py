"""The documentation says what the program does. ``make docs`` writes its generated parts."""

from __future__ import annotations

import inspect
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from cogapp import Cog

from dfbench import errors, hookspecs
from dfbench.cli import cli
from dfbench.plugins import load_plugins
from dfbench.runs.prepare import Request
from dfbench.runs.runner import run
from perf.results import report
from tests.cli.harness import install, plugins_of
from tests.training.harness import ALL
from tools import constraints, drift
from tools import performance as tools_performance
from tools.docs import commands
from tools.tables import leaderboard

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def text_of(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


# --- Generated parts ---------------------------------------------------------------------------------


def words(text: str) -> list[str]:
    """Without line breaks, which click's versions place differently."""
    return text.split()


@pytest.mark.parametrize("page", [*sorted(DOCS.glob("*.md")), ROOT / "README.md"], ids=lambda p: p.name)
def test_generated_parts_are_what_the_program_and_the_records_give(page: Path) -> None:
    written = page.read_text(encoding="utf-8")
    assert words(written) == words(Cog().process_string(written, str(page))), "run: make docs"


def test_constraints_are_the_versions_of_the_records() -> None:
    written = {path.name: path.read_text(encoding="utf-8") for path in constraints.FOLDER.glob("*.txt")}
    assert written == constraints.constraints(), "run: make docs"
    newest = max(leaderboard(), key=lambda record: record.created).environment.packages
    lines = written[f"torch-{newest['torch']}.txt"].splitlines()
    assert {f"{name}=={newest[name]}" for name in ("torch", "numpy", "avalanche-lib", "timm")} <= set(lines)
    assert "://" not in "".join(written.values())  # where packages come from is the reader's choice


def test_the_figure_of_thresholds_shows_the_records() -> None:
    """Its labels and points, which any version of Matplotlib sets to a hundredth: ``python -m tools.drift``."""

    def shown(svg: str) -> tuple[list[str], list[float]]:
        points = re.findall(r'<use xlink:href="[^"]*" x="([-.\d]+)" y="([-.\d]+)"', svg)
        return re.findall(r"<text [^>]*>([^<]*)</text>", svg), [float(each) for point in points for each in point]

    drawn = drift.svg("simple_cnn", "forge5").decode()
    labels, points = shown((ROOT / "docs" / "img" / "forge5-drift.svg").read_text())
    expected_labels, expected_points = shown(drawn)
    assert labels == expected_labels
    assert len(points) > 40
    assert points == pytest.approx(expected_points, abs=0.01)


def test_figures_of_speed_come_with_their_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools_performance, "FOLDER", tmp_path)
    assert "×" not in tools_performance.performance()
    monkeypatch.setattr(sys, "argv", ["perf/loader.py", "--rounds", "3", "--json", "x.json"])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    report({"name": "loader", "ratios": {"vs_pil_dataloader": 40.625}}, tmp_path / "loader.json", began=0.75)
    (line,) = (line for line in tools_performance.performance().splitlines() if "40.62 ×" in line)
    assert "| `OMP_NUM_THREADS=1 python -m perf.loader --rounds 3` |" in line
    for part in (f"torch {torch.__version__.partition('+')[0]}", "1 thread,", "load 0.75 before"):
        assert part in line


def test_every_command_is_in_the_docs() -> None:
    assert sorted(re.findall(r'help_text\("(.*?)"\)', text_of("cli.md"))) == sorted(commands())


# --- docs/cli.md -------------------------------------------------------------------------------------


def test_every_decision_is_in_the_list_at_the_top_in_order() -> None:
    text = (DOCS / "decisions.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (\d+\. .+)$", text, re.MULTILINE)
    assert re.findall(r"^- \[(\d+\. .+)\]\(#", text, re.MULTILINE) == headings
    assert [int(heading.split(".")[0]) for heading in headings] == sorted(int(h.split(".")[0]) for h in headings)


def test_every_exit_code_is_in_the_docs() -> None:
    rows = dict(re.findall(r"^\| (\d+) \|.*\| `(\w+)` \|$", text_of("cli.md"), re.MULTILINE))
    kinds = [e for e in vars(errors).values() if inspect.isclass(e) and issubclass(e, errors.DfbenchError)]
    assert rows == {str(kind.exit_code): kind.__name__ for kind in kinds}
    for code in (0, *rows, 130):
        assert f" {code} " in f" {cli.epilog}"


def test_every_environment_variable_is_in_the_docs() -> None:
    sources = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "dfbench").rglob("*.py"))
    used = set(re.findall(r"\bDFBENCH_[A-Z_]+[A-Z]\b", sources))
    assert "DFBENCH_CACHE" in used
    assert {name for name in used if name not in text_of("cli.md")} == set()


# --- docs/plugins.md ---------------------------------------------------------------------------------


def test_every_hook_is_in_the_docs_with_its_exact_signature() -> None:
    hooks = {name: f for name, f in vars(hookspecs).items() if name.startswith("register_")}
    written = text_of("plugins.md")
    assert re.findall(r"^### `(\w+)", written, re.MULTILINE) == list(hooks)
    for name, hook in hooks.items():
        signature = str(inspect.signature(hook)).replace("'", "")
        assert f"### `{name}{signature}`\n" in written
        entry = re.search(r"\[(\w+)\]", signature)
        assert entry is not None
        assert f"`{constructor(getattr(hookspecs, entry[1]))}`" in written


def constructor(entry: type) -> str:
    """``Entry(name, target, summary="")``, as the docs write it."""
    parts = [
        p.name if p.default is p.empty else f"{p.name}={p.default!r}".replace("'", '"')
        for p in inspect.signature(entry).parameters.values()
    ]
    return f"{entry.__name__}({', '.join(parts)})"


# --- docs/strategies.md ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*ALL, "none", "sprompts", "o_lora"])
def test_every_strategy_is_in_the_docs_with_its_options_and_paper(name: str) -> None:
    registry = load_plugins()
    what, needs = (line for line in text_of("strategies.md").splitlines() if line.startswith(f"| `{name}` |"))
    assert len(what.split("|")) == 6
    entry, kind = registry.strategies[name], registry.strategies.load(name)
    assert entry.paper in needs
    options = dict(re.findall(r"`(\w+)` \(([^)]*)\)", needs))
    assert set(options) == set(kind.Config.model_fields)
    for key, field in kind.Config.model_fields.items():
        if field.default is not None:
            assert options[key] == str(field.default)
    assert ("visible steps" in needs) == bool(kind.needs)


# --- docs/detectors.md -------------------------------------------------------------------------------


def public(kind: type) -> set[str]:
    return {name for each in kind.__mro__[:-1] for name in vars(each) if not name.startswith("_")}


def test_everything_a_detector_may_use_is_in_the_docs() -> None:
    from dfbench import Batch, Detector, Loop, Task

    written = text_of("detectors.md")
    behind = {"attached", "finish", "enforce_modes"}
    assert {n for n in public(Loop) - behind if f"`loop.{n}" not in written} == set()
    assert {n for n in public(Detector) if f"`{n}" not in written} == set()
    fields = {*Task.__dataclass_fields__, "num_classes", *Batch.__dataclass_fields__}
    assert {n for n in fields if f"`{n}`" not in written} == set()


def blocks(page: str, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(text_of(page)) if kind == language]


def files(page: str) -> dict[str, str]:
    """The files that a page shows: blocks that begin with ``# path``, continued ones joined."""
    found: dict[str, str] = {}
    for block in blocks(page, "python"):
        if first := re.match(r"# (\S+\.py)( \(continued\))?\n", block):
            assert bool(first[2]) == (first[1] in found), first[0]
            found[first[1]] = found.get(first[1], "") + "\n\n" + block
    return found


@pytest.mark.parametrize("page", sorted(p.name for p in DOCS.glob("*.md")))
def test_python_in_the_docs_is_python(page: str) -> None:
    for block in blocks(page, "python"):
        compile(block, page, "exec")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All plugins of the pages, installed."""
    folder = tmp_path_factory.mktemp("shown")
    detectors = files("detectors.md")
    assert list(detectors) == ["dfbench_tiny.py", "dfbench_loops.py", "dfbench_probe.py"]
    project: dict[str, Any] = tomllib.loads(blocks("detectors.md", "toml")[0])["project"]
    ((entry, target),) = project["entry-points"]["dfbench"].items()
    install(folder, project["name"].replace("-", "_"), detectors, target=target, entry=entry)
    install(folder, "dfbench_loops", {})
    install(folder, "dfbench_probe", {})
    install(folder, "dfbench_anchor", files("strategies.md"))
    return folder


@pytest.mark.parametrize(
    ("detector", "strategy", "settings"),
    [
        ("tiny", "replay", ["epochs=1"]),
        ("careful", "naive", ["epochs=1"]),
        ("careful", "gem", ["optimizer=sgd", "epochs=3"]),
        ("warmed", "agem", []),
        ("moving", "lwf", ["length=1", "epochs=1"]),
        ("lifted", "cwr_star", ["epochs=1"]),
        ("taught", "replay", []),
        ("probe", "gem", ["epochs=1"]),
        ("foreign", "replay", []),
        ("tiny", "anchor", ["epochs=1", "batch_size=8"]),
    ],
)
def test_the_plugins_in_the_docs_work(
    detector: str,
    strategy: str,
    settings: list[str],
    shown: Path,
    tiny_stream: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with plugins_of(shown, monkeypatch):
        registry = load_plugins()
        assert {p.name: p.reason for p in registry.plugins if p.status != "loaded"} == {}
        kind = registry.detectors.load(detector)
        assert registry.detectors[detector].presets == tuple(kind.presets)
        preset = list(kind.presets)[-1]
        request = Request(
            detector, strategy, str(tiny_stream), preset=preset, settings=settings, device="cpu", out=tmp_path
        )
        record = run(request, registry)
    assert record.metrics["average_auc"] is not None
    assert all(record.steps) != kind.opaque
    assert record.effects or strategy == "naive"


# --- All pages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [*sorted(DOCS.glob("*.md")), ROOT / "CONTRIBUTING.md"], ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)#\s]+)", prose):
        if "://" not in link:
            assert (page.parent / link).exists(), link


def test_errors_in_the_questions_are_those_of_the_program() -> None:
    sources = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "dfbench").rglob("*.py"))
    sources = re.sub(r'"\s*\n\s*f?"', "", sources)  # a message over several lines
    rows = re.findall(r"^\| `(.+?)` \| (\d) \|", text_of("faq.md"), re.MULTILINE)
    assert len(rows) >= 8
    for message, _ in rows:
        for part in message.split(" … "):
            assert part.removeprefix("unknown strategy") in sources, part

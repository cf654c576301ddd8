"""Code in the docs: each Python block is run by a test, or marked ``<!-- not run: REASON -->``; each command parses."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from PIL import Image

from dfbench.cli import cli
from dfbench.plugins import load_plugins
from dfbench.runs.prepare import Request
from dfbench.runs.runner import run
from dfbench.testing import write_stream
from tests.cli.harness import install, plugins_of
from tests.test_docs import DOCS, ROOT

PAGES = [*sorted(DOCS.glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
PYTHON = re.compile(r"(?P<mark><!-- not run: [^\n]+ -->\n)?^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = ("detectors.md", "strategies.md", "tutorial-script.md", "tutorial-deepfakebench.md", "logging.md")
"""Pages whose blocks that begin with ``# path`` are files, which other tests install and run."""


def blocks() -> Iterator[tuple[str, str]]:
    """(page, code) of each Python block that is neither a file nor marked."""
    for page in PAGES:
        for found in PYTHON.finditer(page.read_text(encoding="utf-8")):
            a_file = page.name in FILES and re.match(r"# \S+\.py\b", found["code"])
            if not a_file and not found["mark"]:
                yield page.name, found["code"]


def test_no_block_is_left_that_nobody_runs() -> None:
    run_here = {"data.md": 1, "zoo.md": 1, "detectors.md": 3, "concepts.md": 1}
    found = [page for page, _ in blocks()]
    assert {page: found.count(page) for page in found} == run_here


def only(page: str) -> list[str]:
    return [code for name, code in blocks() if name == page]


def test_a_stream_is_read_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = write_stream(tmp_path / "made", experiences=1, pairs=40, tests=2, size=32)
    text = "name: my-stream\nexperiences:\n  - {name: a, source: folder, root: data}\n"
    (tmp_path / "my-stream.yaml").write_text(text)
    for n, picture in enumerate(sorted(written.parent.rglob("*.png"))[:80]):
        split = ("train", "train", "train", "test")[n // 2 % 4]
        place = tmp_path / "data" / split / ("real", "fake")[n % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.open(picture).resize((224, 224)).save(place / f"{n}.png")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    (code,) = only("data.md")
    exec(compile(code, "data.md", "exec"), names)
    assert names["batch"].shape[1:] == (224, 224, 3)
    assert len(names["batch"]) > 30


def test_a_checkpoint_of_the_zoo_predicts_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    face = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(face).save(tmp_path / "face.png")
    monkeypatch.chdir(tmp_path)
    (code,) = only("zoo.md")
    exec(compile(code, "zoo.md", "exec"), {})
    assert 0 <= float(capsys.readouterr().out.split()[-1]) <= 1


LOOPS = """
import torch
from torch import nn

from dfbench import Detector, DetectorEntry, hookimpl

{shown}


@hookimpl
def register_detectors():
    names = {{"sam": "Sam", "critic": "Critic", "best": "Best", "inside_out": "Plain"}}
    return [DetectorEntry(name, f"dfbench_shown:{{kind}}", "of the docs") for name, kind in names.items()]


class Net:
    def build(self):
        return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, self.task.num_classes))


class Sam(Net, Detector):
    def train(self, loop):
        train_with_sam(self, loop, torch.optim.LBFGS(loop.model.parameters(), lr=0.1, max_iter=2))


class Critic(Net, Detector):
    def critic_loss(self, model, batch):
        return -self.loss(model, batch)

    def train(self, loop):
        critic, own = (torch.optim.SGD(loop.model.parameters(), lr=rate) for rate in (1e-4, 0.1))
        for _ in loop.epochs(1):
            train_with_critic(self, loop, critic, own)


class Best(Net, Detector):
    def train(self, loop):
        train_to_the_best_epoch(self, loop, patience=1)


class Plain(Net, Mine):
    pass
"""


@pytest.mark.parametrize("detector", ["sam", "critic", "best", "inside_out"])
def test_the_loops_that_are_shown_train(
    detector: str, tiny_stream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = "\n\n".join([*only("detectors.md"), *only("concepts.md")])
    folder = install(tmp_path / "plugin", "dfbench_shown", {"dfbench_shown.py": LOOPS.format(shown=shown)})
    with plugins_of(folder, monkeypatch):
        request = Request(detector, "naive", str(tiny_stream), settings=["epochs=1"], device="cpu", out=tmp_path)
        record = run(request, load_plugins())
    assert all(record.steps)
    assert record.metrics["average_auc"] is not None


# --- Commands --------------------------------------------------------------------------------------------


def commands(page: Path) -> Iterator[str]:
    """Each ``dfbench …`` line of a block, with its continuation, without comments, pipes and variables before it."""
    text = page.read_text(encoding="utf-8")
    fenced = re.findall(r"^```(?:sh|bash|console|text)?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(r"(?:^ {4}\S.*\n(?:^ {4,}.*\n)*)", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.M)
    for block in [*fenced, *indented]:
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            found = re.fullmatch(r"\s*(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?dfbench( .*)?", line)
            if found and not re.search(r"…|\[|COMMAND| \.\.\.|OPTIONS", found[1] or ""):
                yield (found[1] or "").strip()


def parsed(line: str) -> None:
    """Take a line through every group to its command, which reads its options and runs nothing."""
    words = shlex.split(re.split(r"\s\|\s|\s&&\s|\s>\s|;", line)[0], comments=True)
    context, command = cli.make_context("dfbench", words, resilient_parsing=False), cli
    while isinstance(command, click.Group) and (rest := [*context._protected_args, *context.args]):
        name, below, rest = command.resolve_command(context, rest)
        assert below is not None
        context, command = below.make_context(name, rest, parent=context), below


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_is_shown_has_these_options(page: Path) -> None:
    for line in commands(page):
        try:
            parsed(line)
        except click.exceptions.Exit:
            pass  # --help and --version
        except click.UsageError as error:
            if isinstance(error, click.BadParameter) and re.search(r"'[A-Z]+' is not a valid", error.format_message()):
                continue  # a word in capitals stands for a value
            pytest.fail(f"{page.name}: dfbench {line}: {error.format_message()}")


def test_the_commands_are_found() -> None:
    counts = {page.name: len(list(commands(page))) for page in PAGES}
    assert counts["README.md"] >= 10
    assert counts["quickstart.md"] >= 7
    assert counts["serve.md"] >= 3
    with pytest.raises(click.UsageError, match="No such option"):
        parsed("eval -d x -s y --no-such-option")

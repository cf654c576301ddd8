"""Generalisation and robustness on the page: columns, files, and the tables of a row."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfbench.benchmarks.parts import Perturb
from dfbench.publish.board.build import pages, write
from dfbench.publish.board.table import make_board
from dfbench.records.record import Record
from tests.publish.board.conftest import chromium  # noqa: F401  (a fixture)
from tests.publish.board.seen import HOSTILE, Seen
from tests.publish.board.test_page_views import heads, saved
from tests.publish.board_runs import NAMES, make_run

UNSEEN = ("token", HOSTILE)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two seeds of two methods with further tests, one row with one set, and one without any."""
    folder = tmp_path_factory.mktemp("runs")
    perturb = Perturb(kinds=["noise", "h264"], levels=[1, 3, 5])
    both = [(name, seed, decay) for name, decay in (("replay", 0.9), ("naive", 0.5)) for seed in (0, 1)]
    return [
        *(make_run(folder, name, seed, decay=decay, unseen=UNSEEN, perturb=perturb) for name, seed, decay in both),
        make_run(folder, "gem", unseen=UNSEEN[:1]),
        make_run(folder, "ewc", decay=0.7),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def built(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("board")
    write(pages(make_board([Record.read(run) for run in runs])), folder)
    return folder


@pytest.fixture(params=[1280, 360])
def wide(request: pytest.FixtureRequest, chromium: Any, built: Path) -> Iterator[Seen]:  # noqa: F811
    opened = Seen(chromium, built, viewport={"width": request.param, "height": 900})
    yield opened
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= request.param
    assert opened.wrong == []
    assert opened.page.evaluate("window.owned") is None
    opened.context.close()


@pytest.fixture
def seen(chromium: Any, built: Path) -> Iterator[Seen]:  # noqa: F811
    opened = Seen(chromium, built)
    yield opened
    assert opened.wrong == []
    assert opened.page.evaluate("window.owned") is None
    opened.context.close()


def shown(text: str) -> float:
    return float(text.split()[0].replace("−", "-"))


def test_generalisation_is_shown_and_robustness_can_be_chosen(seen: Seen, runs: list[Path]) -> None:
    assert "generalisation" in heads(seen)
    assert "robustness" not in heads(seen)
    assert seen.page.locator("#panel-1 table").evaluate("t => t.scrollWidth <= t.parentElement.clientWidth")
    cell = seen.row("replay").locator('[data-c="generalisation"]')
    found = [Record.read(run) for run in runs[:2]]
    mean = sum(record.metrics["generalisation"] or 0 for record in found) / 2
    assert shown(cell.inner_text()) == pytest.approx(mean, abs=6e-4)
    assert f"untrained → {mean:.3f}" in cell.get_attribute("title")
    assert seen.row("gem").locator('[data-c="generalisation"]').inner_text().endswith("1 of 2 sets")
    assert seen.row("ewc").locator('[data-c="generalisation"]').inner_text() == "–"
    seen.page.locator("#panel-1 .picker summary").click()
    seen.page.locator('#panel-1 [data-pick="robustness"]').check()
    assert heads(seen)[-1] == "robustness"


def test_rows_are_sorted_and_saved_by_further_tests(seen: Seen, runs: list[Path]) -> None:
    seen.page.goto(f"{seen.url}#tab=three&sort=robustness&columns=rank,generalisation,robustness")
    assert seen.strategies == ["replay", "naive", "gem", "ewc"] or seen.strategies[2:] == ["ewc", "gem"]
    head = seen.page.locator('#panel-1 th[data-column="generalisation"]')
    head.locator("button").click()
    values = seen.page.locator('#panel-1 tbody.ranked [data-c="generalisation"]').evaluate_all(
        "c => c.map(e => e.dataset.v)"
    )
    assert values[-1] == ""
    assert [float(v) for v in values[:-1]] == sorted(map(float, values[:-1]), reverse=True)
    rows = {row["strategy"]: row for row in csv.DictReader(io.StringIO(saved(seen, "csv")))}
    naive = [Record.read(run) for run in runs[2:4]]
    clean = sum(r.robustness.clean["auc"] for r in naive) / 2  # type: ignore[union-attr, misc, operator]
    assert float(rows["naive"]["robustness_undegraded"]) == pytest.approx(clean, abs=1e-4)
    assert float(rows["naive"]["generalisation"]) > float(rows["naive"]["generalisation_untrained"])
    assert rows["ewc"]["generalisation"] == rows["gem"]["robustness"] == ""
    (ewc,) = [row for row in json.loads(saved(seen, "json")) if row["strategy"] == "ewc"]
    assert ewc["generalisation"] is None


def test_a_row_shows_unseen_sets_after_each_training_and_copies_by_level(wide: Seen, runs: list[Path]) -> None:
    wide.open("replay")
    record = Record.read(runs[1])
    cards = {name: wide.page.locator(".card", has=wide.page.get_by_role("heading", name=name, exact=True))
             for name in ("Generalisation", "Robustness")}  # fmt: skip
    for card in cards.values():
        card.get_by_label("seed 1").check(force=True)
    assert record.generalisation is not None
    assert record.robustness is not None
    heat = cards["Generalisation"].locator("table.heat")
    assert heat.locator("tbody th").all_inner_texts() == ["(untrained)", *NAMES]
    assert heat.locator("thead th").all_inner_texts()[1:] == list(UNSEEN)
    lines = [record.generalisation.untrained["auc"], *record.generalisation.matrix["auc"]]
    assert heat.locator("td").all_inner_texts() == [f"{value:.3f}" for line in lines for value in line]
    heat = cards["Robustness"].locator("table.heat")
    assert heat.locator("thead th").all_inner_texts()[1:] == ["none", "1", "3", "5"]
    kinds = record.robustness.by_kind["auc"]
    expected = [f"{v:.3f}" for row in kinds.values() for v in (record.robustness.clean["auc"], *row.values())]
    assert heat.locator("td").all_inner_texts() == expected


def test_a_row_and_a_table_without_further_tests_do_not_speak_of_them(wide: Seen, runs: list[Path]) -> None:
    wide.open("ewc")
    assert wide.page.get_by_role("heading", name="Generalisation").count() == 0
    assert "unseen" not in wide.page.locator("#detail").inner_text()
    plain = pages(make_board([Record.read(runs[-1])]))
    assert b'data-column="generalisation"' not in plain["index.html"]
    assert b"generalisation" not in plain["README.md"]


def test_readme_has_both_columns(built: Path) -> None:
    head = next(line for line in (built / "README.md").read_text().splitlines() if line.startswith("|  | detector"))
    assert "| generalisation | robustness |" in head

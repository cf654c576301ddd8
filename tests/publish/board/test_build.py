"""A board is built again without doing again what did not change, and of many rows a page loads a few."""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbench.publish.board import build as build_module
from dfbench.publish.board import cache as cache_module
from dfbench.publish.board.build import built, differing, pages, write
from dfbench.publish.board.cells import cells
from dfbench.publish.board.listed import TICKS, ticks
from dfbench.publish.board.table import make_board, read_board
from dfbench.records import text
from dfbench.records.record import Record
from tests.conftest import ROOT
from tests.publish.board.seen import Seen
from tests.publish.board_runs import make_run, make_runs


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two tables: of three rows, and of one; and a cache of its own."""
    monkeypatch.setenv("DFBENCH_CACHE", str(tmp_path / "cache"))
    runs = make_runs(tmp_path / "runs", seeds=1)[:3]
    for run in [*runs, make_run(tmp_path / "runs", benchmark="other", fingerprint="e" * 64, names=("a", "b"))]:
        put(run, tmp_path / "lb")
    return tmp_path / "lb"


def put(run: Path, folder: Path) -> Path:
    """A run's record on a board."""
    (folder / "results").mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(run / "record.json", folder / "results" / f"{run.name}.json"))


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tables that are computed from records, by their benchmarks."""
    found: list[str] = []
    whole = build_module.panel

    def watched(table: Any) -> Any:
        found.append(table.benchmark)
        return whole(table)

    monkeypatch.setattr(build_module, "panel", watched)
    return found


def test_only_the_tables_of_new_records_are_computed(folder: Path, tmp_path: Path, computed: list[str]) -> None:
    first = built(folder)
    assert sorted(computed) == ["other", "three"]
    computed.clear()
    assert built(folder) == first
    assert computed == []
    assert pages(read_board(folder)) == first
    computed.clear()
    record = put(make_run(tmp_path / "more", "lwf"), folder)
    second = built(folder)
    assert computed == ["three"]
    record.unlink()
    assert built(folder) == first != second


def test_a_changed_program_or_a_damaged_cache_is_no_cache(
    folder: Path, tmp_path: Path, computed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = built(folder)
    (file,) = (tmp_path / "cache" / "board").glob("*.json")
    for damage in (lambda: file.write_text(file.read_text()[:-9]), lambda: file.write_text("[]")):
        damage()
        computed.clear()
        assert built(folder) == first
        assert sorted(computed) == ["other", "three"]
    monkeypatch.setattr(cache_module, "program", lambda: "another")
    computed.clear()
    assert built(folder) == first
    assert sorted(computed) == ["other", "three"]


def test_parts_of_rows_that_are_gone_are_deleted(folder: Path) -> None:
    write(built(folder), folder)
    assert differing(built(folder), folder) == []
    for record in (folder / "results").glob("*-other-*"):
        record.unlink()
    stale = [path for path in (folder / "data").rglob("*.js") if "other" in path.parts[-2]]
    assert set(differing(built(folder), folder)) >= {p.relative_to(folder).as_posix() for p in stale}
    write(built(folder), folder)
    assert differing(built(folder), folder) == []
    assert not any(path.parent.exists() for path in stale)


@given(st.floats(-1, 1))
def test_a_figure_is_sent_so_that_it_is_written_as_everywhere_else(value: float) -> None:
    sent = ticks(value)
    assert sent is not None
    assert text.number(sent / TICKS) == text.number(value)
    assert abs(sent / TICKS - value) <= 1.01 / TICKS


def test_the_page_writes_what_readme_writes(chromium: Any) -> None:
    opened = Seen(chromium, ROOT / "leaderboard")
    (table, *_) = read_board(ROOT / "leaderboard").tables
    opened.page.evaluate("document.querySelectorAll('#panel-1 [data-pick]').forEach(box => box.checked || box.click())")
    wanted = {"average": lambda c: [c.average, c.spread], "forgetting": lambda c: [*c.forgetting],
              "af": lambda c: [*c.af], "learning_accuracy": lambda c: [*c.learning], "limits": lambda c: [c.interval],
              "compute": lambda c: [c.compute], "steps": lambda c: [c.steps],
              "seconds": lambda c: [c.time]}  # fmt: skip
    for row in table.rows:
        line, words = opened.page.locator(f'#panel-1 tr[data-id="{row.id}"]'), cells(table, row)
        for column, of in wanted.items():
            found = line.locator(f'[data-c="{column}"]').text_content()
            assert found == " ± ".join(filter(None, of(words))), (row.id, column)
    assert opened.wrong == []
    opened.context.close()


# --- Many rows -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real record under 250 names of its strategy."""
    folder = tmp_path_factory.mktemp("many")
    one = Record.read(make_run(folder, "naive", videos=4))
    records = []
    for n in range(250):
        spec = one.spec.model_copy(update={"strategy": f"method{n}"})
        metrics = {**one.metrics, "average": 0.9 - n / 1000}
        update = {"spec": spec, "identity": spec.identity, "run": spec.run_id, "metrics": metrics}
        records.append(one.model_copy(update=update))
    write(pages(make_board(records)), folder / "lb")
    return folder / "lb"


@pytest.fixture
def served(many: Path) -> Iterator[str]:
    """The folder over HTTP."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(many)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/index.html"
    server.shutdown()


def test_of_many_rows_the_first_are_drawn_and_all_are_sorted_found_and_saved(chromium: Any, many: Path) -> None:
    opened = Seen(chromium, many)
    page, rows = opened.page, opened.page.locator("#panel-1 tbody.ranked tr")
    assert rows.count() == 100
    assert page.locator("#panel-1 > [role=status]").inner_text().startswith("250 of 250 rows")
    page.locator('#panel-1 th[data-column="average"] button').click()
    assert opened.strategies[0] == "method249"
    with page.expect_download() as waiting:
        page.locator("#panel-1 [data-save=csv]").click()
    assert len(Path(waiting.value.path()).read_text().splitlines()) == 251
    page.get_by_label("Find", exact=True).fill("method17")
    assert sorted(opened.strategies) == sorted(f"method17{n}" for n in ("", *range(10)))
    page.get_by_role("button", name="Clear filters").click()
    page.get_by_role("button", name="Show 150 more rows").click()
    assert rows.count() == 250
    assert not page.locator("#panel-1 [data-more]").is_visible()
    assert opened.wrong == []
    opened.context.close()


def test_a_row_is_loaded_when_it_is_opened_from_a_server_too(chromium: Any, many: Path, served: str) -> None:
    opened = Seen(chromium, many)
    link = opened.page.locator("#panel-1 tbody.ranked th a").nth(2)
    part = f"/{link.get_attribute('href').removeprefix('#row=')[:2]}.js"
    loaded: list[str] = []
    opened.page.on("request", lambda request: loaded.append(request.url))
    opened.page.goto(served)
    opened.page.locator("#panel-1 tbody.ranked tr").first.wait_for()
    assert [url.rpartition("/")[2] for url in loaded] == ["index.html", "rows.js"]
    opened.page.locator("#panel-1 tbody.ranked th a").nth(2).click()
    assert opened.page.locator("#detail h2").inner_text() == "method2 with simple_cnn"
    assert [url.endswith(part) for url in loaded] == [False, False, True]
    assert opened.wrong == []
    opened.context.close()


def test_a_page_without_its_folder_says_so(chromium: Any, many: Path, tmp_path: Path) -> None:
    shutil.copy(many / "index.html", tmp_path)
    page = chromium.new_page()
    page.goto((tmp_path / "index.html").as_uri())
    page.get_by_text("the folder data belongs next to this page").wait_for()
    page.close()

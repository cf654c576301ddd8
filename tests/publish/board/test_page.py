"""index.html in a real browser: sort, filter, open a row, by keyboard, on a phone, in the dark, from file://."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from dfbench.publish.board.build import pages
from dfbench.publish.board.parts import embedded
from dfbench.publish.board.table import Board, make_board, read_board
from dfbench.records.record import Record
from dfbench.records.verdict import QUESTIONS
from tests.publish.board.seen import HOSTILE, Seen
from tests.publish.board_runs import make_run, read_record


def test_a_board_of_bounds_alone_has_a_page(tmp_path: Path) -> None:
    """Nothing is compared there, so there is no best row to draw a line at."""
    bound = make_run(tmp_path, "joint", whole=True, stored=0)
    board = make_board([Record.read(bound)])
    assert board.tables[0].rows[0].mark is None
    assert b"joint" in pages(board)["index.html"]


def test_rows_are_sorted_by_any_column(seen: Seen) -> None:
    averages = seen.page.locator("#panel-1 tbody.ranked tr:visible td.main b").all_inner_texts()
    assert averages == sorted(averages, reverse=True)
    header = seen.page.locator('#panel-1 th[data-column="forgetting"]')
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    assert seen.page.locator('#panel-1 th[data-column="average"]').get_attribute("aria-sort") == "none"
    of = "cells => cells.map(c => c.dataset.v)"
    cells = seen.page.locator('#panel-1 tbody.ranked [data-c="forgetting"]').evaluate_all(of)
    assert len(cells) == 6
    assert [float(v) for v in cells] == sorted(map(float, cells))
    assert seen.strategies[0] == "joint"  # bounds stay apart, above the ranked rows
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    assert seen.strategies[0] == "joint"
    status = seen.page.locator("#panel-1 > [role=status]")
    assert status.inner_text().startswith("7 of 7 rows, sorted by Forgetting, descending")
    seen.page.get_by_text("Columns").locator("visible=true").click()
    seen.page.get_by_label("Passes").locator("visible=true").check()
    seen.page.locator('#panel-1 th[data-column="passes"] button').click()
    cells = seen.page.locator('#panel-1 tbody.ranked [data-c="passes"]').evaluate_all(of)
    assert cells[0] == "21600"
    assert set(cells[1:]) == {""}  # what was not counted comes last, whichever way
    seen.page.locator('#panel-1 th[data-column="passes"] button').click()
    assert seen.page.locator('#panel-1 tbody.ranked [data-c="passes"]').evaluate_all(of)[0] == "21600"


def test_rows_are_filtered(seen: Seen) -> None:
    panel = seen.page.locator("#panel-1")
    panel.locator("select[data-filter=detector]").select_option("xception")
    assert seen.strategies == ["replay"]
    assert panel.locator("> [role=status]").inner_text().startswith("1 of 7 rows")
    panel.get_by_role("button", name="Clear filters").click()
    assert len(seen.strategies) == 7
    panel.locator("select[data-filter=strategy]").select_option("ewc")
    assert seen.strategies == ["ewc"]
    panel.locator("select[data-filter=strategy]").select_option("all strategies")
    panel.get_by_label("bounds").uncheck()
    assert "joint" not in seen.strategies
    panel.get_by_label("Find", exact=True).fill("lite repl")
    assert seen.strategies == ["replay"]
    panel.get_by_label("Find", exact=True).fill("nothing like this")
    assert panel.get_by_text("No row matches these filters.").is_visible()


def test_marks_bounds_and_notes_are_on_the_rows(seen: Seen) -> None:
    assert "bound" in seen.row("joint").locator("td.rank").inner_text()
    ranks = seen.page.locator("#panel-1 tbody.ranked td.rank").all_inner_texts()
    assert [int(re.findall(r"\d+", rank)[0]) for rank in ranks] == [1, 2, 3, 4, 5, 6]
    assert "≈" not in seen.row("naive").inner_text()
    marks = seen.page.locator("#panel-1 .mark").all_inner_texts()
    assert sorted(marks)[-1] == "★"
    assert "≈" in marks
    assert seen.row("replay", "xception").locator(".tag.warn").get_attribute("title") == "a note on leaks"
    assert "best continual row" in seen.page.locator("#panel-1 tr.best .sr").first.inner_text()
    tied = seen.page.locator("#panel-1 tr.tied").count()
    finding = seen.page.locator("#panel-1 .finding").inner_text()
    assert finding == f"{tied} of the other 4 continual rows cannot be distinguished from the best with these seeds."
    above = "e => e.compareDocumentPosition(document.querySelector('#panel-1 table')) === 4"
    assert seen.page.locator("#panel-1 .legend").evaluate(above)


def test_a_row_has_a_page_of_its_own(seen: Seen, board: Path) -> None:
    seen.open("replay")
    detail = seen.page.locator("#detail")
    assert detail.get_by_role("heading", level=2).inner_text() == "replay with simple_cnn"
    assert not seen.page.locator("#board").is_visible()
    assert seen.page.evaluate("document.activeElement.tagName") == "H2"
    records = [read_json(p) for p in sorted((board / "results").glob("simple_cnn-default-replay-three-*"))]
    cells = detail.locator("table.heat td").all_inner_texts()
    mean = sum(r["matrix"]["auc"][0][0] for r in records) / 3
    assert float(cells[0]) == pytest.approx(mean, abs=0.0006)
    detail.locator("section", has_text="R matrix").first.get_by_label("seed 1").check(force=True)
    seed = next(r for r in records if r["spec"]["seed"] == 1)
    cells = detail.locator("table.heat td").all_inner_texts()
    assert cells == [f"{v:.3f}" for line in seed["matrix"]["auc"] for v in line]
    assert detail.locator("svg[role=img]").get_attribute("aria-label")
    assert detail.locator("svg[role=img] path.after").count() == 2  # the last experience has one point
    assert "n = 1 seed" in detail.locator(".axis-note").inner_text()
    assert "OMP_NUM_THREADS=1 dfbench eval -d simple_cnn" in detail.locator("pre").first.inner_text()
    assert records[0]["data"]["fingerprint"] in detail.inner_text()
    assert "torch 2.15.0" in detail.inner_text()
    assert records[0]["scores_sha256"][:16] in detail.inner_text()
    assert detail.get_by_role("link", name="seed 1").get_attribute("href") == f"results/{seed['run']}.json"


def test_a_row_s_page_says_what_was_checked(seen: Seen, board: Path) -> None:
    (table,) = [each for each in read_board(board).tables if each.key == "three"]
    row = next(each for each in table.rows if each.first.spec.strategy == "replay" and each.kind[0] != "xception")
    expected = [[QUESTIONS[each.name], each.status, each.detail] for each in table.verdicts(row)]
    assert {status for _, status, _ in expected} >= {"passed", "not checked"}
    line = seen.page.locator(f'tr[data-id="{row.id}"] [data-c="checks"]')
    assert line.get_attribute("title") == "; ".join(f"{e.name}: {e.status}" for e in table.verdicts(row))
    seen.page.goto(f"{seen.url}#row={row.id}")
    card = seen.page.locator("section.card", has=seen.page.get_by_role("heading", name="What was checked"))
    lines = card.locator("tbody tr")
    lines.first.wait_for()  # a row's file is loaded when it is opened
    assert [lines.nth(n).locator("th, td").all_inner_texts() for n in range(lines.count())] == expected


def test_intervals_of_each_source_are_shown_for_a_seed(seen: Seen, board: Path) -> None:
    seen.open("ewc")
    section = seen.page.locator("#detail section", has_text="Each source, at the end")
    section.get_by_label("seed 0").check(force=True)
    record = read_json(next((board / "results").glob("simple_cnn-default-ewc-three-s0-*")))
    low, high = record["uncertainty"]["per_experience"][0]
    cells = section.locator("tbody tr").first.locator("td").all_inner_texts()
    assert cells[0] == f"{record['matrix']['auc'][-1][0]:.3f}"
    assert cells[1] == f"{low:.3f} – {high:.3f}"
    assert "95 % interval" in section.inner_text()


def test_addresses_and_the_back_button_lead_to_rows(seen: Seen) -> None:
    address = seen.row("gem").get_by_role("link").get_attribute("href")
    seen.page.goto(seen.url + address)
    seen.page.reload()
    assert seen.page.locator("#detail h2").inner_text() == "gem with simple_cnn"
    assert seen.page.title().startswith("gem with simple_cnn")
    seen.page.get_by_role("link", name="All rows of three").click()
    seen.page.locator("#board").wait_for()
    assert seen.page.evaluate("document.activeElement.textContent") == "gem"
    seen.page.go_back()
    seen.page.locator("#detail h2").wait_for()
    seen.page.goto(seen.url + "#row=nothing%E0%A4")
    seen.page.locator("#board").wait_for()


def test_commands_are_copied(seen: Seen) -> None:
    seen.context.grant_permissions(["clipboard-read", "clipboard-write"])
    seen.open("naive")
    seen.page.get_by_role("button", name="Copy").first.click()
    seen.page.get_by_role("button", name="Copied").wait_for()
    assert seen.page.evaluate("navigator.clipboard.readText()") == seen.page.locator("pre").first.inner_text()


def tab_to(page: Any, wanted: str) -> None:
    """Press Tab until what has the focus is what is wanted, an expression on it."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate(f"document.activeElement.{wanted}"):
            return
    raise AssertionError(f"60 stops and none is {wanted}")


def test_everything_is_reached_by_keyboard(seen: Seen) -> None:
    page = seen.page
    page.goto(seen.url)
    page.reload()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    tab_to(page, "matches('[role=tab]')")  # the selected tab is the one stop of the tab list
    focused = "document.activeElement"
    assert page.evaluate(f"{focused}.getAttribute('aria-selected')") == "true"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(f"{focused}.dataset.key") == "other"
    page.locator("#panel-2").wait_for()
    assert not page.locator("#panel-1").is_visible()
    page.keyboard.press("End")
    assert page.evaluate(f"{focused}.dataset.key") == "in papers"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(f"{focused}.dataset.key") == "three"  # and round again
    page.locator("#panel-1").wait_for()
    tab_to(page, "closest('th')?.dataset.column === 'forgetting'")
    assert page.evaluate(f"getComputedStyle({focused}).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert page.locator('#panel-1 th[data-column="forgetting"]').get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Space")
    assert page.locator('#panel-1 th[data-column="forgetting"]').get_attribute("aria-sort") == "descending"
    tab_to(page, "matches('[data-tick]')")
    page.keyboard.press("Space")
    assert page.locator("#panel-1 [data-tick]:checked").count() == 1
    tab_to(page, "tagName === 'A'")
    name = page.evaluate(f"{focused}.textContent")
    page.keyboard.press("Enter")
    page.locator("#detail h2").wait_for()
    assert page.locator("#detail h2").inner_text().startswith(name)


def test_the_structure_is_there_for_screen_readers(seen: Seen) -> None:
    page = seen.page
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("h1").count() == 1
    assert page.locator("table:not(:has(caption))").count() == 0
    assert page.locator("th:not([scope])").count() == 0
    assert page.get_by_role("tab", selected=True).count() == 1
    assert page.get_by_role("columnheader").count() == 11  # the others of 17 are not shown, so not read either
    assert page.locator("#panel-1").get_by_role("row").count() == 8
    unlabelled = "els => els.filter(e => !e.labels?.length && !e.getAttribute('aria-label')).length"
    assert page.locator("select, input").evaluate_all(unlabelled) == 0
    nameless = "els => els.filter(e => !e.textContent.trim()).length"
    assert page.locator("button, a").evaluate_all(nameless) == 0


def test_reported_figures_are_apart_and_sortable(seen: Seen) -> None:
    seen.page.get_by_role("tab", name="In papers").click()
    panel = seen.page.locator("#panel-3")
    assert "Reported, not measured here" in panel.inner_text()
    assert panel.locator("table.rows").count() == 0
    panel.get_by_role("button", name="AF").click()
    names = "rows => rows.map(r => r.cells[0].textContent)"
    assert panel.locator("tbody tr").evaluate_all(names) == ["DFIL", "LwF", "SI"]
    panel.get_by_role("button", name="A", exact=True).click()
    assert panel.locator("tbody tr").evaluate_all(names) == ["DFIL", "LwF", "SI"]  # the empty one last
    assert panel.locator("tbody td").nth(1).inner_text() == "not given"


@pytest.mark.parametrize("address", ["", "#row", "#tab=papers-own", "#tab=three&view=chart&x=memory"])
def test_a_phone_needs_no_sideways_scrolling(chromium: Any, board: Path, address: str) -> None:
    phone = Seen(chromium, board, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page = phone.page
    page.goto(phone.url + "#tab=three")
    page.locator("#panel-1 table").wait_for()
    if address == "#row":
        phone.open("replay")
    elif address:
        page.goto(phone.url + address)
        page.locator("#panel-1 svg a" if "chart" in address else "#panel-3 table").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    if not address:
        assert not page.get_by_label("Sort by").locator("visible=true").count()  # folded until asked for
        page.get_by_role("button", name="Filter and sort").locator("visible=true").click()
        page.get_by_label("Sort by").locator("visible=true").select_option("forgetting")
        status = page.locator("#panel-1 > [role=status]").inner_text()
        assert status.startswith("7 of 7 rows, sorted by Forgetting, ascending")
        assert page.locator("#panel-1").get_by_role("row").count() >= 7  # cards are still a table
        box = phone.row("replay").bounding_box()
        assert box is not None
        assert box["width"] > 300
    assert phone.wrong == []
    phone.context.close()


def contrast(page: Any, selector: str) -> float:
    """The ratio of WCAG between an element's text and what is behind it."""
    script = """element => {
      const parse = (text) => text.match(/[\\d.]+/g).map(Number);
      const light = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, k) => sum + v * [.2126, .7152, .0722][k], 0);
      let behind = element;
      while (parse(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
      const a = light(parse(getComputedStyle(element).color));
      const b = light(parse(getComputedStyle(behind).backgroundColor));
      return (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    }"""
    return min(page.locator(selector).evaluate_all(f"elements => elements.map({script})"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible_by_day_and_by_night(chromium: Any, board: Path, scheme: str) -> None:
    seen = Seen(chromium, board, color_scheme=scheme)
    page = seen.page
    page.goto(seen.url + "#tab=three")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0] < 60")
    assert dark == (scheme == "dark")
    for selector in (
        "h1",
        ".lede",
        "#panel-1 .about",
        "#panel-2 .what, .badge",
        "#panel-1 .bound td",
        "#panel-1 .legend",
        "#panel-1 .option, .tag",
    ):
        assert contrast(page, selector) >= 4.5, selector
    seen.open("naive")
    page.locator("#detail h2").wait_for()
    for selector in (
        "table.heat td:not(.empty)",
        "#detail .facts dt",
        "#detail dd",
        "#detail .seg label:has(:checked)",
    ):
        assert contrast(page, selector) >= 4.5, selector
    assert seen.wrong == []
    seen.context.close()


def test_without_javascript_the_tables_are_all_there(chromium: Any, board: Path) -> None:
    seen = Seen(chromium, board, java_script_enabled=False)
    for panel in ("#panel-1", "#panel-2", "#panel-3"):
        assert seen.page.locator(panel).is_visible()
    assert not seen.page.get_by_role("tablist").is_visible()
    seen.context.close()


def test_on_paper_there_are_no_controls(chromium: Any, board: Path) -> None:
    seen = Seen(chromium, board)
    seen.page.goto(seen.url + "#tab=three")
    seen.page.locator("#panel-1 table").wait_for()
    seen.page.emulate_media(media="print")
    assert not seen.page.locator("#panel-1 form").is_visible()
    assert not seen.page.locator("#panel-1 [data-tick]").first.is_visible()
    assert seen.page.locator("#panel-1 table").is_visible()
    assert len(seen.page.pdf()) > 10_000
    seen.context.close()


# --- Without a browser -------------------------------------------------------------------------------


def test_texts_of_outsiders_are_never_markup(board: Path) -> None:
    text = (board / "index.html").read_text()
    assert text.count("<script") == 2
    assert "<img" not in text
    assert "&lt;/script&gt;&lt;script&gt;window.owned" in text
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])  # type: ignore[index]
    (table,) = [each for each in data["tables"] if each["key"] == "three"]
    assert HOSTILE in handed_over(board / "data" / table["folder"] / "rows.js")["words"]
    attributes: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: attributes.extend(name for name, _ in attrs)  # type: ignore[method-assign]
    parser.feed(text)
    assert "data-filter" in attributes
    assert not [name for name in attributes if name.startswith("on") or name == "style"]
    markdown = (board / "README.md").read_text()
    assert "<script" not in markdown
    assert "<img" not in markdown
    assert r"\*a\* \|b\|" in markdown


def test_json_in_a_page_is_read_back_as_it_was() -> None:
    value = {"a": ["</script>", "<!--", "&amp;", "\u2028", "é"]}
    text = embedded(value)
    assert json.loads(text) == value
    assert not set("<>&\u2028") & set(text)


def test_an_empty_board_has_its_pages_too() -> None:
    content = pages(Board((), ()))
    assert b"No run has been added yet" in content["index.html"]
    assert b"No run has been added yet" in content["README.md"]


def handed_over(part: Path) -> Any:
    """The value in a script that the page loads: one call with a name and a text of JSON."""
    found = re.fullmatch(r"dfbenchPart\('([a-z0-9/-]+)', '(.*)'\)\n", part.read_text())
    assert found is not None
    assert part.as_posix().endswith(f"/{found[1]}.js")
    assert not set("<>&\u2028\n") & set(found[2])
    return json.loads(re.sub(r"\\(.)", r"\1", found[2]))


def test_the_page_holds_no_rows_and_a_thousand_records_load_little(tmp_path: Path) -> None:
    """Real records, their names and seeds multiplied."""
    base = [read_record(make_run(tmp_path, f"m{k}", videos=10)) for k in range(5)]
    records = []
    for n in range(1000):
        value = json.loads(json.dumps(base[n % 5]))
        record = Record.parse(value, tmp_path)
        spec = record.spec.model_copy(update={"strategy": f"method{n // 3}", "seed": n % 3})
        records.append(record.model_copy(update={"spec": spec, "identity": spec.identity, "run": spec.run_id}))
    board = make_board(records)
    assert len(board.tables[0].rows) == 334
    content = pages(board)
    (rows,) = [name for name in content if name.endswith("/rows.js")]
    before = len(content["index.html"]) + len(content[rows])
    assert before < 300_000
    others = [len(each) for name, each in content.items() if name.startswith("data/") and name != rows]
    assert max(others) < 100_000 < before < sum(others)
    small = len(pages(make_board(records[:300]))["index.html"])
    assert len(content["index.html"]) - small < 50 * 234  # of a row its id, of a strategy its name in the filter
    assert content["README.md"].decode().count("](index.html#row=") == 100
    assert "[234 further rows](index.html#tab=" in content["README.md"].decode()


def read_json(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text())
    return value

"""The tab of papers, on the board of this repository: closed tables, a search over all of them, whole triangles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dfbench.publish.board.table import read_board
from tests.conftest import ROOT
from tests.publish.board.seen import Seen

PANEL = '[data-key="in papers"].panel'


@pytest.fixture(params=[1280, 360])
def papers(request: pytest.FixtureRequest, chromium: Any) -> Iterator[Seen]:
    opened = Seen(chromium, ROOT / "leaderboard", viewport={"width": request.param, "height": 900})
    opened.page.goto(f"{opened.url}#tab=in+papers")
    opened.page.locator(PANEL).wait_for()
    yield opened
    assert opened.page.evaluate("document.documentElement.scrollWidth") == request.param
    assert opened.wrong == []
    assert opened.elsewhere == []
    opened.context.close()


def seen_rows(page: Any) -> list[str]:
    names: list[str] = page.locator(f"{PANEL} .printed tbody tr:visible th").all_inner_texts()
    return names


def test_all_protocols_are_listed_and_closed(papers: Seen) -> None:
    page, board = papers.page, read_board(ROOT / "leaderboard")
    rows = sum(len(table.rows) for table in board.reported)
    assert page.get_by_role("tab", name=f"In papers {rows}").is_visible()
    assert page.locator(f"{PANEL} .protocol").count() == len({table.protocol for table in board.reported})
    assert page.locator(f"{PANEL} .printed tbody tr").count() == rows
    assert seen_rows(page) == []
    counts = page.locator(f"{PANEL} summary [data-count]").all_inner_texts()
    assert sum(map(int, counts)) == rows
    bottom = page.locator(PANEL).bounding_box()["height"]
    assert bottom < (1500 if page.viewport_size["width"] > 1000 else 2700)
    page.locator(".protocol summary", has_text="dfil").click()
    assert "DFIL" in seen_rows(page)
    assert page.evaluate("location.hash") == "#tab=dfil"  # a link to what is open


def test_a_word_finds_its_rows_in_every_table(papers: Seen) -> None:
    page = papers.page
    page.get_by_label("Find").locator("visible=true").fill("dfil")
    names = seen_rows(page)
    assert len(names) == 9
    assert {name.split()[0] for name in names} == {"DFIL"}
    assert page.locator("[data-found]").inner_text() == "9 rows in 9 tables"
    assert page.evaluate("location.hash") == "#tab=in+papers&find=dfil"
    assert page.locator(f"{PANEL} h3:visible").count() == 1
    address = page.url
    page.goto("about:blank")
    page.goto(address)  # as somebody sends it
    page.locator(f"{PANEL} .printed:visible").first.wait_for()
    assert seen_rows(page) == names
    page.get_by_label("Find").locator("visible=true").fill("no such words")
    assert seen_rows(page) == []
    assert page.get_by_text("No row of a paper has these words.").is_visible()
    page.get_by_label("Find").locator("visible=true").fill("")
    assert seen_rows(page) == []
    assert page.locator(f"{PANEL} .protocol:visible").count() == page.locator(f"{PANEL} .protocol").count()


def test_an_address_opens_a_protocol_with_its_triangles(papers: Seen) -> None:
    page = papers.page
    page.goto(f"{papers.url}#tab=sur-lid-p2")
    section = page.locator('.protocol[data-protocol="sur-lid-p2"] .reported')
    section.wait_for()
    assert section.bounding_box()["y"] < 300
    assert "Read in the text. Recomputed from the printed figures: average, AF." in section.inner_text()
    triangle = section.locator(".triangle")
    triangle.locator("summary").click()
    assert triangle.locator("tbody tr", has_text="SUR-LID").locator("td").all_inner_texts() == [
        "96.85", "82.91 92.42\naverage 87.66\nAF 13.94", "90.50 96.26 97.94\naverage 94.90\nAF 1.26",
        "87.90 96.79 93.56 99.07\naverage 94.33\nAF 2.99",
    ]  # fmt: skip


def test_what_does_not_follow_and_what_is_second_hand_says_so(papers: Seen) -> None:
    page = papers.page
    page.goto(f"{papers.url}#tab=sur-lid-p1")
    section = page.locator('.protocol[data-protocol="sur-lid-p1"] .reported')
    section.wait_for()
    assert section.locator("tr", has_text="differs").locator("th").inner_text() == "naive"
    assert "(printed .726, recomputed .7275)" in section.inner_text()
    page.goto(f"{papers.url}#tab=clip-adaptation")
    section = page.locator('.protocol[data-protocol="clip-adaptation"] .reported')
    section.wait_for()
    assert section.locator(".kicker .tag").inner_text() == "second hand"
    heads = section.locator("thead th").all_inner_texts()
    assert [head.strip() for head in heads] == ["detector", "trained", "CDFv2", "DFD", "DFDC", "FFIW", "DSv1"]


def test_without_a_script_every_row_is_there(chromium: Any) -> None:
    opened = Seen(chromium, ROOT / "leaderboard", java_script_enabled=False)
    summary = opened.page.locator(".protocol summary", has_text="video-6")
    summary.click()
    assert opened.page.locator(".protocol .printed tbody tr:visible").count() == 23
    opened.context.close()

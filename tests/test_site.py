"""The documentation as a site: every page has a place, it is built without a warning, and its links lead somewhere."""

from __future__ import annotations

import functools
import http.server
import json
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.publish.board.conftest import chromium  # noqa: F401  (a fixture)
from tools import site


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the pages, built as ``make site`` does."""
    pytest.importorskip("sphinx", reason="the extra 'docs' is not installed")
    out = tmp_path_factory.mktemp("site")
    assert site.build(out, "1.10") == 0
    return out / "html"


def test_the_site_is_built_without_a_warning_and_every_link_leads_somewhere(built: Path) -> None:
    assert site.broken(built) == []
    for section in site.sections():
        for name in section["pages"]:
            page = built / ("api/index.html" if name == "api" else f"{name}.html")
            assert page.is_file(), name
    assert (built / "leaderboard" / "index.html").is_file()
    api = (built / "api" / "detectors.html").read_text()
    assert 'id="dfbench.Loop.step"' in api
    assert "<math" in (built / "metrics.html").read_text()
    script = (built / "searchindex.js").read_text()
    assert "forget" in script


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Writes no log."""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def published(built: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a folder with three versions of the site."""
    for version in ("1.9", "dev", "1.10"):
        pages = tmp_path / "build" / version
        shutil.copytree(built, pages)
        for name in ("metrics.html", "index.html", "_static/documentation_options.js"):
            text = (pages / name).read_text()
            assert "'1.10'" in text
            (pages / name).write_text(text.replace("'1.10'", f"'{version}'"))
        site.publish(pages, version, tmp_path / "public", "/")
    (tmp_path / "public" / "1.10" / "faq.html").unlink()
    handler = functools.partial(Quiet, directory=tmp_path / "public")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_reader_changes_the_version_and_stays_on_the_page(published: str, chromium: Any) -> None:  # noqa: F811
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.goto(published)
    page.wait_for_url("**/1.10/index.html")
    page.goto(f"{published}/1.9/metrics.html")
    page.get_by_text("This is documentation for an old version").wait_for()
    page.locator(".version-switcher__button:visible").click()
    choices = page.locator(".version-switcher__menu:visible a")
    assert choices.all_inner_texts() == ["1.10 (newest)", "1.9", "dev"]
    choices.nth(0).click()
    page.wait_for_url("**/1.10/metrics.html")
    assert not page.get_by_text("old version").is_visible()
    page.goto(f"{published}/1.9/faq.html")
    page.locator(".version-switcher__button:visible").click()
    page.locator(".version-switcher__menu:visible a").nth(0).click()
    page.wait_for_url("**/1.10/")  # it has no such page
    page.close()


def test_a_version_that_is_published_again_takes_the_place_of_the_former(tmp_path: Path) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "objects.inv").write_text("")
    for version, name in (("dev", "a"), ("2.0", "a"), ("10.0", "a"), ("2.0", "b")):
        (pages / "page.html").write_text(name)
        site.publish(pages, version, tmp_path / "public", "https://example.org/docs")
    listed = json.loads((tmp_path / "public" / "versions.json").read_text())
    assert [(each["version"], each["url"], each.get("preferred")) for each in listed] == [
        ("10.0", "https://example.org/docs/10.0/", True),
        ("2.0", "https://example.org/docs/2.0/", None),
        ("dev", "https://example.org/docs/dev/", None),
    ]
    assert (tmp_path / "public" / "2.0" / "page.html").read_text() == "b"
    assert (tmp_path / "public" / "10.0" / "page.html").read_text() == "a"


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<h1 id="x">A</h1><a href="b.html#y">b</a><a href="c.html">c</a><a href="#x">x</a>'
    )
    (tmp_path / "b.html").write_text('<p id="z"></p><a href="a.html#x">a</a><a href="https://example.org/#q">e</a>')
    assert site.broken(tmp_path) == ["a.html: b.html#y", "a.html: c.html"]


def test_links_of_a_code_host_become_links_of_the_site(tmp_path: Path) -> None:
    docs = site.DOCS
    text = site.page(docs / "faq.md", tmp_path)
    assert re.search(r"\[[^\]]+\]\(forge5\.md\)", text)
    assert "forge5.md](forge5.md)" not in text  # not the name of a file, but of the page
    concepts = site.page(docs / "concepts.md", tmp_path)
    assert "<picture>" not in concepts
    assert concepts.count("```{image}") == 2


@pytest.fixture(params=[(1280, "light"), (360, "dark")], ids=["wide-light", "phone-dark"])
def window(request: pytest.FixtureRequest, chromium: Any) -> Iterator[Any]:  # noqa: F811
    width, scheme = request.param
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    yield context.new_page(), width, scheme
    context.close()


def test_pages_fit_and_follow_the_reader_s_colours(built: Path, window: Any) -> None:
    page, width, scheme = window
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for name in ("index", "concepts", "metrics", "cli", "api/strategies", "start"):
        page.goto((built / f"{name}.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0] < 60")
        assert dark == (scheme == "dark"), name
    assert all(url.startswith("file:") for url in asked)  # nothing from elsewhere
    page.goto((built / "concepts.html").as_uri())
    shown = page.locator("img:visible").evaluate_all("images => images.map(i => i.src.split('/').pop())")
    assert shown == [f"loop-{scheme}.svg"]

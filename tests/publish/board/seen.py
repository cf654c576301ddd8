"""The leaderboard's page, open in a browser, and a board to open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

HOSTILE = "</script><script>window.owned=1</script><img src=x onerror=window.owned=1> *a* |b|"
PAPER = """
protocol: papers-own
title: A → B
paper: A paper
read: text
metric: accuracy, %
columns: [A, AF]
rows:
  - {strategy: LwF, values: ["67.34", "−8.1"]}
  - {strategy: DFIL, values: ["86.28", "−.69"]}
  - {strategy: SI, values: ["", "−12"]}
"""


class Seen:
    """A page, and everything that went wrong on it."""

    def __init__(self, chromium: Any, board: Path, **options: Any) -> None:
        self.context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        self.page = self.context.new_page()
        self.page.set_default_timeout(30_000)  # a busy machine needs a while
        self.wrong: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda m: self.wrong.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda e: self.wrong.append(str(e)))
        self.page.on("request", lambda r: self.requests.append(r.url))
        self.url = (board / "index.html").as_uri()
        self.page.goto(self.url)
        if options.get("java_script_enabled", True) and self.page.locator("table.rows").count():
            self.page.locator(".panel:visible .rows tbody tr").first.wait_for()  # the rows come after the page

    @property
    def elsewhere(self) -> list[str]:
        """What was asked for that is neither the page nor one of its parts."""
        parts = self.url.removesuffix("index.html") + "data/"
        return [url for url in self.requests if url.partition("#")[0] != self.url and not url.startswith(parts)]

    @property
    def strategies(self) -> list[str]:
        """Of the rows that can be seen, from the top."""
        return self.page.locator("#panel-1 tbody tr:visible th a").all_inner_texts()

    def row(self, strategy: str, detector: str = "simple_cnn") -> Any:
        return self.page.locator(f'#panel-1 tr[data-strategy="{strategy}"][data-detector="{detector}"]')

    def open(self, strategy: str, detector: str = "simple_cnn") -> None:
        """Open a row's page; clicking comes back before it is there."""
        self.row(strategy, detector).get_by_role("link").click()
        self.page.locator("#detail h2").wait_for()

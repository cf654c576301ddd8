"""A leaderboard of many records: how long it takes to build, and how much of it a browser loads.

The records are those of ``leaderboard/results``, multiplied by other values of one option each, with the identities
that the new specs have and figures moved by a little. They are written to a folder, built from nothing, again without a
change and with one further record of the largest table, and opened in a Chromium from disk and over HTTP (``shown``:
until the rows are there; ``bytes``: all that was loaded until then, as it lies on disk)::

    OMP_NUM_THREADS=1 python -m perf.board --records 10000 --folder FOLDER
"""

from __future__ import annotations

import argparse
import functools
import http.server
import json
import os
import random
import resource
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dfbench.records.record import Record
from dfbench.records.spec import RunSpec
from perf.results import add_json, load, report

ROOT = Path(__file__).parent.parent
LARGEST = "forge5"
"""The benchmark with most records, which the further record is of."""
GOALS = {"shown_seconds": 2.0, "bytes_before_a_row": 2_000_000}
"""At most."""


def sources() -> list[dict[str, Any]]:
    """The documents of the records that are multiplied."""
    return [json.loads(path.read_text()) for path in sorted((ROOT / "leaderboard" / "results").glob("*.json"))]


def multiplied(documents: list[dict[str, Any]], count: int, one_row_each: bool = False) -> Iterator[dict[str, Any]]:
    """As many documents as are asked for: copy 0 is the source itself, the others have another value of one option.

    Args:
        documents: Of records.
        count: How many to make.
        one_row_each: Every copy is a row with one seed on the first benchmark.
    """
    if one_row_each:
        documents = [each for each in documents if each["data"]["benchmark"] == LARGEST][:1]
    for n in range(count):
        source = documents[n % len(documents)]
        yield source if n < len(documents) else varied(source, n // len(documents))


def varied(source: dict[str, Any], copy: int) -> dict[str, Any]:
    """The document of a run with another value of one option, and figures that differ by up to .01."""
    document = {**source, "spec": {**source["spec"], **_option(source["spec"], copy)}}
    spec = RunSpec.model_validate(document["spec"])
    document |= {"identity": spec.identity, "run": spec.run_id, "settings": None}
    by = random.Random(spec.identity).uniform(-0.01, 0.01)
    document["metrics"] = {name: _moved(value, by) for name, value in source["metrics"].items()}
    document["matrix"] = {name: [[_moved(v, by) for v in row] for row in m] for name, m in source["matrix"].items()}
    return document


def _option(spec: dict[str, Any], copy: int) -> dict[str, Any]:
    for config in ("strategy_config", "detector_config"):
        for name, value in spec[config].items():
            if isinstance(value, float) and value > 0:
                return {config: {**spec[config], name: round(value * (1 + copy / 1000), 12)}}
    return {"memory": spec["memory"] + copy}


def _moved(value: float | None, by: float) -> float | None:
    return value + by if value is not None and 0.02 < value < 0.98 else value


def write_records(documents: Iterator[dict[str, Any]], folder: Path) -> int:
    """Write the records of a leaderboard; their bytes."""
    results, size = folder / "results", 0
    results.mkdir(parents=True)
    for document in documents:
        text = json.dumps(document, indent=1, ensure_ascii=False)
        size += (results / f"{document['run']}.json").write_text(text, encoding="utf-8")
    return size


def build(folder: Path) -> dict[str, float]:
    """Seconds of ``dfbench leaderboard build``, its imports aside: as they pass, and of the processor."""
    from dfbench.publish.board.build import built, write

    began, worked = time.perf_counter(), time.process_time()
    write(built(folder), folder)
    taken = {"wall": time.perf_counter() - began, "processor": time.process_time() - worked}
    return {name: round(value, 1) for name, value in taken.items()}


def opened(folder: Path) -> dict[str, dict[str, float]]:
    """How the page opens from disk and over HTTP, and what a row's page loads."""
    from tests.publish.browser import browser

    handler = functools.partial(_Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    addresses = {"disk": folder.resolve().as_uri(), "http": f"http://127.0.0.1:{server.server_port}"}
    with browser() as chromium:
        found = {name: _open(chromium, address, folder) for name, address in addresses.items()}
    server.shutdown()
    return found


def _open(chromium: Any, address: str, folder: Path) -> dict[str, float]:
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(120_000)
    loaded: list[str] = []
    page.on("request", lambda request: loaded.append(request.url))
    began = time.perf_counter()
    page.goto(f"{address}/index.html")
    page.locator(".panel:visible table.rows tbody.ranked tr").first.wait_for()
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    shown = time.perf_counter() - began
    before = _size(loaded, address, folder)
    began = time.perf_counter()
    page.locator(".panel:visible table.rows tbody.ranked th a").first.click()
    page.locator("#detail h2").wait_for()
    row = time.perf_counter() - began
    result = {"shown_seconds": round(shown, 2), "bytes_before_a_row": before, "row_seconds": round(row, 2),
              "bytes_of_a_row": _size(loaded, address, folder) - before}  # fmt: skip
    page.close()
    return result


def _size(urls: list[str], address: str, folder: Path) -> int:
    """Bytes of the files behind these addresses."""
    names = [url.removeprefix(address).lstrip("/").partition("?")[0].partition("#")[0] for url in urls]
    return sum((folder / name).stat().st_size for name in dict.fromkeys(names) if (folder / name).is_file())


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def measured(folder: Path, count: int, one_row_each: bool) -> dict[str, Any]:
    """All figures of a board of so many records."""
    documents = sources()
    extra = varied(next(each for each in documents if each["data"]["benchmark"] == LARGEST), 10**6)
    size = write_records(multiplied(documents, count, one_row_each), folder)
    print(f"{count} records, {size / 1e6:.0f} MB", flush=True)
    seconds = {"from_nothing": build(folder), "unchanged": build(folder)}
    Record.parse(extra, "the further record").write(folder / "results" / f"{extra['run']}.json")
    seconds["one_more"] = build(folder)
    print(seconds, flush=True)
    browser = opened(folder)
    ok = all(found[name] <= goal for found in browser.values() for name, goal in GOALS.items())
    return {
        "name": "board", "records": count, "rows": "one per record" if one_row_each else "as committed", "ok": ok,
        "goals": GOALS, "seconds": seconds, "opened": browser,
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
    }  # fmt: skip


def main() -> None:
    """Print what was found as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--one-row-each", action="store_true", help="every record a row of one table, with one seed")
    parser.add_argument("--folder", type=Path, help="an empty folder for the board (default: a temporary one)")
    add_json(parser)
    options, busy = parser.parse_args(), load()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ.setdefault("DFBENCH_CACHE", f"{scratch}/cache")
        folder = options.folder or Path(scratch) / "board"
        report(measured(folder, options.records, options.one_row_each), options.json, busy)


if __name__ == "__main__":
    main()

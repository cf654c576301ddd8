"""The report's page: well formed, self-contained, escaped, holding the record's figures; and what is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dfbench.errors import DataError, StorageError, UsageError
from dfbench.publish.report.page import line
from dfbench.publish.report.runs import load_runs
from dfbench.publish.report.write import Report, write_report
from dfbench.records.command import command
from dfbench.records.record import Record
from dfbench.records.verdict import QUESTIONS
from tests.conftest import ROOT
from tests.publish.browser import browser
from tests.publish.report_runs import NAMES, make_run, read_record, write_record

HOSTILE = "</text><script>window.owned=1</script><img src=x onerror=window.owned=1> $a^2$ \"'&"
VOID = {"meta", "link", "br", "hr", "img", "input"}
DRAWING = {"path", "use", "rect", "g", "defs"}


class Page(HTMLParser):
    """A strict reading of the page: every element is closed by its own tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data
        self.texts.append(data)

    def table(self, first: str) -> list[list[str]]:
        """The table whose first heading begins so."""
        return next(t for t in self.tables if t and t[0] and t[0][0].startswith(first))


def three(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    folder = make_run(tmp_path_factory.mktemp("one"), "replay")
    return folder, write_report([folder])


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], Report]:
    folder = tmp_path_factory.mktemp("several")
    runs = [make_run(folder, "naive", seed) for seed in (0, 1)] + [make_run(folder, "replay")]
    return runs, write_report(runs, folder / "compared")


def test_it_lies_next_to_the_record_with_every_figure(one: tuple[Path, Report]) -> None:
    folder, report = one
    assert report.page == folder / "report" / "report.html"
    assert set(report.figures) == {"matrix", "forgetting", "roc", "forgotten", "histograms"}
    made = {p.name for p in (folder / "report").iterdir()}
    assert made == {"report.html", *(f"{name}.{kind}" for name in report.figures for kind in ("svg", "png"))}
    for files in report.figures.values():
        assert np.asarray(Image.open(files["png"]).convert("L")).std() > 5
        assert "<text" in files["svg"].read_text()


def test_the_page_holds_the_figures_of_the_record(one: tuple[Path, Report]) -> None:
    folder, report = one
    record, page = read_record(folder), Page(report.page.read_text(encoding="utf-8"))
    R = page.table("after training on")
    assert [row[1:] for row in R[1:]] == [[three(v) for v in row] for row in record["matrix"]["auc"]]
    metrics = dict(row[:2] for row in page.table("metric")[1:])
    assert metrics["forgetting"] == three(record["metrics"]["forgetting"])
    assert metrics["backward transfer (BWT)"] == three(record["metrics"]["bwt"])
    table = next(t for t in page.tables if t[0][:2] == ["experience", "real + fake"])
    for row, facts in zip(table[1:], record["per_experience"], strict=True):
        cells = dict(zip(table[0], row, strict=True))
        assert cells["AUC"] == three(facts["frame_auc"])
        assert cells["EER"] == three(facts["eer"])
        assert cells["threshold at EER"] == three(facts["eer_threshold"])
        low, high = (float(v) for v in cells["AUC, 95 % interval"].split(" – "))
        assert low < facts["frame_auc"] < high
    text = "".join(page.texts)
    for expected in (
        record["run"], record["identity"], record["spec"]["data_fingerprint"], "a processor", "2.15.0", "0" * 40,
        "detector_config.lr", "replayed_units", "1.0 GB", "dfbench eval -d tiny --preset default -s replay -b three",
    ):  # fmt: skip
        assert expected in text, expected


@pytest.mark.parametrize("which", ["one", "several"])
def test_it_asks_for_nothing_and_runs_nothing(which: str, request: pytest.FixtureRequest) -> None:
    report: Report = request.getfixturevalue(which)[1]
    text = report.page.read_text(encoding="utf-8")
    page = Page(text)
    for tag, attributes in page.tags:
        assert tag not in ("script", "iframe", "object", "embed", "link", "img", "image", "base"), tag
        for key, value in attributes.items():
            assert not key.startswith("on")
            if key in ("src", "href", "xlink:href", "action"):
                assert re.fullmatch(r"#[\w.-]+|[\w]+\.(svg|png)", value or ""), value
    assert "http" not in text.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"@import|url\((?!#)", text)
    identities = [a["id"] for _, a in page.tags if "id" in a]
    assert len(identities) == len(set(identities))
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    assert used <= set(identities)


def test_every_figure_has_a_text_and_a_table(one: tuple[Path, Report]) -> None:
    page = Page(one[1].page.read_text(encoding="utf-8"))
    drawings = [a for tag, a in page.tags if tag == "svg"]
    assert len(drawings) == len(one[1].figures)
    assert all(a["role"] == "img" and len(a["aria-label"] or "") > 20 for a in drawings)
    tags = [tag for tag, _ in page.tags]
    assert tags.count("figcaption") == tags.count("figure") == len(drawings)
    assert all(a.get("scope") in ("col", "row") for tag, a in page.tags if tag == "th")
    assert ("html", {"lang": "en"}) in page.tags


def test_names_are_escaped_wherever_they_stand(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "naive", names=(HOSTILE, "b", "c"))
    record = read_record(folder)
    record["spec"]["detector"] = record["environment"]["device_name"] = HOSTILE
    record["data"]["notes"] = [f"a leak in {HOSTILE}"]
    record["effects"] = {HOSTILE: 1.0}
    write_record(folder, record)
    other = make_run(tmp_path, "replay", names=(HOSTILE, "b", "c"))
    for paths in ([folder], [folder, other]):
        report = write_report(paths, tmp_path / f"{len(paths)}")
        text = report.page.read_text(encoding="utf-8")
        page = Page(text)
        assert not {"script", "img"} & {tag for tag, _ in page.tags}
        assert HOSTILE in "".join(page.texts)
        assert f"a leak in {HOSTILE}" in "".join(page.texts)


def test_sources_that_were_not_committed_are_named(tmp_path: Path) -> None:
    folder = make_run(tmp_path, git={"commit": "1" * 40, "dirty": True})
    text = write_report([folder]).page.read_text(encoding="utf-8")
    assert "changes that were not committed" in text


def test_the_same_run_gives_the_same_files(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a")
    first, second = (write_report([folder], tmp_path / name) for name in ("x", "y"))
    for a in sorted(first.page.parent.iterdir()):
        assert a.read_bytes() == (second.page.parent / a.name).read_bytes(), a.name


def test_several_runs_are_side_by_side(several: tuple[list[Path], Report]) -> None:
    runs, report = several
    assert set(report.figures) == {"forgetting", "matrices", "differences"}
    page = Page(report.page.read_text(encoding="utf-8"))
    records = [read_record(run) for run in runs]
    methods = next(t for t in page.tables if t[0][:2] == ["method", "seeds"])
    rows = {row[0]: dict(zip(methods[0], row, strict=True)) for row in methods[1:]}
    naive = [r["metrics"]["forgetting"] for r in records[:2]]
    assert rows["naive"]["seeds"] == "2 seeds (0, 1)"
    assert rows["replay"]["seeds"] == "1 seed (seed 0)"
    assert rows["naive"]["forgetting"] == f"{three(float(np.mean(naive)))} ± {three(float(np.std(naive, ddof=1)))}"
    assert rows["replay"]["forgetting"] == three(records[2]["metrics"]["forgetting"])
    final = {row[0]: row[1:] for t in page.tables if t[0] == ["method", *NAMES] for row in t[1:]}
    gap = final["replay minus naive"][0]
    expected = records[2]["matrix"]["auc"][-1][0] - np.mean([r["matrix"]["auc"][-1][0] for r in records[:2]])
    assert gap.startswith(("+" if expected > 0 else "") + three(float(expected)) + " [")
    text = "".join(page.texts)
    assert all(record["run"] in text for record in records)


def test_the_first_sentences_say_where_each_method_ends_and_by_how_much_they_differ(
    several: tuple[list[Path], Report],
) -> None:
    records = [read_record(run) for run in several[0]]
    text = several[1].page.read_text(encoding="utf-8")
    naive, replay = re.findall(r"<li>(.*?)</li>", re.search(r'<ul class="lede">.*?</ul>', text, re.DOTALL)[0])  # type: ignore[index]
    interval = r"([−\d.]+) \[([−\d.]+), ([−\d.]+)\]"
    found = re.fullmatch(rf"naive \(2 seeds\) ends at AUC {interval} and forgets {interval}\.", naive)
    assert found
    average = float(np.mean([r["metrics"]["average"] for r in records[:2]]))
    assert found[1] == three(average)
    assert float(found[2]) < average < float(found[3])
    assert found[4] == three(float(np.mean([r["metrics"]["forgetting"] for r in records[:2]])))
    found = re.search(rf"it ends {interval} above naive and forgets {interval} less\.", replay)
    assert found
    assert found[1] == three(records[2]["metrics"]["average"] - average)
    low, value, high = (float(found[n].replace("−", "-")) for n in (2, 1, 3))
    assert low < value < high
    assert "Each method has one seed" not in text


def test_what_was_checked_is_said_of_one_run_and_of_each_method(
    one: tuple[Path, Report], several: tuple[list[Path], Report]
) -> None:
    page = Page(one[1].page.read_text(encoding="utf-8"))
    (checks,) = (t for t in page.tables if [row[0] for row in t] == [*QUESTIONS.values()])
    assert checks[3][1] == "failed: 1 of at least 3"
    assert checks[1][1] == "not checked: no controls of these data are here"
    page = Page(several[1].page.read_text(encoding="utf-8"))
    (methods,) = (t for t in page.tables if t[0] == ["method", *QUESTIONS])
    seeds = {row[0]: row[methods[0].index("seeds")] for row in methods[1:]}
    assert seeds == {"naive": "failed: 2 of at least 3", "replay": "failed: 1 of at least 3"}


def test_one_seed_each_compares_networks_and_is_said_to(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, name) for name in ("naive", "replay")]
    text = write_report(runs, tmp_path / "r").page.read_text(encoding="utf-8")
    assert "this compares two or more trained networks, not methods" in text
    assert "Methods side by side (one seed each)" in text
    assert "standard deviation" not in text  # there is none to show


def test_a_report_says_what_its_data_are(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    record = read_record(folder)
    record["data"] |= {"description": "Swaps & more.", "scope": "laboratory"}
    write_record(folder, record)
    text = write_report([folder]).page.read_text(encoding="utf-8")
    assert "synthetic laboratory" in text
    assert "Swaps &amp; more." in text


def test_the_line_that_reproduces_a_run_leaves_defaults_out() -> None:
    """As on the board, where records hold the settings that differ from the preset's."""
    stored = sorted((ROOT / "leaderboard" / "results").glob("simple_cnn-default-replay-forge5-s0-*"))
    assert len(stored) > 1
    for record in map(Record.read, stored):
        assert line(record.model_copy(update={"settings": None})) == line(record) == command(record)


def test_what_was_run_where_is_folded(one: tuple[Path, Report]) -> None:
    page = Page(one[1].page.read_text(encoding="utf-8"))
    assert ("details", {"class": "where"}) in page.tags
    assert "Specification, environment and hashes" in page.texts


# --- What is refused -----------------------------------------------------------------------------------


def test_an_unfinished_run(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    (folder / "record.json").unlink()
    with pytest.raises(DataError, match="there is no record; the run may not be finished"):
        write_report([folder])
    assert not (folder / "report").exists()


def test_scores_that_are_missing_or_not_the_records(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    file = folder / "scores.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"cannot read the scores .*scores\.parquet"):
        load_runs([folder])
    file.write_bytes((make_run(tmp_path, seed=1) / "scores.parquet").read_bytes())
    with pytest.raises(DataError, match=r"scores\.parquet is damaged or of another run"):
        load_runs([folder])
    file.unlink()
    with pytest.raises(DataError, match=r"record\.json: scores\.parquet is .*next to"):
        load_runs([folder / "record.json"])


def test_records_that_are_none(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    record = read_record(folder)
    for broken, reason in (
        ({**record, "files": {}}, "files: Extra inputs"),
        ({**record, "per_experience": []}, "per_experience does not name the experiences"),
    ):
        write_record(folder, broken)
        with pytest.raises(DataError, match=rf"record\.json: .*{reason}"):
            load_runs([folder])


def test_runs_on_other_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="are not comparable"):
        write_report([make_run(tmp_path), make_run(tmp_path, "replay", fingerprint="e" * 64)], tmp_path / "to")


def test_a_run_given_twice(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    measured = make_run(tmp_path, spec={**read_record(folder)["spec"], "eval_every": 5}, run="measured")
    for other in (folder, measured):  # one training, whatever is measured in the middle of it
        with pytest.raises(UsageError, match="is given twice"):
            write_report([folder, other])


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        write_report([make_run(tmp_path)], tmp_path / "file" / "report")


# --- In a browser --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as running:
        yield running


@pytest.mark.parametrize("which", ["one", "several"])
def test_in_a_browser_on_a_desk_on_a_phone_and_in_the_dark(
    which: str, chromium: Any, request: pytest.FixtureRequest
) -> None:
    report: Report = request.getfixturevalue(which)[1]
    papers = set()
    for width, scheme in ((1200, "light"), (360, "dark")):
        page = chromium.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        told: list[str] = []
        asked: list[str] = []
        page.on("console", lambda message, told=told: told.append(message.text))
        page.on("pageerror", lambda error, told=told: told.append(str(error)))
        page.on("request", lambda r, asked=asked: asked.append(r.url))
        page.goto(report.page.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        first = page.locator("figure svg").first
        assert first.bounding_box()["height"] > 150
        colours = page.evaluate(
            "() => [document.body, document.querySelector('figure svg text')].map("
            "n => getComputedStyle(n)).map((s, i) => i ? s.fill : s.backgroundColor)"
        )
        papers.add(tuple(colours))
        hint = page.locator(".wide .hint").first
        assert hint.is_visible() == (width == 360)  # what is cut there is said to go on
        page.locator("figure summary").first.click()
        assert page.locator("figure table").first.is_visible()
        assert told == []
        assert asked == [report.page.as_uri()]
        page.close()
    assert len(papers) == 2  # paper and ink both change in the dark
    assert all(paper != ink for paper, ink in papers)

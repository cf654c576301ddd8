"""The page in a real browser: mouse and keyboard, both languages, a phone, dark; what the visitor sees of an answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.publish.browser import browser
from tests.publish.serve.running import PATIENCE, Service

LATE = PATIENCE * 1000


@pytest.fixture(scope="module")
def chromium(service: Service) -> Iterator[Any]:
    with browser("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream") as running:
        yield running


@pytest.fixture
def visit(chromium: Any, service: Service) -> Iterator[Callable[..., Any]]:
    """Open the page as a visitor with some language, window and colour scheme; errors on the console fail the test."""
    contexts, wrong = [], []

    def open_page(path: str = "/", locale: str = "en-US", dark: bool = False, width: int = 1000, **more: Any) -> Any:
        scheme = "dark" if dark else "light"
        context = chromium.new_context(
            locale=locale, color_scheme=scheme, viewport={"width": width, "height": 800}, accept_downloads=True, **more
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(LATE)
        page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(service.url + path)
        page.wait_for_selector("#card p:nth-child(3)")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong


def ask(page: Any, file: Path) -> None:
    """Choose a file and wait for the answer."""
    page.set_input_files("#file", str(file))
    page.wait_for_selector("#verdict")


def box_of(page: Any, selector: str) -> dict[str, float]:
    found: dict[str, float] = page.locator(selector).bounding_box()
    return found


@pytest.mark.parametrize("name", ["forged", "pristine"])
def test_a_picture_is_shown_with_boxes_a_heat_map_and_doubt(
    name: str, visit: Callable[..., Any], request: pytest.FixtureRequest
) -> None:
    page = visit()
    ask(page, request.getfixturevalue(name))
    assert page.inner_text("#verdict") == "Inconclusive"
    assert "demonstration" in page.inner_text(".why")
    assert "judges nobody" in page.inner_text("#banner")
    figure = float(page.inner_text(".figures dd >> nth=0"))
    assert figure > 0.7 if name == "forged" else figure < 0.3
    picture, box = box_of(page, ".stage img"), box_of(page, ".stage .box")
    assert picture["width"] > 200
    assert picture["x"] - 1 <= box["x"]
    assert box["x"] + box["width"] <= picture["x"] + picture["width"] + 1
    assert box["width"] == pytest.approx(box["height"], rel=0.02)
    for image in ("[data-heat]", ".crop img >> nth=0"):
        page.wait_for_function("e => e.complete && e.naturalWidth > 50", arg=page.query_selector(image))
    assert page.evaluate("document.activeElement.id") == "verdict"


def test_a_video_has_a_time_line_that_moves_the_player(visit: Callable[..., Any], film: Path) -> None:
    page = visit()
    ask(page, film)
    assert page.locator(".line circle").count() == 32
    slider = page.locator(".line input")
    slider.focus()
    for _ in range(24):
        page.keyboard.press("ArrowRight")
    page.wait_for_function("() => Math.abs(document.querySelector('.stage video').currentTime - 3.0) < 0.05")
    assert slider.get_attribute("aria-valuetext").startswith("3.0 seconds, P(fake) 0.")
    late = float(slider.get_attribute("aria-valuetext")[-4:])
    page.locator(".line circle").nth(2).click(force=True)
    page.wait_for_function("() => Math.abs(document.querySelector('.stage video').currentTime - 0.25) < 0.05")
    early = float(slider.get_attribute("aria-valuetext")[-4:])
    assert late - early > 0.3
    assert page.inner_text(".stage .box").startswith("1 · ")
    page.evaluate("document.querySelector('.stage video').currentTime = 3.5")
    page.wait_for_function("() => document.querySelector('.line input').value === '28'")


def test_the_whole_way_by_keyboard_alone(visit: Callable[..., Any]) -> None:
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.example") == "forged.jpg":
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.keyboard.press("Enter")
    page.wait_for_selector("#verdict")
    names = []
    for _ in range(8):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.textContent"))
        if names[-1] == "Ask about another file":
            break
    assert names[:3] == ["Download as JSON", "Copy the link", "Delete this result"]
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "file"


def test_screen_readers_are_told_what_goes_on(visit: Callable[..., Any], film: Path) -> None:
    page = visit()
    page.evaluate(
        "() => { window.told = []; new MutationObserver(() => told.push(document.getElementById('live').textContent))"
        ".observe(document.getElementById('live'), {childList: true}); }"
    )
    ask(page, film)
    page.wait_for_function("() => told.at(-1) === 'Done: Inconclusive'")
    told = page.evaluate("told")
    assert any(line.startswith("Frames looked at: ") for line in told), told
    assert page.evaluate("[...document.querySelectorAll('img')].every((image) => image.hasAttribute('alt'))")
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, a, input, select')].filter((e) => e.checkVisibility()"
        " && !(e.textContent.trim() || e.ariaLabel || e.labels?.[0]?.textContent.trim())).length"
    )
    assert unnamed == 0


@pytest.mark.parametrize("width", [360, 1000])
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone_and_the_dark(width: int, dark: bool, visit: Callable[..., Any]) -> None:
    page = visit(width=width, dark=dark)
    for step in ("before", "after"):
        assert page.evaluate("document.documentElement.scrollWidth") <= width, step
        if step == "before":
            page.click("[data-example='forged.jpg']")
            page.wait_for_selector("#verdict")
    paper, ink = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    assert (_light(paper) < _light(ink)) == dark
    low = page.evaluate("Math.min(...[...document.querySelectorAll('.button')].filter((e) => e.checkVisibility())"
                        ".map((e) => e.getBoundingClientRect().height))")  # fmt: skip
    assert low >= 44


def _light(colour: str) -> int:
    return sum(int(part) for part in colour[4:-1].split(","))


def test_the_language_is_the_browsers_and_a_switch_is_remembered(visit: Callable[..., Any], tmp_path: Path) -> None:
    page = visit(locale="zh-TW")
    assert page.inner_text("h1") == "這張臉會是深偽嗎？"
    assert page.evaluate("document.documentElement.lang") == "zh-TW"
    (tmp_path / "bad.jpg").write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    ask(page, tmp_path / "bad.jpg")
    assert page.inner_text("#verdict") == "不支援的檔案"
    assert "SVG 向量圖" in page.inner_text(".why")
    page.click("[data-language='en']")
    assert page.inner_text("#verdict") == "Not supported"
    assert "SVG drawing" in page.inner_text(".why")
    page.reload()
    page.wait_for_selector("#verdict")
    assert page.inner_text("h1") == "Could this face be a deepfake?"


def test_every_text_is_there_in_both_languages(visit: Callable[..., Any]) -> None:
    page = visit()
    found = page.evaluate(
        "async () => { const { TEXTS } = await import('/static/texts.js');"
        " const holes = (t) => [...t.matchAll(/\\{\\w+\\}/g)].map(String).sort().join();"
        " const [en, zh] = [TEXTS.en, TEXTS['zh-TW']];"
        " return [Object.keys(en).filter((k) => !(k in zh)), Object.keys(zh).filter((k) => !(k in en)),"
        " Object.keys(en).filter((k) => holes(en[k]) !== holes(zh[k])), Object.keys(en)]; }"
    )
    assert found[:3] == [[], [], []]
    from dfbench.publish.predict.inputs import KINDS

    assert {f"reason.{kind}" for kind in KINDS} <= set(found[3])


def test_a_result_can_be_shared_downloaded_and_deleted(
    visit: Callable[..., Any], forged: Path, service: Service
) -> None:
    page = visit()
    ask(page, forged)
    link = page.url.removeprefix(service.url)
    assert link.startswith("/r/")
    with page.expect_download() as download:
        page.click("text=Download as JSON")
    document = json.loads(Path(download.value.path()).read_text())
    assert document["result"]["faces"][0]["looks"][0]["box"]
    other = visit(link)
    other.wait_for_selector("#verdict")
    assert "was deleted after it was judged" in other.inner_text("#result")
    assert other.locator(".crop img").count() >= 1
    page.click("text=Delete this result")
    page.wait_for_selector("#drop")
    assert page.inner_text("#live") == "The result was deleted."
    assert httpx.get(f"{service.url}/api/v1/jobs/{document['id']}").status_code == 404


def test_the_camera_gives_a_picture(visit: Callable[..., Any]) -> None:
    """Chromium's test camera shows no face; what counts is that its picture is asked about."""
    page = visit(permissions=["camera"])
    page.click("#camera")
    page.wait_for_selector("#camera-dialog[open]")
    page.click("#shoot")
    page.wait_for_selector("#verdict")
    assert page.inner_text("#verdict") == "No face found"
    assert page.is_hidden("#camera-dialog")


def test_a_file_can_be_dropped_and_a_wait_can_be_cancelled(
    visit: Callable[..., Any], film: Path, service: Service
) -> None:
    page = visit()
    page.evaluate(
        "async () => { const blob = await (await fetch('/static/examples/video.mp4')).blob();"
        " const data = new DataTransfer(); data.items.add(new File([blob], 'v.mp4', { type: 'video/mp4' }));"
        " document.getElementById('drop').dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true,"
        " cancelable: true })); }"
    )
    page.wait_for_selector("#work:not([hidden])")
    page.click("#cancel")
    page.wait_for_selector("#ask:not([hidden])")
    assert page.is_hidden("#work")


def test_what_is_not_there_any_more_is_said(visit: Callable[..., Any], chromium: Any, service: Service) -> None:
    context = chromium.new_context(locale="en-US")
    page = context.new_page()
    page.set_default_timeout(LATE)
    page.goto(f"{service.url}/r/{'x' * 32}")
    page.wait_for_selector("#trouble:not([hidden])")
    assert "results are deleted after a while" in page.inner_text("#trouble-text")
    context.close()


def test_the_leaderboard_is_a_page(visit: Callable[..., Any]) -> None:
    page = visit()
    page.click("text=Leaderboard")
    page.wait_for_selector("#board [role='tab']")
    assert page.inner_text("h1") == "What deepfake detectors forget"
    page.click("[role='tab'] >> nth=1")
    assert page.get_attribute("[role='tab'] >> nth=1", "aria-selected") == "true"

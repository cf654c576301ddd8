"""The style that figures share, and the accuracy matrix."""

from __future__ import annotations

import io
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from PIL import Image

from dfbench.errors import UsageError
from dfbench.publish import glyphs, heat
from dfbench.publish.plotting import PALETTE, STYLE, Panel, colours, draw_matrices, matrix_figure, rendered, style
from dfbench.records.record import Record
from tests.publish.report_runs import make_run

SVG = "{http://www.w3.org/2000/svg}"
R = np.array([[0.91, np.nan], [0.62, 0.87]])


def texts(svg: bytes) -> list[str]:
    return ["".join(node.itertext()) for node in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def drawn(*panels: Panel, names: tuple[str, ...] = ("swap", "sync")) -> bytes:
    with style():
        return rendered(draw_matrices(panels, names, "auc"), "svg")


def test_every_measured_cell_has_its_value_as_text() -> None:
    found = texts(drawn(Panel("a title", "a note", R)))
    assert sorted(t for t in found if t in ("0.91", "0.62", "0.87", "nan")) == ["0.62", "0.87", "0.91"]
    assert {"a title", "a note", "swap", "sync", "after training on", "tested on", "AUC"} <= set(found)


def test_cells_are_rectangles_not_an_image() -> None:
    svg = drawn(Panel("t", "", R))
    assert b"<image" not in svg
    assert b"data:" not in svg


def test_the_spread_stands_below_the_mean() -> None:
    found = texts(drawn(Panel("t", "", R, np.full((2, 2), 0.034))))
    assert found.count("±0.03") == 3


def test_below_chance_is_another_hue_and_what_was_not_trained_on_is_smaller() -> None:
    with style():
        figure = draw_matrices([Panel("t", "", np.array([[0.95, 0.1], [0.3, 0.9]]))], ["a", "b"], "auc")
    cells = figure.axes[0].collections[0]
    figure.canvas.draw()
    (good, _), (unseen, blue), (worse, blue2), _ = [(c[0], c[2]) for c in cells.get_facecolors()]
    assert good < 0.2
    assert unseen > 2 * blue
    assert worse > 1.5 * blue2
    widths = [float(np.ptp(path.vertices[:, 0])) for path in cells.get_paths()]
    assert widths[1] < 0.85 * widths[0] == 0.85 * widths[2]
    assert cells.norm(0.5) == pytest.approx(0.5)  # chance is the pale middle


def test_of_other_metrics_the_least_value_is_the_pale_one() -> None:
    assert heat.middle("accuracy", [0.4, float("nan"), 0.7]) == 0.4
    assert heat.middle("accuracy", [1.0]) == 0.0
    assert heat.position(0.4, 0.4) == 0.5
    assert heat.position(1.0, 0.4) == 1.0
    assert heat.colour(0.0) == tuple(part / 255 for part in heat.STOPS[0][1])
    assert all(heat.ink(heat.colour(k / 100)) in ("white", "black") for k in range(101))


def test_many_matrices_fit_a_page() -> None:
    with style():
        figure = draw_matrices([Panel(f"m{k}", "", np.full((5, 5), 0.8)) for k in range(7)], [*"abcde"], "auc")
    assert figure.get_size_inches()[0] < 7.5
    assert len({axis.get_gid() for axis in figure.axes} - {None}) == 7


def test_the_same_figure_has_the_same_bytes() -> None:
    for kind in ("svg", "png", "pdf"):
        with style():
            a, b = (rendered(draw_matrices([Panel("t", "", R)], ["a", "b"], "auc"), kind) for _ in range(2))
        assert a == b, kind
    assert b"date" not in drawn(Panel("t", "", R)).lower().replace(b"</", b"")


def test_names_are_names_whatever_is_in_them() -> None:
    names = ("a $x^2$ & <b>", "b\\frac{1}")
    assert set(names) <= set(texts(drawn(Panel("<script>alert(1)</script>", "", R), names=names)))


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_file_is_of_the_kind_that_its_name_says(kind: str, tmp_path: Path) -> None:
    records = [Record.read(make_run(tmp_path, name, joint=name == "joint")) for name in ("naive", "joint")]
    matrix_figure(records, tmp_path / f"m.{kind}")
    start = (tmp_path / f"m.{kind}").read_bytes()[:8]
    assert start.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[kind])


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"m\.gif: a figure is written as \.png, \.svg or \.pdf"):
        matrix_figure([Record.read(make_run(tmp_path))], tmp_path / "m.gif")


def test_a_png_is_not_blank_and_is_sharp_enough_for_print() -> None:
    with style():
        png = rendered(draw_matrices([Panel("t", "", R)], ["a", "b"], "auc"), "png")
    image = Image.open(io.BytesIO(png))
    assert image.width > 500
    assert np.asarray(image.convert("L")).std() > 10


def test_the_callers_matplotlib_is_left_as_it_was() -> None:
    before = matplotlib.rcParams["font.size"]
    with style():
        assert matplotlib.rcParams["font.size"] == STYLE["font.size"]
    assert matplotlib.rcParams["font.size"] == before


def test_colours_are_told_apart() -> None:
    assert colours(5) == list(PALETTE[:5])
    assert len(set(colours(40))) == 40


# --- Names in any script ------------------------------------------------------------------------------------------


CHINESE = ("换脸", "face swap", "表情驱动")


@pytest.fixture
def no_further_fonts(monkeypatch: pytest.MonkeyPatch):
    """As on a machine that has matplotlib's fonts only."""
    monkeypatch.setattr(glyphs, "_families", list)
    glyphs._fallbacks.cache_clear()
    yield
    glyphs._fallbacks.cache_clear()


def panel() -> Panel:
    return Panel("simple_cnn", "on 换脸流", np.full((3, 3), 0.75))


@pytest.mark.filterwarnings("error")
@pytest.mark.usefixtures("no_further_fonts")
def test_letters_without_a_font_are_kept_in_svg_and_numbers_in_png() -> None:
    with style():
        figure = draw_matrices([panel()], CHINESE, "auc")
        before = rendered(figure, "svg", names=CHINESE)
        png = rendered(figure, "png", names=CHINESE)
        after = rendered(figure, "svg", names=CHINESE)
    assert set(CHINESE) <= set(texts(before))
    assert texts(after) == texts(before)
    assert Image.open(io.BytesIO(png)).size[0] > 300
    with style(), glyphs.drawable(figure, CHINESE):
        inside = texts(rendered(figure, "svg"))
    assert {"[1]", "face swap", "[3]", "on [4]"} <= set(inside)
    assert not any(letter in text for text in inside for letter in "换脸表情驱动流")
    assert glyphs.unwritable(CHINESE) == {"换脸": "[1]", "表情驱动": "[3]"}


@pytest.mark.usefixtures("no_further_fonts")
def test_letters_that_a_font_has_are_drawn_as_they_are() -> None:
    assert glyphs.fallbacks("Zoë → Łódź ±") == ()
    assert glyphs.unwritable(["Zoë", "Łódź"]) == {}


def test_parts_of_names_keep_their_numbers() -> None:
    plain = glyphs.Substitutes(["a", "换脸 c40", "换脸 c23"], frozenset("换脸流"))
    assert [plain(t) for t in ("换脸 c40", "换脸 c23", "换…", "流", "a")] == ["[2] c40", "[2] c23", "[2]…", "[4]", "a"]

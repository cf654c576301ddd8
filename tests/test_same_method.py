"""docs/same-method.md: what different papers print of one method, and that no more is said than the figures carry."""

from __future__ import annotations

import re
from itertools import combinations

from tools import reported
from tools.reported import Figure, figures_of, tables


def figures() -> list[Figure]:
    return [figure for table in tables() for figure in figures_of(table)]


def section(method: str) -> list[list[str]]:
    """The cells of a method's table."""
    text = re.search(rf"^### {re.escape(method)}\n(.*?)(?=^### |\Z)", reported.by_method(), re.MULTILINE | re.DOTALL)
    assert text is not None
    lines = [line.strip("| ").split(" | ") for line in text[1].splitlines() if line.startswith("|")]
    return lines[2:]


def test_the_figures_of_dfil_stand_together_with_network_memory_and_protocol() -> None:
    found = {line[0].strip("*"): tuple(line[2:5]) for line in section("DFIL")}
    assert found["85.49"] == ("`dfil`", "Xception 299", "500 an experience")
    assert found["79.66"] == ("`dfil`", "R3D-18", "–")
    assert found["87.88"] == ("`video-6`", "R3D-18", "200 clips")
    assert found["79.29"] == ("`sur-lid-p2`", "–", "–")
    assert found[".863"] == ("`sur-lid-p1`", "EfficientNet-B4", "500 an experience")


def test_every_figure_of_a_method_of_several_papers_is_there() -> None:
    text = reported.by_method()
    for name in {figure.row.method for figure in figures()}:
        mine = [figure for figure in figures() if figure.row.method == name]
        shown = len({figure.table.source for figure in mine}) > 1
        assert (f"### {name}\n" in text) == shown, name
        if shown:
            assert sorted(line[0].strip("*") for line in section(name)) == sorted(figure.printed for figure in mine)


def test_nowhere_do_two_papers_share_all_conditions() -> None:
    """The page says so; once it is no longer true, it must say which figures compare."""
    by_method = [(a, b) for a, b in combinations(figures(), 2) if a.row.method == b.row.method]
    same = [
        (a, b)
        for a, b in by_method
        if a.table.source != b.table.source
        and (a.table.protocol, a.table.metric, a.conditions) == (b.table.protocol, b.table.metric, b.conditions)
    ]
    assert len(by_method) > 20
    assert same == []


def test_places_are_those_of_the_paper_s_own_table() -> None:
    places = {
        (f.table.protocol, f.table.source, f.row.method, *f.conditions[:2]): (f.place, len(f.peers)) for f in figures()
    }
    assert places["dfil", "DevFD", "DFIL", "Xception 299", "500 an experience"] == (3, 7)
    assert places["sur-lid-p1", "SUR-LID", "SUR-LID", "EfficientNet-B4", "500 an experience"] == (1, 5)
    assert places["cddb-hard", "S-Prompts", "iCaRL", None, "50 a class"] == (4, 4)  # of the rows with this memory
    assert places["video-6", "MSFD", "MSFD", "FTCN", None] == (1, 2)  # of the rows with this network
    assert ("cddb-hard", "S-Prompts", "S-iPrompts", None, None) not in places  # joint training


def test_orders_of_two_methods_are_counted_over_tables() -> None:
    lines = [line.strip("| ").split(" | ") for line in reported.pairs().splitlines() if line.startswith("| HDP ")]
    assert lines == [
        ["HDP", "SUR-LID", "3", "0", "3: DevFD (`sur-lid-p2`), MSFD (`video-6`), SUR-LID (`sur-lid-p1`)"],
    ]
    (dfil,) = [line for line in reported.pairs().splitlines() if line.startswith("| DFIL | SUR-LID ")]
    assert "| 7 | 2: MSFD (`msfd-unseen`), MSFD (`video-6`) | 5: " in dfil

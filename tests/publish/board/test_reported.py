"""Tables of papers as files: what they may hold, and that their averages follow or are flagged."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbench.errors import DataError
from dfbench.evaluation import continual
from dfbench.publish.board import printed
from dfbench.publish.board.recomputation import number, recompute
from dfbench.publish.board.reported import Reported, by_protocol, read_reported

TABLE = """
protocol: three
title: A → B → C
paper: A paper, 2025
table: "2"
read: text
metric: accuracy, %
columns: [A, B, C, average, AF]
headline: average
computed: {average: average, AF: af}
rows:
  - strategy: LwF
    detector: Xception
    memory: none
    values: ["60.0", "70.0", "95.5", "75.2", "22.5"]
    matrix: ["90.0", "80.0 85.0", "60.0 70.0 95.5"]
    along: {average: ["82.5", "75.2"], AF: ["10.0", "22.5"]}
  - {strategy: ER, values: ["61.0", "", "95.5", "", "7.0"], settings: {weights: frozen}, note: by text}
"""


def read(text: str, folder: Path) -> Reported:
    path = folder / "paper.yaml"
    path.write_text(text, encoding="utf-8")
    return read_reported(path)


def test_a_table_holds_what_the_paper_prints(tmp_path: Path) -> None:
    table = read(TABLE, tmp_path)
    assert table.rows[0].matrix == ["90.0", "80.0 85.0", "60.0 70.0 95.5"]
    assert (table.source, table.where) == ("A paper", "A paper, 2025, table 2")
    found = {each.where: (each.printed, round(each.value, 3)) for each in table.recomputed(table.rows[0])}
    assert found == {
        "average": ("75.2", 75.167), "average after 2": ("82.5", 82.5), "AF": ("22.5", 22.5),
        "AF after 2": ("10.0", 10.0),
    }  # fmt: skip
    assert table.recomputed(table.rows[1]) == []  # B is missing, and so are the earlier trainings
    assert table.checked == ["average"]  # one row's AF was not recomputed


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[A, B, C, average, AF]", "[A, B, C, average, AF, X]", "row 'LwF' has 5 values for 6 columns"),
        ("[A, B, C, average, AF]", "[A, B, A, average, AF]", "name twice"),
        ("paper: A paper", "papr: A paper", "paper"),
        ("read: text\n", "", "read"),
        ("read: text", "read: hearsay", "read"),
        ('"60.0", "70.0"', '"60,0", "70.0"', "'60,0', which is no figure"),
        ('"60.0", "70.0"', '60.0, "70.0"', "values"),
        ("rows:", "rows: {", "not YAML"),
        ("headline: average", "headline: mean", "'mean' is named, but is none of the columns"),
        ("AF: af}\nrows", "BWT: bwt}\nrows", "'BWT' is named"),
        ("average: average,", "A: average,", "comes after the columns"),
        ("average: average,", "average: median,", "computed.average"),
        ('"80.0 85.0"', '"80.0"', "not a triangle of 1 to 3 figures"),
        ('"80.0 85.0"', '"80.0 x"', "'x' in its matrix"),
        ('"60.0 70.0 95.5"]', '"60.0 70.1 95.5"]', "ends in 60.0 70.1 95.5, but the values 60.0 70.0 95.5"),
        ('["82.5", "75.2"]', '["75.2"]', "figures of trainings 2 to 3"),
        ('["82.5", "75.2"]', '["82.5", "75.3"]', "the last that of the column"),
        ("along: {average", "along: {A", "'A' along the way, which is no computed column"),
        ("strategy: ER, ", "", "neither a strategy nor a detector"),
        ("table:", "kind: one training\ntable:", "has detectors alone"),
        ("table:", "kind: some\ntable:", "kind"),
    ],
)
def test_what_breaks_the_form_is_refused_in_one_line(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert old in TABLE
    with pytest.raises(DataError) as error:
        read(TABLE.replace(old, new, 1), tmp_path)
    assert said in str(error.value)
    assert "paper.yaml" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "where", "words"),
    [
        ('"95.5", "75.2", "22.5"]', '"95.5", "75.2", "22.7"]', "AF", "printed 22.7, recomputed 22.50"),
        ('average: ["82.5"', 'average: ["82.7"', "average after 2", "printed 82.7, recomputed 82.50"),
    ],
)
def test_what_does_not_follow_is_refused_until_it_is_flagged(
    old: str, new: str, where: str, words: str, tmp_path: Path
) -> None:
    wrong = TABLE.replace(old, new)
    if where == "AF":
        wrong = wrong.replace('"10.0", "22.5"', '"10.0", "22.7"')
    with pytest.raises(DataError) as error:
        read(wrong, tmp_path)
    advice = f'differs: {{{where}: "{words}"}}'
    assert "row 'LwF' prints a figure that does not follow" in str(error.value)
    assert advice in str(error.value)
    table = read(wrong.replace("    memory: none", f"    memory: none\n    {advice}"), tmp_path)
    assert table.rows[0].differs == {where: words}
    assert words in printed.differences(table)[0]


@pytest.mark.parametrize("where", ["AF", "average after 2", "A"])
def test_a_flag_on_what_does_follow_is_refused(where: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"row 'LwF' flags {where} as.*take it out"):
        read(
            TABLE.replace("    memory: none", f'    memory: none\n    differs: {{{where}: "printed 1, recomputed 2"}}'),
            tmp_path,
        )


def test_another_flag_than_what_was_found_is_refused(tmp_path: Path) -> None:
    wrong = TABLE.replace('"75.2", "22.5"]', '"75.2", "22.7"]').replace('"10.0", "22.5"', '"10.0", "22.7"')
    with pytest.raises(DataError, match=r"recomputed 22\.50"):
        read(wrong.replace("    memory: none", '    differs: {AF: "printed 22.7, recomputed 22.60"}'), tmp_path)


triangles = st.integers(2, 5).flatmap(
    lambda n: st.tuples(*(st.lists(st.integers(0, 100_000), min_size=i, max_size=i) for i in range(1, n + 1)))
)


@given(triangles, st.sampled_from(["average", "af", "bwt", "forgetting"]), st.sampled_from([-1, 0, 1]))
def test_rounding_never_makes_a_difference_and_two_units_always_do(exact: tuple, formula: str, off: int) -> None:
    """Figures with five digits are rounded to two, as a paper does; the metric is that of the unrounded ones."""
    R = continual.parse_matrix([[v / 1000 for v in line] for line in exact])
    value = getattr(continual, formula)(R)
    matrix = [" ".join(f"{v / 1000:.2f}" for v in line) for line in exact]
    names = [str(i) for i in range(len(exact))]
    figure = f"{value + off * 0.035:.2f}"  # 1.5 units from the inputs and the output, then 2 more
    (found,) = recompute([*names, "x"], {"x": formula}, [*matrix[-1].split(), figure], matrix)  # type: ignore[dict-item]
    assert found.agrees == (off == 0)


def test_minus_signs_and_missing_zeros_are_read_and_written_as_printed() -> None:
    assert number("−.69") == -0.69
    (found,) = recompute(["a", "b", "m"], {"m": "difference"}, [".50", ".60", "−.20"])
    assert not found.agrees
    assert found.words == "printed −.20, recomputed −.100"


def test_a_table_of_detectors_has_neither_method_nor_memory(tmp_path: Path) -> None:
    table = read(TABLE, tmp_path)
    assert printed.printed_heads(table) == ["method", "network", "memory", "weights"]
    assert printed.printed_words(table, table.rows[1]) == ["ER", "", "", "frozen"]
    text = TABLE.split("rows:")[0].replace("table:", "kind: one training\ntable:")
    once = read(text + '\nrows: [{detector: Xception, values: ["1", "2", "3", "2", ""]}]', tmp_path)
    assert printed.printed_heads(once) == ["detector"]
    assert [heading for heading, _ in printed.kinds([("a", [table]), ("b", [once])])] == [
        "Trained on one set after another",
        "Trained once, tested on other data",
    ]


def test_protocols_that_anybody_can_run_stand_first_and_the_plainest_table_of_each(tmp_path: Path) -> None:
    def named(protocol: str, title: str) -> Reported:
        return read(TABLE.replace("three", protocol).replace("A → B → C", title), tmp_path)

    groups = by_protocol([named("big", "T"), named("big", "T"), named("dfil", "T, by network"), named("dfil", "T")])
    assert {name: [t.title for t in tables] for name, tables in groups.items()} == {
        "dfil": ["T", "T, by network"],
        "big": ["T", "T"],
    }
    assert list(groups) == ["dfil", "big"]

"""How a stream flows: which test sets are scored in between, what neighbours exchange, where there are only fakes."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dfbench.benchmarks.flow import PLAIN, Flow, arranged, check_classes, scored_after
from dfbench.benchmarks.schema import read_stream_file
from dfbench.data.samples import Samples
from dfbench.errors import UsageError
from tests.benchmarks.conftest import TWO, Load

NAMES = ["a", "b", "c", "d", "e", "f"]


def test_all_test_sets_at_both_ends_and_without_a_rule() -> None:
    every = list(range(6))
    assert scored_after(-1, NAMES, 0) == every  # the untrained network
    assert scored_after(5, NAMES, 0) == every
    assert all(scored_after(row, NAMES, None) == every for row in range(6))


def test_in_between_the_own_the_first_the_next_and_some_earlier_ones() -> None:
    assert scored_after(0, NAMES, 2) == [0, 1]
    assert scored_after(1, NAMES, 2) == [0, 1, 2]
    assert scored_after(2, NAMES, 2) == [0, 1, 2, 3]  # b is all there is in between
    assert scored_after(4, NAMES, 0) == [0, 4, 5]
    assert scored_after(4, NAMES, 3) == [0, 1, 2, 3, 4, 5]
    first = min((1, 2, 3), key=lambda j: hashlib.sha256(f"e\n{NAMES[j]}".encode()).hexdigest())
    assert scored_after(4, NAMES, 1) == sorted([0, first, 4, 5])


def test_each_earlier_one_is_as_likely_as_any() -> None:
    counts: Counter[int] = Counter()
    for stream in range(600):
        names = [f"{stream} {j}" for j in range(8)]
        counts.update(set(scored_after(6, names, 2)) - {0, 6, 7})
    assert set(counts) == {1, 2, 3, 4, 5}
    assert all(abs(count / 600 - 2 / 5) < 0.08 for count in counts.values())


def people(experience: str, count: int = 10) -> list[dict[str, Any]]:
    """Two frames of each person, real and fake."""
    return [
        {
            "sample": f"{experience}/{person}/{label}/{frame}",
            "label": label,
            "source": experience,
            "method": "swap" if label else "",
            "identity": f"id{person}",
            "video": f"{experience}/{person}/{label}",
            "frame": frame,
            "pair": f"{experience}/{person}/{frame}",
            "split": "train",
        }
        for person, label, frame in itertools.product(range(count), (0, 1), (0, 1))
    ]


TABLE = Samples.from_rows([row for experience in "xyz" for row in people(experience)])
ROWS = [TABLE.where(source=[experience]) for experience in "xyz"]


def origins(rows: np.ndarray) -> dict[str, int]:
    return dict(Counter(TABLE.source[rows].tolist()))


def test_neighbours_exchange_a_share_of_their_people() -> None:
    """Two of ten people, with two frames and two labels each, cross each border in each direction."""
    found = arranged(list("xyz"), ROWS, TABLE, Flow(borders=0.2))
    assert [origins(rows) for rows in found] == [
        {"x": 32, "y": 8},
        {"x": 8, "y": 24, "z": 8},
        {"y": 8, "z": 32},
    ]
    assert sorted(np.concatenate(found).tolist()) == list(range(len(TABLE)))  # nothing is lost, nothing is twice
    for rows in found:
        labels = Counter(zip(TABLE.pair[rows].tolist(), TABLE.label[rows].tolist(), strict=True))
        assert all(labels[pair, 0] == labels[pair, 1] == 1 for pair, _ in labels)


def test_other_names_draw_other_people() -> None:
    one, two = (arranged(list(names), ROWS, TABLE, Flow(borders=0.1)) for names in ("xyz", "xzy"))
    assert one[0].tolist() == arranged(list("xyz"), ROWS, TABLE, Flow(borders=0.1))[0].tolist()
    assert one[1].tolist() != two[1].tolist()


@pytest.mark.parametrize("borders", [0.0, 0.1])
def test_fakes_alone_after_the_first(borders: float) -> None:
    first, *later = arranged(list("xyz"), ROWS, TABLE, Flow(fakes_only=True, borders=borders))
    assert (TABLE.label[first] == 0).sum() == 20  # all of its own reals stay
    assert set(TABLE.source[first][TABLE.label[first] == 0]) == {"x"}
    assert all((TABLE.label[rows] == 1).all() for rows in later)
    assert (origins(later[0]).get("z", 0) > 0) == (borders > 0)


def test_a_plain_flow_keeps_the_fingerprint_and_another_changes_it(load: Load, faces: Path) -> None:
    plain = load(TWO)
    assert plain.flow == PLAIN
    assert load(TWO + "flow: {borders: 0.0}\n").fingerprint == plain.fingerprint
    for flow in ("borders: 0.25", "tests: 0", "one_pass: true", "fakes_only: true"):
        assert load(TWO + f"flow: {{{flow}}}\n").fingerprint != plain.fingerprint
    fakes = load(TWO + "flow: {fakes_only: true}\n")
    assert fakes.samples.label[fakes.experiences[1].rows["train"]].min() == 1
    assert fakes.experiences[1].rows["test"].tolist() == plain.experiences[1].rows["test"].tolist()
    assert "after the first experience there are only fakes to train on" in fakes.notes


ONE = "name: x\nexperiences: [{name: a, source: folder, root: r}]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ONE + "flow: {borders: 0.3}", "flow.borders: Input should be less than or equal to 0.25"),
        (ONE + "flow: {borders: -0.1}", "flow.borders: Input should be greater than or equal to 0"),
        (ONE + "flow: {tests: -1}", "flow.tests: Input should be greater than or equal to 0"),
        (ONE + "flow: {fakes_only: sometimes}", "flow.fakes_only: Input should be a valid boolean"),
        (ONE + "flow: {border: 0.1}", "unknown key 'flow.border': did you mean 'borders'"),
        (ONE + "flow: {one_pass: true}\nepochs: 6", "one_pass is one epoch, and the file says epochs: 6"),
        (ONE + "flow: {one_pass: true}\nsteps: 9", "one_pass is one epoch, and the file says steps"),
        ("name: x\nseries: 0", "series: Input should be greater than or equal to 1"),
        (ONE + "series: 3", "give a list of experiences, or split: {parts: N}, or series: N"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(UsageError) as raised:
        read_stream_file(tmp_path / "s.yaml")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_series_names_the_sources_of_its_experiences(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("name: x\nseries: 12\ndefaults: {source: forge50, videos: 25}\n")
    _, entries = read_stream_file(tmp_path / "s.yaml")
    assert [entry.name for entry in entries] == [f"step{n:02d}" for n in range(1, 13)]
    assert entries[8].where == {"source": "step09"}
    assert {entry.videos for entry in entries} == {25}


def test_one_pass_is_a_budget_of_one_epoch(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(ONE + "flow: {one_pass: true}")
    assert read_stream_file(tmp_path / "s.yaml")[0].budget.epochs == 1


def test_fakes_alone_are_for_real_and_fake() -> None:
    check_classes(Flow(fakes_only=True), ("real", "fake"))
    check_classes(Flow(borders=0.1), ("cat", "dog", "ship"))
    with pytest.raises(UsageError, match="fakes_only is for streams of real and fake, not of 3 other classes"):
        check_classes(Flow(fakes_only=True), ("cat", "dog", "ship"))

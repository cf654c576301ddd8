"""Packs of scores: what goes in comes out to the last bit, the same bytes each time, and damage is noticed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dfbench.errors import DataError
from dfbench.evaluation.scores import Scores
from dfbench.plugins import registry
from dfbench.publish.board.manifest import read_manifest
from dfbench.publish.verification.checks import check_figures
from dfbench.records.finished import FinishedRun
from dfbench.records.packed_scores import (
    SCHEMA,
    PackedRun,
    pack_path,
    packed_runs,
    read_pack,
    read_packed,
    write_pack,
)
from dfbench.records.record import Record
from dfbench.records.spec import RunSpec
from tests.conftest import ROOT

BOARD = ROOT / "leaderboard"
COMMITTED = sorted((BOARD / "results").glob("*.json"))


def filled(runs: dict[str, Scores]) -> dict[PackedRun, Scores]:
    return {PackedRun(name, scores.digest()): scores for name, scores in runs.items()}


@st.composite
def any_scores(draw: st.DrawFn) -> Scores:
    """Groups on few test sets, so that they share them; of two classes or more; with names in any script."""
    pool = draw(
        st.lists(st.lists(st.text(st.characters(codec="utf-8"), max_size=3), min_size=1, max_size=4, unique=True),
                 min_size=1, max_size=2)
    )  # fmt: skip
    pairs = draw(st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 3)), min_size=1, max_size=6, unique=True))
    scores = Scores()
    for trained_on, tested_on in pairs:
        samples = draw(st.sampled_from(pool))
        n = len(samples)
        several = st.lists(st.integers(0, 9), min_size=n, max_size=n)
        values = np.array(draw(st.lists(st.floats(0, 1, width=32), min_size=n, max_size=n)), np.float32)
        videos = draw(st.sampled_from([[""] * n, samples]))
        predicted = (values > 0.5).astype(int) if draw(st.booleans()) else draw(several)
        people = draw(st.sampled_from([None, ["x", *[""] * (n - 1)]]))
        scores.append(trained_on, tested_on, samples, videos, draw(several), values, predicted, people)
    return scores


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(st.text("abc", min_size=1, max_size=2), any_scores(), min_size=1, max_size=3))
def test_any_scores_are_unpacked_as_they_were(tmp_path: Path, runs: dict[str, Scores]) -> None:
    path = tmp_path / "pack.parquet"
    packed = filled(runs)
    write_pack(path, packed)
    assert packed_runs(path) == set(packed)
    found = read_pack(path)
    assert {run: scores.digest() for run, scores in found.items()} == {run: run.sha256 for run in packed}
    for run, scores in packed.items():
        assert found[run].to_table().equals(scores.to_table())
        assert read_packed(path, run.sha256).digest() == run.sha256


def many(trainings: int, seed: int = 0, experiences: int = 3) -> Scores:
    """All experiences have the test set of CIFAR-10's, as it were: one, with ten classes."""
    random = np.random.default_rng(seed)
    names = [f"test/{k:05d}" for k in range(500)]
    labels = np.arange(500) % 10
    scores = Scores()
    for i in range(trainings):
        values, predicted = random.integers(0, 257, 500) / 256, random.integers(0, 10, 500)
        for j in range(experiences):
            scores.append(i, j, names, [""] * 500, labels, values, predicted)
    return scores


def test_equal_runs_give_equal_bytes_whatever_their_order(tmp_path: Path) -> None:
    runs = filled({"b": many(2, 1), "a": many(2, 2)})
    for name, order in (("one", list(runs)), ("two", list(reversed(runs)))):
        write_pack(tmp_path / name, {run: runs[run] for run in order})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_shared_test_set_is_stored_once(tmp_path: Path) -> None:
    path = tmp_path / "pack"

    def size(**options: int) -> int:
        write_pack(path, filled({"a": many(2, **options)}))
        return path.stat().st_size

    assert size(experiences=10) < size(experiences=1) + 200
    write_pack(path, filled({"a": many(2), "b": many(2, 1)}))
    table = pq.read_table(path)
    assert (len(table), table.column("samples").null_count) == (4, 3)


def test_damage_never_gives_other_scores_or_another_error(tmp_path: Path) -> None:
    """Cuts, and flipped bits all over the file: an error of one line, or the very same scores."""
    path, scores = tmp_path / "pack", many(1)
    write_pack(path, filled({"a": scores}))
    whole = path.read_bytes()
    flipped = [whole[:i] + bytes([whole[i] ^ (1 << i % 8)]) + whole[i + 1 :] for i in range(0, len(whole), 11)]
    errors = []
    for damaged in [whole[:i] for i in range(0, len(whole), 97)] + flipped:
        path.write_bytes(damaged)
        try:
            assert [found.digest() for found in read_pack(path).values()] in ([scores.digest()], [])
        except DataError as error:
            errors.append(str(error))
    assert len(errors) > len(flipped) / 2
    assert not [error for error in errors if "\n" in error]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("labels", None, "an empty cell"),
        ("test_set", [7, 8], "test set 8, which no row describes"),
        ("scores", [[2.0], [0.5]], "no probability"),
        ("sha256", ["0" * 64] * 2, "the scores of a are not the ones that were packed"),
    ],
)
def test_packs_that_cannot_be_true_are_refused(column: str, value: object, message: str, tmp_path: Path) -> None:
    scores = Scores()
    for trained_on in range(2):
        scores.append(trained_on, 0, ["x"], [""], [1], [0.25 * trained_on], [1])
    path = tmp_path / "pack"
    write_pack(path, filled({"a": scores}))
    table = pq.read_table(path)
    index = SCHEMA.get_field_index(column)
    cells = pa.array([None, None] if value is None else value, SCHEMA.field(column).type)
    pq.write_table(table.set_column(index, SCHEMA.field(column), cells), path)
    with pytest.raises(DataError, match=message):
        read_pack(path)


def test_what_is_not_a_pack_is_a_data_error(tmp_path: Path) -> None:
    path = tmp_path / "pack"
    for reader in (packed_runs, read_pack):
        with pytest.raises(DataError, match="No such file"):
            reader(path)
    many(1).write(path)
    with pytest.raises(DataError, match="is not a pack of scores"):
        read_pack(path)
    write_pack(path, filled({"a": many(1)}))
    with pytest.raises(DataError, match="does not hold these scores"):
        read_packed(path, "0" * 64)


def test_a_pack_is_named_by_its_row_and_never_leaves_its_folder() -> None:
    spec = RunSpec(
        detector="../../x y", preset="p", detector_config={}, strategy="s" * 300, strategy_config={}, benchmark="b",
        data_fingerprint="f" * 64, memory=1,
    )  # fmt: skip
    other = spec.model_copy(update={"seed": 5})
    assert pack_path(Path("b"), spec) == pack_path(Path("b"), other)
    assert pack_path(Path("b"), spec).parent == Path("b/scores")
    assert pack_path(Path("b"), spec).name.startswith(".._.._x_y-sss")


def test_the_committed_manifest_names_exactly_the_scores_of_the_committed_records() -> None:
    records = [Record.read(path) for path in COMMITTED]
    expected: dict[str, dict[str, str]] = {}
    for record in records:
        path = pack_path(BOARD, record.spec).relative_to(BOARD).as_posix()
        expected.setdefault(path, {})[record.run] = record.scores_sha256
    manifest = read_manifest(BOARD)
    assert {path: pack.runs for path, pack in manifest.items()} == expected
    here = {path: pack for path, pack in manifest.items() if (BOARD / path).exists()}
    assert all(pack.is_at(BOARD / path) for path, pack in here.items())
    assert {f"scores/{path.name}" for path in (BOARD / "scores").glob("*")} <= set(manifest)


def figures_follow(path: Path) -> None:
    """Every figure of a committed record follows from its pack to 1e-9, intervals to 1e-6."""
    run = FinishedRun.open(path)
    if run.scores_file is None:
        pytest.skip("its scores are not here")
    wrong = [finding for finding in check_figures(run.record, run.scores, registry()) if not finding.ok]
    assert not wrong, wrong


@pytest.mark.parametrize("path", COMMITTED[::25], ids=lambda path: path.stem)
def test_figures_of_committed_records_follow_from_the_packs(path: Path) -> None:
    figures_follow(path)


@pytest.mark.slow
@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_figures_of_every_committed_record_follow_from_the_packs(path: Path) -> None:
    figures_follow(path)

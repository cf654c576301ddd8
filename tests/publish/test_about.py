"""What pages say of benchmarks, strategies and dfbench itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfbench.benchmarks import packaged
from dfbench.benchmarks.schema import read_stream_file
from dfbench.publish import about
from dfbench.publish.about import Benchmark, Project, Strategy
from dfbench.records.record import Record
from tests.publish.board_runs import make_run


def record(folder: Path, **more: object) -> Record:
    return Record.read(make_run(folder, **more))  # type: ignore[arg-type]


def test_a_packaged_benchmark_is_described_by_its_file_whatever_a_record_claims(tmp_path: Path) -> None:
    spec, experiences = read_stream_file(packaged()["forge5"])
    names = tuple(each.name for each in experiences)
    claims = {"description": "Real faces.", "scope": "deepfakes"}
    found = about.benchmark([record(tmp_path / "a", benchmark="forge5", names=names, about=claims)])
    assert found == Benchmark(spec.description, "laboratory")
    assert found.badge == "synthetic laboratory"
    other = about.benchmark([record(tmp_path / "b", benchmark="forge5", names=("x", "y"), about=claims)])
    assert other == Benchmark("Real faces.", "deepfakes")  # a stream of the same name, with other experiences


def test_any_other_benchmark_is_described_by_the_first_record_that_does(tmp_path: Path) -> None:
    plain = record(tmp_path / "a")
    described = record(tmp_path / "b", about={"description": "Swaps.", "scope": None})
    assert about.benchmark([plain]) == Benchmark() == about.benchmark([plain, plain])
    assert about.benchmark([plain, described]) == Benchmark("Swaps.")
    assert (Benchmark().badge, Benchmark().meaning) == ("", "")


@pytest.mark.parametrize(
    ("paper", "link"),
    [
        ("arXiv:1612.00796", "https://arxiv.org/abs/1612.00796"),
        ("ECCV 2020", None),
        ("", None),
        ("arXiv:1612.00796/../x", None),
        ("javascript:alert(1)", None),
    ],
)
def test_only_an_arxiv_number_is_a_link(paper: str, link: str | None) -> None:
    assert Strategy("s", "", paper).link == link


def test_a_strategy_of_somebody_else_is_not_described() -> None:
    found = about.strategy("replay")
    assert found is not None
    assert found.link is not None
    assert about.strategy("nobodys") is None


def test_an_address_is_stated_or_there_is_none() -> None:
    assert Project("1", ()).address is None
    links = (("Documentation", "https://d.example"), ("Repository", "https://r.example"))
    assert Project("1", links).address == "https://r.example"
    assert Project("1", links[:1]).address == "https://d.example"
    assert about.project().version == "0.1.0"
    assert all(address.startswith("https://") for _, address in about.project().links)

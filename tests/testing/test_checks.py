"""Each promise of the contract is checked: a detector that breaks it is found, a sound one is not."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfbench import Detector
from dfbench.testing import CHECKS, Outcome, Subject, check_detector
from dfbench.testing.checks import under
from dfbench.testing.subject import Workbench
from tests.cli.harness import install, plugins_of, run_cli, the_error
from tests.testing import faulty

KINDS = {
    name.lower(): kind
    for name, kind in vars(faulty).items()
    if inspect.isclass(kind) and issubclass(kind, Detector) and kind.__module__ == faulty.__name__
}
PLUGIN = """from dfbench import DetectorEntry, hookimpl


@hookimpl
def register_detectors():
    return [
        DetectorEntry(name.lower(), f"faulty_detectors:{name}", "from a test")
        for name in %r
    ] + [DetectorEntry("misnamed", "faulty_detectors:Sound", "from a test", presets=("paper", "lite"))]
"""


@pytest.fixture(scope="module", autouse=True)
def _installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("plugins")
    text = Path(faulty.__file__).read_text(encoding="utf-8")
    names = [kind.__name__ for kind in KINDS.values()]
    install(folder, "faulty", {"faulty.py": PLUGIN % names, "faulty_detectors.py": text})
    heavy = text + "\n\nfrom dfbench import DetectorEntry, hookimpl\n\n\n@hookimpl\ndef register_detectors():\n"
    install(folder, "heavy", {"heavy.py": heavy + '    return [DetectorEntry("heavy", "heavy:Sound", "heavy")]\n'})
    with pytest.MonkeyPatch.context() as patch, plugins_of(folder, patch):
        yield


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory):
    """Runs one check of a detector."""

    def check(detector: str, name: str, **options: object) -> Outcome:
        subject = Subject(detector, pairs=8, frames=1, size=32, **options)  # type: ignore[arg-type]
        look = next((check for check in CHECKS if check.name == name), None) or under(name)
        with Workbench(subject, tmp_path_factory.mktemp("bench")).opened() as bench:
            try:
                return look.outcome(bench)
            finally:
                bench.close()

    return check


@pytest.mark.parametrize("detector", ["sound", "augmenting"])
def test_a_sound_detector_passes_every_check(detector: str) -> None:
    outcomes = list(check_detector(Subject(detector, frames=1, size=32, strategies=("naive", "gem", "lwf", "dfil"))))
    assert [each.check for each in outcomes][:-4] == [check.name for check in CHECKS]
    assert {each.check: each.detail for each in outcomes if each.status == "failed"} == {}
    skipped = [each.check for each in outcomes if each.status == "not checked"]
    assert skipped == (["augment", "rows"] if detector == "sound" else ["rows"])


@pytest.mark.parametrize(
    ("detector", "check", "said"),
    [
        ("heavy", "import", "numpy, torch, for which every command then waits"),
        ("misnamed", "presets", "names the presets paper, lite, and the class has default"),
        ("cached", "build", "weights that an earlier call has returned"),
        ("unseeded", "build", "gives two networks (head.weight differs)"),
        ("timed", "build", "leaves other facts at each call"),
        ("dropping", "units", "never predicted"),
        ("relabelling", "units", "hold samples of another label"),
        ("drawing", "loss", "it draws from another generator"),
        ("counting", "loss", "in eval mode changes seen"),
        ("remembering", "loss", "changes tensors in the detector"),
        ("scaling", "loss", "changes batch.pixels in place"),
        ("attached", "loss", "uses another network than the model that it is given"),
        ("elsewhere", "augment", "two results under one generator"),
        ("batchwise", "predict", "depends on what else is in the batch"),
        ("flipping", "predict", "two answers for one picture"),
        ("adapting", "predict", "changes seen of the network"),
        ("neck", "head", "row 0 of neck does not give logit 0 alone: it is not the head"),
        ("displaced", "rows", "unit_rows names another unit for a row"),
        ("swapped", "learn", "calls the reals fake"),
        ("idle", "learn", "does not learn"),
        ("outside", "load", "must be in the network"),
        ("moody", "repeat", "two runs with one seed differ"),
        ("taught", "resume", "state_dict() lacks something that train() goes on from (self.teacher)"),
        ("failing", "replay", "train raised ValueError"),
    ],
)  # fmt: skip
def test_a_planted_fault_is_found(detector: str, check: str, said: str, checked) -> None:
    outcome = checked(detector, check, rounds=5)
    assert outcome.status == "failed", outcome
    assert said in outcome.detail
    assert "\n" not in outcome.detail
    if detector not in ("heavy", "misnamed"):
        assert checked("augmenting", check).status == ("not checked" if check == "rows" else "passed")


def test_a_strategy_refuses_only_what_the_contract_says(checked) -> None:
    for refused in (None, ["dfil"]):
        outcome = checked("mixing", "dfil", refused=refused)
        assert (outcome.status, outcome.detail[:20]) == ("refused", "it keeps the outputs")
    assert "refused, which the contract does not say" in checked("mixing", "dfil", refused=[]).detail
    assert checked("mixing", "naive", refused=["naive"]).detail.startswith("trains it, and the contract says")


def test_check_prints_a_table_and_ends_with_4_where_a_promise_is_broken(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--strategies", "naive", "--frames", 1, "--size", 32]
    done = run_cli(capsys, "plugins", "check", "sound", *options)
    assert done.code == 0, done
    lines = [line.split() for line in done.out.splitlines() if line.strip()]
    assert [line[0] for line in lines if line[0] in {c.name for c in CHECKS}] == [check.name for check in CHECKS]
    done = run_cli(capsys, "plugins", "check", "neck", *options, "--json")
    assert done.code == 4
    found = {each["check"]: each for each in json.loads(done.out)}
    assert found["head"]["status"] == "failed"
    assert {each["status"] for name, each in found.items() if name != "head"} <= {"passed", "not checked"}
    assert done.err.splitlines()[-1] == "error: neck: 1 of 14 checks failed: head"


def test_check_takes_a_plugin_for_all_its_detectors(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--strategies", "naive", "--frames", 1, "--size", 32, "--rounds", 0, "--json"]
    done = run_cli(capsys, "plugins", "check", "heavy", *options)
    assert done.code == 4
    assert {each["detector"] for each in json.loads(done.out)} == {"heavy"}


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["soundd"], 2, "unknown detector 'soundd': did you mean 'sound'?"),
        (["sound", "--strategies", "nave"], 2, "unknown strategy 'nave'"),
        (["sound", "--set", "epoch=1"], 2, "epoch"),
        (["sound", "--preset", "lite"], 2, "preset"),
        (["sound", "-b", "nowhere.yaml"], 2, "nowhere.yaml: there is no such file"),
    ],
)
def test_wrong_use_is_one_line(args: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in the_error(run_cli(capsys, "plugins", "check", *args), code)

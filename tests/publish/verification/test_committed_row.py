"""A row of the committed leaderboard, trained again from its record alone."""

from pathlib import Path

import pytest

from dfbench.plugins import registry
from dfbench.publish.verification.rerun import rerun
from dfbench.records.finished import FinishedRun

RESULTS = Path(__file__).parents[3] / "leaderboard" / "results"


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["naive", "replay"])
def test_a_committed_row_can_be_made_again(strategy: str, tmp_path: Path) -> None:
    """About three minutes each. Where packages and processor are the record's, every score must be the same."""
    records = [FinishedRun.open(path) for path in RESULTS.glob(f"simple_cnn-default-{strategy}-forge5-s0-*.json")]
    shortest = min(records, key=lambda run: run.record.spec.detector_config["epochs"])
    found = rerun(shortest, registry(), None, tmp_path)
    assert found.agreement in (("identical", "tolerance") if found.changed else ("identical",)), found.sentence

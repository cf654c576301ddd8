"""A row of the committed leaderboard, trained again from its record alone."""

from pathlib import Path

import pytest

from dfbench.plugins import registry
from dfbench.publish.verification.checks import Source
from dfbench.publish.verification.rerun import rerun
from dfbench.runs.report import Reporter

RESULTS = Path(__file__).parents[3] / "leaderboard" / "results"


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["naive", "replay"])
def test_a_committed_row_can_be_made_again(strategy: str, tmp_path: Path) -> None:
    """About three minutes each. Where packages and processor are the record's, every score must be the same."""
    records = [Source.open(path) for path in RESULTS.glob(f"simple_cnn-default-{strategy}-forge5-s0-*.json")]
    shortest = min(records, key=lambda source: source.record.spec.detector_config["epochs"])
    found = rerun(shortest, registry(), Reporter(), tmp_path)
    assert found.agreement in (("identical", "tolerance") if found.changed else ("identical",)), found.sentence

"""One round trip through the real Hub. Runs only where HF_TOKEN and DFBENCH_LIVE_HUB=user/repo are set.

It speaks what the local server does not: the Xet path and the Hub's own rules. The repository is kept;
the second push finds nothing to change.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dfbench.plugins import Registry
from dfbench.publish.hub.push import publish_run
from dfbench.publish.zoo.resolve import open_checkpoint

REPO = os.environ.get("DFBENCH_LIVE_HUB", "")


@pytest.mark.skipif(not (REPO and os.environ.get("HF_TOKEN")), reason="needs HF_TOKEN and DFBENCH_LIVE_HUB=user/repo")
def test_the_real_hub(finished: Path, known: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFBENCH_CACHE", str(tmp_path))
    done = publish_run(finished, REPO, known, private=True)
    assert open_checkpoint(f"{REPO}@{done.commit}", known).entry == done.entry
    again = publish_run(finished, REPO, known)
    assert (again.changed, again.commit) == (False, done.commit)

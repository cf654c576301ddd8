"""Finished runs to publish, and a Hub to publish them on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dfbench.plugins import Registry, load_plugins
from tests.publish.hub.hub_server import WRITER, Hub, serving


@pytest.fixture(scope="session")
def known() -> Registry:
    """The first-party plugins."""
    return load_plugins()


@pytest.fixture(scope="session")
def finished(tiny_stream: Path, known: Registry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small finished run: a real record, real scores, real weights."""
    from dfbench.runs.prepare import Request
    from dfbench.runs.runner import run

    out = tmp_path_factory.mktemp("finished")
    settings = ("epochs=1", "width=8")
    run(Request("simple_cnn", "replay", str(tiny_stream), settings=settings, device="cpu", out=out), known)
    (record,) = out.glob("*/record.json")
    return record.parent


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A Hub of one's own, which huggingface_hub takes for the real one; ``me`` is logged in.

    The library reads its environment when it is imported, which other tests may have done already, so
    its constants are set. Xet is off: the server speaks LFS.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    with serving() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + template[template.index("/{") :])
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setenv("HF_TOKEN", WRITER)
        monkeypatch.setenv("DFBENCH_CACHE", str(tmp_path / "cache"))
        yield server

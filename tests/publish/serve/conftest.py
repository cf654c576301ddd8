"""A service for all tests that do it no harm, and files to ask about."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.publish.serve.running import Service, serving

EXAMPLES = Path(__file__).parents[3] / "dfbench" / "publish" / "serve" / "assets" / "examples"


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """With short limits, so that the bad are found out soon."""
    pytest.importorskip("fastapi")
    pytest.importorskip("facenet_pytorch")
    limits = ("--rate", 0, "--queue", 250, "--max-mb", 5, "--max-length", "60s")
    with serving(*limits) as running:
        yield running


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    """A client of the service."""
    with service.client() as client:
        yield client


@pytest.fixture(scope="session")
def forged() -> Path:
    """A forged picture of the embedded pack."""
    return EXAMPLES / "forged.jpg"


@pytest.fixture(scope="session")
def pristine() -> Path:
    """The same person, pristine."""
    return EXAMPLES / "pristine.jpg"


@pytest.fixture(scope="session")
def film() -> Path:
    """Four seconds, the second half forged."""
    return EXAMPLES / "video.mp4"

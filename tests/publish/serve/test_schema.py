"""The OpenAPI document against what the service answers, by schemathesis: made-up requests, right and wrong ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.publish.serve.pages import page

schemathesis: Any = pytest.importorskip("schemathesis")

MANY = settings(
    max_examples=40, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
ROUTES = [
    ("POST", "/api/v1/jobs"),
    ("GET", "/api/v1/jobs/{job}"),
    ("DELETE", "/api/v1/jobs/{job}"),
    ("GET", "/api/v1/jobs/{job}/faces/{face}/heat.png"),
    ("GET", "/api/v1/jobs/{job}/faces/{face}/{look}.jpg"),
    ("GET", "/api/v1/models"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with page(tmp_path_factory.mktemp("store"), rate=0, queue=100_000) as (client, _, _):
        yield schemathesis.openapi.from_url(str(client.base_url.join("/api/openapi.json")))


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_answer_is_a_documented_one(method: str, path: str, api: Any) -> None:
    """Status codes, media types, bodies and headers; wrong parameters are refused, right ones taken."""

    @given(case=api[path][method].as_strategy())
    @MANY
    def check(case: Any) -> None:
        query = case.query if isinstance(case.query, dict) else {}
        if isinstance(query.get("wait"), int | float) and 0.1 < query["wait"] <= 30:
            query["wait"] = 0.1  # there is no worker, so no job ends, and each would wait in vain
        case.call_and_validate(timeout=60)

    check()


def test_no_route_is_left_out(api: Any) -> None:
    found = {(each.ok().method.upper(), each.ok().path) for each in api.get_all_operations()}
    assert found == set(ROUTES)

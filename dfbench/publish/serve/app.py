"""The web application: API, pages, and what operators look at. It holds no torch and decodes nothing."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

from dfbench import __version__
from dfbench.publish.serve import api, problems, site
from dfbench.publish.serve.api import Desk
from dfbench.publish.serve.metrics import alive
from dfbench.publish.serve.middleware import Around

ABOUT = (
    "Upload a picture or a video, wait for its job, read the result. An answer is a model's doubtful opinion and no "
    "evidence about a person or a recording. Uploads are deleted when their job ends, results after a while."
)


def make_app(desk: Desk) -> Around:
    """The application around a job store."""
    app = FastAPI(
        title="dfbench serve", version=__version__, description=ABOUT, openapi_url="/api/openapi.json",
        docs_url=None, redoc_url=None, redirect_slashes=False,
    )  # fmt: skip
    app.add_exception_handler(problems.Problem, problems.on_problem)
    app.add_exception_handler(HTTPException, problems.on_http)
    app.add_exception_handler(RequestValidationError, problems.on_validation)
    app.include_router(api.router(desk))
    app.include_router(site.router(desk.settings.leaderboard))

    @app.get("/healthz", summary="This process answers", tags=["operation"])
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get(
        "/readyz", summary="Files can be judged", tags=["operation"], response_model=dict[str, int | str],
        responses=problems.documented(503),
    )  # fmt: skip
    def readyz() -> JSONResponse:
        if desk.stopping:
            return problems.response(503, "stopping", "the service is being stopped", {"Retry-After": "30"})
        workers = len(alive(desk.store))
        if not workers:
            return problems.response(503, "no_worker", "no worker is ready", {"Retry-After": "5"})
        return JSONResponse({"status": "ok", "workers": workers})

    @app.get(
        "/metrics", summary="Figures for Prometheus", tags=["operation"], response_class=PlainTextResponse,
    )  # fmt: skip
    def metrics() -> Response:
        return Response(desk.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return Around(app, desk.metrics)

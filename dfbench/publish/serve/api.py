"""The JSON API: a job per file. ``docs/serve.md`` and ``/api/openapi.json`` describe it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from dfbench.publish.serve.answers import JobAnswer, ModelsAnswer, job_answer, limits_of
from dfbench.publish.serve.changes import Changes
from dfbench.publish.serve.metrics import Metrics, alive
from dfbench.publish.serve.problems import Problem, documented
from dfbench.publish.serve.rate import Rate
from dfbench.publish.serve.settings import PageSettings
from dfbench.publish.serve.store import Job, Standing, Store
from dfbench.publish.serve.upload import discarded, receive

LONGEST_WAIT = 30
"""Seconds for which a request may wait for the end of a job."""
ENDED = ("done", "failed")

JobId = Annotated[str, Path(description="As the answer to the upload gave it.", max_length=64)]
Number = Annotated[int, Path(ge=0, le=10_000)]


@dataclass
class Desk:
    """What the routes share.

    Attributes:
        settings: What the operator chose.
        store: Of the jobs.
        metrics: Where uploads are counted.
        stopping: Whether no more files are taken.
    """

    settings: PageSettings
    store: Store
    metrics: Metrics
    stopping: bool = False

    def __post_init__(self) -> None:
        self.rate = Rate(self.settings.rate)
        self.changes = Changes(self.store)


def router(desk: Desk) -> APIRouter:
    """The routes below ``/api/v1``."""
    routes = APIRouter(prefix="/api/v1")
    _add_jobs(routes, desk)
    _add_pictures(routes, desk)

    @routes.get("/models", summary="The models and the limits", tags=["models"], responses=documented(503))
    def models() -> ModelsAnswer:
        return ModelsAnswer(models=known_models(desk), limits=limits_of(desk.settings))

    return routes


def _add_jobs(routes: APIRouter, desk: Desk) -> None:
    settings, store = desk.settings, desk.store

    @routes.post(
        "/jobs",
        status_code=202,
        summary="Ask about a picture or a video",
        tags=["jobs"],
        responses={
            200: {"model": JobAnswer, "description": "The job has ended while the request waited."},
            **documented(400, 404, 408, 413, 422, 429, 503),
        },
        openapi_extra=_BODY,
    )
    async def ask(
        request: Request,
        response: Response,
        model: Annotated[str | None, Query(description="Name of a model; the first one by default.")] = None,
        heat: Annotated[bool, Query(description="Whether heat maps are wanted.")] = False,
        wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT, description="Seconds to wait for the end of the job.")] = 0,
    ) -> JobAnswer:
        try:
            job = await _admitted(desk, request, model, heat)
        except Problem:
            await discarded(request)
            raise
        try:
            limit = settings.worker.upload_bytes
            size = await receive(request, store.upload(job.id), limit, settings.upload_seconds)
        except BaseException as error:  # the client has gone, or the service is being stopped: nothing must be left
            await run_in_threadpool(store.delete, job.id)
            if isinstance(error, ClientDisconnect):
                raise Problem(400, "aborted", "the upload was aborted") from None
            if isinstance(error, Problem) and error.status == 413:
                await discarded(request)
            raise
        if not await run_in_threadpool(store.enqueue, job.id):
            raise Problem(408, "too_slow", "the upload took too long")
        desk.metrics.bytes.inc(size)
        found = await _ended(desk, job.id, wait)
        response.headers["Location"] = f"/api/v1/jobs/{job.id}"
        response.status_code = 200 if found.state in ENDED else 202
        return job_answer(found, settings)

    @routes.get("/jobs/{job}", summary="How a job stands", tags=["jobs"], responses=documented(404, 422))
    async def stands(
        job: JobId,
        wait: Annotated[
            float, Query(ge=0, le=LONGEST_WAIT, description="Seconds to wait for a change of its state or progress.")
        ] = 0,
    ) -> JobAnswer:
        return job_answer(await _changed(desk, job, wait), settings)

    @routes.delete(
        "/jobs/{job}", status_code=204, summary="Delete a job", tags=["jobs"], responses=documented(404, 422)
    )
    def delete(job: JobId) -> None:
        if not store.delete(job):
            raise _gone()


def _add_pictures(routes: APIRouter, desk: Desk) -> None:
    def picture(job: str, name: str) -> Response:
        found = desk.store.artifact(job, name)
        if found is None:
            raise _gone()
        return Response(found.content, media_type=found.type, headers={"Cache-Control": "private, max-age=600"})

    @routes.get(
        "/jobs/{job}/faces/{face}/heat.png",
        summary="A heat map, to be laid over the crop with the highest score",
        tags=["pictures"],
        responses={200: _picture("image/png"), **documented(404, 422)},
        response_class=Response,
    )
    def heat(job: JobId, face: Number) -> Response:
        return picture(job, f"faces/{face}/heat.png")

    @routes.get(
        "/jobs/{job}/faces/{face}/{look}.jpg",
        summary="What was judged: the crop of one look at a face",
        tags=["pictures"],
        responses={200: _picture("image/jpeg"), **documented(404, 422)},
        response_class=Response,
    )
    def crop(job: JobId, face: Number, look: Number) -> Response:
        return picture(job, f"faces/{face}/{look}.jpg")


async def _admitted(desk: Desk, request: Request, model: str | None, heat: bool) -> Job:
    """A place in the queue.

    Raises:
        Problem: There is none for this request.
    """
    settings = desk.settings
    if desk.stopping:
        raise Problem(503, "stopping", "the service is being stopped; try again", round(settings.grace))
    names = [str(each["name"]) for each in await run_in_threadpool(known_models, desk)]
    chosen = names[0] if model is None else model
    if chosen not in names:
        raise Problem(404, "unknown_model", f"there is no model of this name here; there are {', '.join(names)}")
    if seconds := desk.rate.wait(request.client.host if request.client else ""):
        raise Problem(429, "too_many", "too many files from your address; try again later", seconds)
    job = await run_in_threadpool(desk.store.reserve, chosen, heat, settings.queue)
    if job is None:
        raise Problem(429, "busy", "too many files are waiting; try again later", 5)
    return job


async def _changed(desk: Desk, job: str, wait: float) -> Job:
    """A job: at once if it has ended, else when its state or its progress changes, or the time is over."""
    found = await _there(desk, job)
    if wait and found.state not in ENDED:
        await desk.changes.wait(job, found.standing, wait)
        found = await _there(desk, job)
    return found


async def _ended(desk: Desk, job: str, wait: float) -> Job:
    """A job when it has ended, or as it stands when the time is over."""
    found = await _there(desk, job)
    stands: Standing | None = found.standing
    stop = time.monotonic() + wait
    while stands is not None and stands.state not in ENDED and (left := stop - time.monotonic()) > 0:
        stands = await desk.changes.wait(job, stands, left)
    return found if stands == found.standing else await _there(desk, job)


async def _there(desk: Desk, job: str) -> Job:
    found = await run_in_threadpool(desk.store.get, job)
    if found is None:
        raise _gone()
    return found


def known_models(desk: Desk) -> list[dict[str, Any]]:
    """Identities of the models, the default first.

    Raises:
        Problem: No worker is ready.
    """
    workers = alive(desk.store)
    if not workers:
        raise Problem(503, "no_worker", "the models are being loaded; try again in some seconds", 5)
    return [dict(each) for each in workers[0].models]


def _gone() -> Problem:
    return Problem(404, "not_found", "there is no such job or picture, or not any more: results are kept for a while")


def _picture(kind: str) -> dict[str, Any]:
    return {"content": {kind: {"schema": {"type": "string", "format": "binary"}}}, "description": "The picture."}


_BODY = {
    "requestBody": {
        "required": True,
        "description": "The file itself, whatever its name and type; or a form with one file.",
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}

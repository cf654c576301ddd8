"""What the API answers, as OpenAPI documents it. A result holds what ``dfbench predict --json`` says of a file."""

from __future__ import annotations

import time
from typing import Any, Literal

from pydantic import BaseModel, Field

from dfbench.publish.serve.settings import PageSettings
from dfbench.publish.serve.store import Job

Verdict = Literal["likely fake", "likely real", "inconclusive", "no face found", "not supported"]


class Judged(BaseModel):
    """What is said of a face or of a file."""

    verdict: Verdict
    reason: str = Field(description="Why nothing is said, in English; empty for likely fake and likely real.")
    code: str = Field(description="The reason as a stable word; docs/predict.md lists them.")
    values: dict[str, float | str] = Field(description="Figures in the reason, by name.")
    score: float | None = Field(description="Mean P(fake) of the network.")
    probability: float | None = Field(description="Mean calibrated P(fake); null without calibration.")
    unfamiliar: float | None = Field(description="Share of looks that are unlike the training data.")


class LookAt(BaseModel):
    """One look at a face: a frame, or a clip."""

    frame: int
    frames: int = Field(description="1, or the length of the clip.")
    seconds: float | None = Field(description="When it is shown; null for a picture.")
    box: list[int] = Field(description="Left, top and side of the square that was judged, in pixels of the frame.")
    score: float
    probability: float | None
    unfamiliar: bool | None


class FaceFound(Judged):
    """One face, from where it is found first to where it is lost."""

    side: float = Field(description="Median of the shorter sides of its boxes, in pixels.")
    looks: list[LookAt]


class Media(BaseModel):
    """What the file is."""

    container: str
    codec: str
    pixel_format: str
    width: int
    height: int
    fps: float
    bit_rate: int
    frames: int
    note: str
    seconds: float = Field(description="Length of a video; 0 where that is not known, and for pictures.")


class Result(Judged):
    """What is said of a file."""

    media: Media | None
    frames_looked_at: int
    notes: list[str]
    faces: list[FaceFound]
    heat: list[int] = Field(description="Numbers of the faces that have a heat map.")
    seconds: float


class Progress(BaseModel):
    """Frames that were searched for faces."""

    done: int
    total: int = Field(description="0 where that is not known yet.")


class Failure(BaseModel):
    """Why a job ended without a result."""

    code: Literal["timeout", "crashed", "worker_died", "unexpected"]
    message: str


class JobAnswer(BaseModel):
    """A job as it stands."""

    id: str = Field(description="Who knows it may read the result.")
    model: str
    state: Literal["queued", "running", "done", "failed"]
    ahead: int = Field(description="Jobs before it in the queue.")
    progress: Progress
    result: Result | None
    error: Failure | None
    expires_in: int = Field(description="Seconds until it is deleted, from its end on.")


class Limits(BaseModel):
    """What a file may be at most, and how long a result is kept."""

    bytes: int
    pixels: int
    video_seconds: float
    frames: int = Field(description="That are looked at in a video.")
    keep_seconds: float


class ModelsAnswer(BaseModel):
    """The models that the operator has listed, the default first."""

    models: list[dict[str, Any]] = Field(description="As in dfbench predict --json.")
    limits: Limits


def job_answer(job: Job, settings: PageSettings) -> JobAnswer:
    """A job for its visitor."""
    left = settings.keep - (0 if job.ended is None else time.time() - job.ended)
    failed = job.state == "failed"
    return JobAnswer.model_validate(
        {
            "id": job.id,
            "model": job.model,
            "state": "queued" if job.state == "receiving" else job.state,
            "ahead": job.ahead,
            "progress": {"done": job.done, "total": job.total},
            "result": job.document,
            "error": {"code": job.code, "message": job.message} if failed else None,
            "expires_in": max(int(left), 0),
        }
    )


def limits_of(settings: PageSettings) -> Limits:
    """The limits that visitors meet."""
    worker = settings.worker
    return Limits(
        bytes=worker.upload_bytes,
        pixels=worker.pixels,
        video_seconds=worker.video_seconds,
        frames=worker.frames,
        keep_seconds=settings.keep,
    )

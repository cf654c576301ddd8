"""What an operator chooses, for the page's process and for its workers."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

MEGABYTE = 1_000_000


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WorkerSettings(_Settings):
    """What a worker needs to know; it comes to it as JSON.

    Attributes:
        data: Folder of the job store, or of this machine's uploads.
        store: Address of the job store that several machines share; None: it is in ``data``. It may hold a password.
        models: References to checkpoints (see ``dfbench predict --model``); the first is the default.
        faces: Face detector, ``NAME`` or ``NAME=FILE``.
        device: ``auto``, ``cpu``, ``cuda``, …
        threads: Of the network, on a CPU.
        parallel: Files that are decoded at a time; their frames share batches.
        frames: That are looked at in a video.
        upload_bytes: Of a file.
        pixels: Of a picture or a frame.
        video_seconds: Of a video.
        job_seconds: For one file, from its start to its answer.
        decoder_bytes: Address space of a process that decodes.
    """

    data: Path
    store: str | None = Field(None, repr=False)
    models: tuple[str, ...]
    faces: str = "mtcnn"
    device: str = "auto"
    threads: int = 1
    parallel: int = 8
    frames: int = 32
    upload_bytes: int = 100 * MEGABYTE
    pixels: int = 40_000_000
    video_seconds: float = 600
    job_seconds: float = 60
    decoder_bytes: int = 2 << 30


class PageSettings(_Settings):
    """What the process of the page needs to know.

    Attributes:
        worker: What its workers need to know.
        host: Address that is listened on.
        port: Of it; 0: any free one.
        workers: How many processes hold the models; 0: those of other machines do.
        queue: Files that may wait, those that are being received included.
        rate: Files per minute and address; 0: any number.
        trusted_proxies: Addresses whose ``X-Forwarded-For`` is believed.
        keep: Seconds for which a result is kept.
        upload_seconds: In which an upload must be complete.
        grace: Seconds that running jobs get when the service is stopped.
        leaderboard: Page of the leaderboard, or none.
    """

    worker: WorkerSettings
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    queue: int = 64
    rate: int = 30
    trusted_proxies: tuple[str, ...] = ()
    keep: float = 3600
    upload_seconds: float = 60
    grace: float = 30
    leaderboard: Path | None = None

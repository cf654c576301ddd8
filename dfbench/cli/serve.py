"""``dfbench serve``."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import click

from dfbench.cli.examples import examples

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Duration(click.ParamType):
    """``90s``, ``30m``, ``1h``, ``2d``: seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds, at least one."""
        found = re.fullmatch(r"(\d{1,7})([smhd])", str(value))
        if found is None or int(found[1]) == 0:
            self.fail(f"{value!r}: write a number and s, m, h or d, such as 90s or 1h", param, ctx)
        return float(int(found[1]) * UNITS[found[2]])


@click.command(
    "serve", epilog=examples("dfbench serve", "dfbench serve --model runs/RUN --workers 2 --port 8080 --keep 30m")
)
@click.option("-m", "--model", "models", multiple=True, metavar="NAME",
              help="As in dfbench predict; may be given several times, then visitors choose.  "
                   "[default: the checkpoint that comes with dfbench]")  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0: any free one.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(0, 64), metavar="N",
              help="Processes that hold the models; 0 with --store: those of other machines do.")  # fmt: skip
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1, 256), metavar="N",
              help="Of each worker's networks, on a CPU.")  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …")
@click.option("--faces", default="mtcnn", show_default=True, metavar="NAME[=FILE]", help="Face detector.")
@click.option("--parallel", default=8, show_default=True, type=click.IntRange(1, 64), metavar="N",
              help="Files that each worker decodes at a time; their faces share batches.")  # fmt: skip
@click.option("--frames", default=32, show_default=True, type=click.IntRange(1, 512), metavar="N",
              help="Frames of a video that are looked at.")  # fmt: skip
@click.option("--max-mb", default=100, show_default=True, type=click.IntRange(1, 10_000), metavar="MB",
              help="Size of a file.")  # fmt: skip
@click.option("--max-length", default="10m", show_default=True, type=Duration(), help="Length of a video.")
@click.option("--timeout", default="60s", show_default=True, type=Duration(), help="For judging one file.")
@click.option("--queue", default=64, show_default=True, type=click.IntRange(1, 100_000), metavar="N",
              help="Files that may wait; more are refused (429).")  # fmt: skip
@click.option("--rate", default=30, show_default=True, type=click.IntRange(0, 100_000), metavar="N",
              help="Files per minute and address; 0: any number.")  # fmt: skip
@click.option("--trusted-proxy", "proxies", multiple=True, metavar="ADDRESS",
              help="A reverse proxy (address or network) whose X-Forwarded-For is believed.")  # fmt: skip
@click.option("--keep", default="1h", show_default=True, type=Duration(), help="How long a result can be read.")
@click.option("--grace", default="30s", show_default=True, type=Duration(), help="For running jobs after SIGTERM.")
@click.option("--data", type=FOLDER, metavar="FOLDER",
              help="Of the job store.  [default: a temporary one, deleted at the end]")  # fmt: skip
@click.option("--store", metavar="URL", envvar="DFBENCH_STORE", show_envvar=True,
              help="Job store that several machines share (redis://…).  [default: one in --data]")  # fmt: skip
@click.option(
    "--leaderboard",
    type=FILE,
    metavar="HTML",
    help="Page to show at /leaderboard.  [default: that of the checkout, where there is one]",
)
def command(
    models: tuple[str, ...], host: str, port: int, workers: int, threads: int, device: str, faces: str, parallel: int,
    frames: int, max_mb: int, max_length: float, timeout: float, queue: int, rate: int, proxies: tuple[str, ...],
    keep: float, grace: float, data: Path | None, store: str | None, leaderboard: Path | None,
) -> int:  # fmt: skip
    """A page on which anybody can ask about a picture or a video, and a JSON API.

    It listens on this machine alone; for the world, put a reverse proxy in front of it (docs/serve.md). Only the models
    that are named here can be used. Uploads are deleted when they are judged, results after --keep.
    """
    from dfbench.errors import UsageError

    try:
        from dfbench.publish.serve.server import run
    except ImportError as error:
        raise UsageError(f"dfbench serve needs {error.name}: pip install 'dfbench-deepfake[serve]'") from None
    from dfbench.publish.serve.settings import MEGABYTE, PageSettings, WorkerSettings
    from dfbench.publish.zoo.places import default

    if not workers and store is None:
        raise UsageError("--workers 0 needs --store: without other machines nobody would judge anything")
    models = models or (default(),)
    _check(models, faces)
    with tempfile.TemporaryDirectory(prefix="dfbench-serve-") as temporary:
        worker = WorkerSettings(
            data=data or Path(temporary), store=store, models=models, faces=faces, device=device,
            threads=threads, parallel=parallel, frames=frames, upload_bytes=max_mb * MEGABYTE,
            video_seconds=max_length, job_seconds=timeout,
        )  # fmt: skip
        settings = PageSettings(
            worker=worker, host=host, port=port, workers=workers, queue=queue, rate=rate, trusted_proxies=proxies,
            keep=keep, grace=grace, leaderboard=leaderboard or _own_leaderboard(),
        )  # fmt: skip
        return run(settings, click.echo)


def _check(models: tuple[str, ...], faces: str) -> None:
    """Unknown names are errors here, in a second, and not only once a worker has loaded torch."""
    from dfbench.plugins import registry

    known = registry()
    _ = known.face_detectors[faces.partition("=")[0]]
    for model in models:
        if model not in known.zoo and "/" not in model and not Path(model).exists():
            from dfbench.publish.zoo.resolve import resolve

            resolve(model, known)  # raises, and says which there are


def _own_leaderboard() -> Path | None:
    import dfbench

    page = Path(dfbench.__file__).resolve().parents[1] / "leaderboard" / "index.html"
    return page if page.is_file() else None

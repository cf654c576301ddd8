"""``dfbench dfdc3``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from dfbench import UsageError

CONVERT = "dfbench dfdc3 convert a.pth b.pth c.pth --to dfdc3.safetensors"
SCORE = "dfbench dfdc3 score faces --weights dfdc3.safetensors --fps rates.csv"


@click.group("dfdc3", epilog=f"\b\nExamples:\n  {CONVERT}\n  {SCORE}")
def command() -> None:
    """Commands of the detector dfdc3."""


@command.command("convert", epilog=f"\b\nExamples:\n  {CONVERT}")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.argument("c", type=click.Path(path_type=Path))
@click.option("--to", default=Path("dfdc3.safetensors"), show_default=True, type=click.Path(path_type=Path))
@click.option("--body", help="EfficientNet of timm, where it is not the published B7.")
def convert(a: Path, b: Path, c: Path, to: Path, body: str | None) -> None:
    """Convert the published snapshots of networks A, B and C to one checkpoint.

    A, B, C: the files that you have downloaded, snapshot_100000.fp16.pth in the folders whose names have large_crop,
    _re_ and _seq_. Use the result with `dfbench dfdc3 score`, or train on from it with
    `dfbench eval --detector dfdc3 --preset paper --set weights=FILE`.
    """
    from dfbench_dfdc3.snapshots import ORIGINAL_BODY, convert_files

    digest = convert_files(a, b, c, to, body or ORIGINAL_BODY)
    click.echo(f"checkpoint: {to}")
    click.echo(f"sha256: {digest}")


@command.command("score", epilog=f"\b\nExamples:\n  {SCORE}")
@click.argument("clips", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--weights", required=True, type=click.Path(path_type=Path), help="A file made by `dfbench dfdc3 convert`."
)
@click.option(
    "--fps", default="30", show_default=True, help="Frame rate of the videos, or a CSV file with columns filename, fps."
)
@click.option("--to", default=Path("submission.csv"), show_default=True, type=click.Path(path_type=Path))
def score(clips: tuple[Path, ...], weights: Path, fps: str, to: Path) -> None:
    """Score videos from the frames of their faces, as the solution was submitted.

    CLIPS: folders of videos. Each video is a folder with the frames of one face, cropped and numbered, every frame
    from its first to its last; several faces of a video are folders in it. The file --to gets a line filename,label
    for each: the folder's name and P(fake). A video without a face scores 0.5, as does one in which no face has 19
    sampled frames.
    """
    from dfbench_dfdc3.config import DFDC3Config
    from dfbench_dfdc3.rates import read_rates
    from dfbench_dfdc3.scoring import find_videos, load_network, write_scores
    from dfbench_dfdc3.scoring import score as score_of
    from dfbench_dfdc3.snapshots import check_writable

    config = DFDC3Config.model_validate({})
    rate = _number(fps)
    if rate is not None and not 1 <= rate <= 1000:
        raise UsageError(f"--fps {fps}: not a frame rate from 1 to 1000")
    check_writable(to)
    videos = find_videos(clips, read_rates(Path(fps)) if rate is None else rate, f"--fps {fps}", config)
    network = load_network(weights)
    scores = {}
    with click.progressbar(videos, label="videos", file=sys.stderr, hidden=not sys.stderr.isatty()) as shown:
        for video in shown:
            scores[video.name] = score_of(network, video, config)
    write_scores(to, scores)
    unseen = sum(not video.tracks for video in videos)
    click.echo(f"scores: {to} ({len(videos)} videos)")
    if unseen:
        click.echo(f"{unseen} of them have no track of {config.shortest} sampled frames and score 0.5", err=True)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None

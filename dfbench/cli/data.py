"""``dfbench data``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfbench.cli.data_audit import audit
from dfbench.cli.data_controls import controls
from dfbench.cli.data_show import show
from dfbench.cli.examples import examples

if TYPE_CHECKING:
    from dfbench.data.audit.result import Audit
    from dfbench.data.prepare.run import Prepared

FOLDER = click.Path(path_type=Path)


@click.group("data", epilog=examples("dfbench data show", "dfbench data audit ffpp --root FaceForensics++"))
def command() -> None:
    """Public data sets: from their videos to face crops that a benchmark opens."""


command.add_command(show)
command.add_command(audit)
command.add_command(controls)


@command.command(
    "prepare",
    short_help="From videos to face crops.",
    epilog=examples("dfbench data prepare ffpp --root FaceForensics++ --out prepared/ffpp --frames 32"),
)
@click.argument("source")
@click.option("--root", required=True, type=FOLDER, help="Where the data set lies.")
@click.option("--out", required=True, type=FOLDER, help="Folder of the prepared set.")
@click.option("--option", "settings", multiple=True, metavar="KEY=VALUE", help="An option of the data set.")
@click.option("--frames", default=32, show_default=True, type=click.IntRange(1), metavar="N",
              help="Frames per video, evenly spread over it.")  # fmt: skip
@click.option("--clip", default=0, show_default=True, type=click.IntRange(0), metavar="N",
              help="Take them as clips of N consecutive frames with one box each; 0: single frames.")  # fmt: skip
@click.option("--margin", default=1.3, show_default=True, type=click.FloatRange(1, 4),
              help="Side of a crop as a multiple of the face's longer side.")  # fmt: skip
@click.option("--size", default=256, show_default=True, type=click.IntRange(16, 2048), help="Of a crop, in pixels.")
@click.option("--quality", default=95, show_default=True, type=click.IntRange(1, 100), help="Of the JPEGs.")
@click.option("--limit", default=0, show_default=True, type=click.IntRange(0), metavar="N",
              help="At most N videos of each split and method, to try it out; 0: all.")  # fmt: skip
@click.option("--faces", default="mtcnn", show_default=True, metavar="NAME[=FILE]",
              help="Face detector, with its file if it needs one: mtcnn, yunet=FILE.onnx, centre, other.")  # fmt: skip
@click.option("--workers", type=click.IntRange(0), metavar="N",
              help="Processes; 0 works in this one.  [default: one per core]")  # fmt: skip
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True,
              help="Processes of this machine, or tasks of Ray (RAY_ADDRESS names its cluster).")  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="Of the face detector: auto, cpu, cuda, cuda:1, …")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def prepare(
    source: str, root: Path, out: Path, settings: tuple[str, ...], faces: str, workers: int | None,
    engine: Any, device: str, as_json: bool, **choices: Any,
) -> None:  # fmt: skip
    """From the videos of the data set SOURCE to face crops, as a Hugging Face datasets set in a folder.

    Reals and the fakes aligned with them are cropped with the same boxes. A video that cannot be used is one line of
    report.csv. After an interruption, kill -9 or a full disk the same command goes on with the next video.
    """
    from dfbench.cli.output import print_json
    from dfbench.cli.progress import watching
    from dfbench.data.audit.prepared_set import audit_set, stored_audit
    from dfbench.data.prepare import opening
    from dfbench.data.prepare.opening import data_set
    from dfbench.data.prepare.report import summary
    from dfbench.data.prepare.run import prepare as run
    from dfbench.publish.predict.face_detectors import face_detector
    from dfbench.runs.events import DataProgress

    scan, options = opening.open_set(source, root, settings)
    chosen = face_detector("centre" if all(item.cropped for item in scan.items) else faces, device)
    options = opening.with_detector(options, choices, faces, chosen)
    with watching() as watcher:

        def progress(n: int, total: int, what: str) -> None:
            watcher.event(DataProgress(what, n, total))

        done = run(scan.items, out, options, chosen, workers=workers, engine=engine, progress=progress)
        audited = stored_audit(out, done.digest) or audit_set(
            out, second=scan.labels, missing=scan.missing, names=data_set(source).about.names, workers=workers or None,
            progress=progress,
        )  # fmt: skip
    if as_json:
        print_json({"folder": str(done.folder), "digest": done.digest, **summary(done.lines),
                    "notes": list(scan.notes), "audit": audited.document(),
                    "errors": {line["video"]: line["error"] for line in done.lines if line["error"]}})  # fmt: skip
        return
    for note in scan.notes:
        click.echo(note, err=True)
    _show(done)
    _show_audit(audited)


@command.command(
    "push",
    short_help="Send a prepared set to the Hugging Face Hub, privately.",
    epilog=examples("dfbench data push prepared/ffpp --to USER/DATASET"),
)
@click.argument("folder", type=FOLDER)
@click.option("--to", "repo", required=True, metavar="USER/DATASET", help="Made if there is none.")
@click.option("--public", is_flag=True, help="Let the repository be public: only where the data set's licence does.")
@click.option("--replace", is_flag=True, help="Let it take the place of another set.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def push(folder: Path, repo: str, public: bool, replace: bool, as_json: bool) -> None:
    """Send the prepared set in FOLDER to a private repository, in one commit.

    Most public data sets forbid to pass on their frames. The token is huggingface_hub's (hf auth login, or HF_TOKEN).
    """
    from dataclasses import asdict

    from dfbench.cli.leaderboard import transfer
    from dfbench.cli.output import print_json
    from dfbench.publish import prepared_set

    with transfer("sending") as progress:
        done = prepared_set.push(folder, repo, public=public, replace=replace, progress=progress)
    if as_json:
        print_json(asdict(done))
        return
    click.echo(f"sent: {len(done.sent)} files" if done.sent else "the set is there")
    click.echo(done.url)


@command.command(
    "pull",
    short_help="Fetch a prepared set from the Hugging Face Hub.",
    epilog=examples("dfbench data pull USER/DATASET --to prepared/ffpp"),
)
@click.argument("source", metavar="USER/DATASET[@REVISION]")
@click.option("--to", "target", required=True, type=FOLDER, help="A new folder.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def pull(source: str, target: Path, as_json: bool) -> None:
    """Fetch a prepared set at one commit; every file is checked against its sha256.

    An interrupted pull fetches the files that it lacks when it is run again.
    """
    from dfbench.cli.leaderboard import transfer
    from dfbench.cli.output import print_json
    from dfbench.publish import prepared_set

    with transfer("fetching") as progress:
        prepared_set.pull(source, target, progress=progress)
    print_json({"folder": str(target)}) if as_json else click.echo(str(target))


def _show_audit(result: Audit) -> None:
    """A line per failed check, and what failed checks mean for a benchmark."""
    from dfbench.data.audit.prepared_set import unfit

    bad = unfit(result)
    for check in result.failed:
        example = f", as {check.examples[0]}" if check.examples else ""
        click.echo(f"audit: {check.name}: {check.detail}{example}", err=True)
    if bad:
        names = ", ".join(check.name for check in bad)
        click.echo(f"audit failed ({names}): benchmarks refuse the set, unless --allow-leaks", err=True)
    else:
        click.echo(f"audit passed, {len(result.failed)} remarks" if result.failed else "audit passed", err=True)


def _show(done: Prepared) -> None:
    from dfbench.cli.output import console, table
    from dfbench.data.prepare.report import summary

    counts = summary(done.lines)
    if not done.fresh:
        click.echo("the set was finished before, with the same options; nothing was done", err=True)
    bad = [line for line in done.lines if line["error"]]
    for line in bad[:5]:
        click.echo(f"{line['video']}: {line['error']}", err=True)
    if len(bad) > 5:
        click.echo(f"… and {len(bad) - 5} more in {done.folder / 'report.csv'}", err=True)
    out = console()
    rows = [[method, str(videos)] for method, videos in counts["methods"].items()]
    out.print(table("", ["method", "videos"], rows, numbers_from=1))
    share = counts["crops"] / counts["wanted"] if counts["wanted"] else 0.0
    out.print(
        f"{counts['videos'] - counts['failed']} of {counts['videos']} videos, {counts['crops']} crops "
        f"({share:.1%} of the chosen frames)\n{done.folder}\nsha256 {done.digest}"
    )

"""``dfbench predict``."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfbench.cli.examples import examples

if TYPE_CHECKING:
    from dfbench.publish.predict.run import Answer
    from dfbench.publish.zoo.entry import CheckpointEntry

FILE = click.Path(path_type=Path, dir_okay=False)
COLUMNS = ("file", "verdict", "probability", "score", "faces", "frames", "seconds", "reason")


@click.command(
    "predict", epilog=examples("dfbench predict photo.jpg", "dfbench predict videos/ --model runs/RUN --json")
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("-m", "--model", metavar="NAME",
              help="A name of the zoo, an entry's .yaml file, a pulled or a run's folder, or a Hub id.  "
                   "[default: the demonstration that comes with dfbench]")  # fmt: skip
@click.option("--frames", default=32, show_default=True, type=click.IntRange(1, 10_000), metavar="N",
              help="Frames of a video that are looked at, evenly spread over it.")  # fmt: skip
@click.option("--faces", default="mtcnn", show_default=True, metavar="NAME[=FILE]",
              help="Face detector, with its file if it needs one; centre: the files are face crops.")  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option("--csv", "table_file", type=FILE, metavar="OUT", help="Write a line per file to OUT.")
@click.option(
    "--report", "page_file", type=FILE, metavar="OUT", help="Write a page (HTML) with faces and time lines to OUT."
)
def command(
    files: tuple[str, ...], model: str | None, frames: int, faces: str, device: str, as_json: bool,
    table_file: Path | None, page_file: Path | None,
) -> None:  # fmt: skip
    """How likely pictures and videos are deepfakes, where the model can say so.

    FILE is a picture, a video, a folder of them or a pattern. The verdict is likely fake, likely real, inconclusive, no
    face found or not supported. A model that was trained in a laboratory calls nobody's picture real or fake: it shows
    its score. A file that cannot be judged is one line, and the others go on; the exit code is 3 if no file could be.
    """
    from dfbench.cli.output import print_json
    from dfbench.cli.progress import watching
    from dfbench.errors import DataError
    from dfbench.plugins import registry
    from dfbench.publish.predict.face_detectors import face_detector
    from dfbench.publish.predict.inputs import collect
    from dfbench.publish.predict.looking import Options
    from dfbench.publish.predict.run import Judge, document, identity, judge_all
    from dfbench.publish.zoo.places import default
    from dfbench.publish.zoo.resolve import fetch, resolve
    from dfbench.runs.events import DataProgress

    paths = collect(files)
    known = registry()
    located = fetch(resolve(model or default(), known, _notice), _notice)
    judge = Judge(located, known, face_detector(faces, device).make(), device)
    answers: list[Answer] = []
    with watching() as watcher:
        for answer in judge_all(
            judge, paths, Options(frames), lambda n, total, what: watcher.event(DataProgress(what, n, total))
        ):
            answers.append(answer)
    entry = judge.entry
    if as_json:  # before files are written: a full disk must not lose the answers
        print_json({"model": identity(entry), "files": [document(answer) for answer in answers]})
    else:
        _show(entry, answers)
    if table_file is not None:
        _write_table(table_file, answers)
    if page_file is not None:
        from dfbench.publish.predict.page import write_page

        write_page(page_file, entry, answers)
    wrong = [answer for answer in answers if answer.error]
    if len(wrong) == len(answers):
        raise DataError(f"{wrong[0].path}: {wrong[0].error}" + (f" ({len(wrong)} files)" if len(wrong) > 1 else ""))


def _show(entry: CheckpointEntry, answers: list[Answer]) -> None:
    from rich.text import Text

    from dfbench.cli.output import console, number, say, table

    colours = {"likely fake": "red", "likely real": "green", "inconclusive": "yellow"}
    rows: list[list[str | Text]] = []
    for answer in answers:
        said = answer.judgement
        rows.append(
            [str(answer.path), Text(said.verdict, style=colours.get(said.verdict, "dim")), number(said.probability),
             number(said.score), str(len(answer.faces)), _looked_at(answer), f"{answer.seconds:.1f} s"]
        )  # fmt: skip
    columns = ["file", "verdict", "P(fake)", "score", "faces", "frames", "time"]
    ranks = ["verdict", "P(fake)", "score", "faces", "frames", "time"]
    console().print(table("", columns, rows, numbers_from=2, keys=1, ranks=ranks))
    reasons: dict[str, list[str]] = {}
    for answer in answers:
        for text in filter(None, [answer.judgement.reason, *answer.notes]):
            reasons.setdefault(text, []).append(answer.path.name)
    for text, names in reasons.items():
        shown = "all files" if len(names) == len(answers) > 1 else ", ".join(names[:3])
        say(f"{shown}{f' and {len(names) - 3} more' if len(names) > 3 and shown != 'all files' else ''}: {text}")
    say(about(entry))


def _looked_at(answer: Answer) -> str:
    return "–" if answer.facts is None else f"{answer.looked_at}/{answer.facts.frames}"


def about(entry: CheckpointEntry) -> str:
    """What the model is, how often it is wrong and what it cannot do, in a few sentences."""
    from dfbench.publish.predict.verdict import calibration_of

    training = entry.training
    seen = ", ".join(training.experiences)
    text = f"model: {entry.name}, trained under {training.strategy} on {training.benchmark} ({seen})"
    if (calibration := calibration_of(entry)) is None:
        return f"{text}; not calibrated"
    wrong = calibration.false_positive_rate
    return (
        f"{text}. Above P(fake) {calibration.fake_above:.2f} a face is called fake: on test identities of that "
        f"benchmark this was wrong for {wrong.value:.1%} of the real pictures (95 % interval {wrong.low:.1%} to "
        f"{wrong.high:.1%}). {entry.limits}"
    )


def _write_table(path: Path, answers: list[Answer]) -> None:
    from dfbench.files import write_whole

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for answer in answers:
        said = answer.judgement
        figures = ["" if value is None else f"{value:.6f}" for value in (said.probability, said.score)]
        writer.writerow([_cell(str(answer.path)), said.verdict, *figures, len(answer.faces), answer.looked_at,
                         f"{answer.seconds:.3f}", _cell(said.reason)])  # fmt: skip
    write_whole(path, text.getvalue().encode("utf-8", "backslashreplace"))


def _cell(text: str) -> str:
    """The text; a spreadsheet runs what begins like a formula, so that gets an apostrophe."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _notice(text: str) -> Any:
    click.echo(text, err=True)

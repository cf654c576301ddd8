"""Whether a record's options are those that the file which it names chose, and whether that choice follows."""

from __future__ import annotations

from collections.abc import Iterator

from dfbench.errors import DataError
from dfbench.files import sha256_of
from dfbench.publish.verification.finding import Finding
from dfbench.records.choice import ChoiceFile, read_choice
from dfbench.records.finished import FinishedRun
from dfbench.records.record import RECORD, Record

WHAT = "chosen_from"


def choice_findings(run: FinishedRun) -> list[Finding]:
    """The finding on the file that chose a run's options; none where no file did.

    The file is checked by itself: the identities of its validation runs follow from their specs, its means from its
    values, its choice from its means. Validation runs that lie next to the run are compared with it.
    """
    about = run.record.chosen_from
    if about is None:
        return []
    path = run.chosen_file
    if path is None:
        return [Finding(WHAT, None, f"{about.name} is not here")]
    if (found := sha256_of(path)) != about.sha256:
        return [Finding(WHAT, False, f"the record names {about.sha256[:12]}…, the file here is {found[:12]}…")]
    try:
        file, _ = read_choice(path)
    except DataError as error:
        return [Finding(WHAT, False, str(error))]
    problem = next(_problems(run, file), "")
    return [Finding(WHAT, not problem, problem)]


def _problems(run: FinishedRun, file: ChoiceFile) -> Iterator[str]:
    record = run.record
    if record.chosen_from is not None and record.chosen_from.metric != file.metric:
        yield f"the record says that {record.chosen_from.metric} chose, the file {file.metric}"
    best = file.evidence(record.spec)
    if best is None:
        yield "the file did not choose these options for this detector, strategy and data"
        return
    for each in best.runs:
        path = run.folder.parent / each.run / RECORD
        if run.on_board or not path.is_file():
            continue
        try:
            there = Record.read(path)
        except DataError as error:
            yield str(error)
            return
        same = (there.metrics.get(file.metric), there.scores_sha256) == (each.value, each.scores_sha256)
        if there.identity == each.identity and not same:
            yield f"the file has other scores of {each.run} than its record here"

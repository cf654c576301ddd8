"""``dfbench verify``."""

from __future__ import annotations

import contextlib
import shlex
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfbench.cli.examples import examples

if TYPE_CHECKING:
    from dfbench.plugins import Registry
    from dfbench.publish.verification.imported import ImportedRowHere
    from dfbench.publish.verification.rerun import Rerun
    from dfbench.publish.verification.samples import SampleCheck
    from dfbench.records.finished import FinishedRun


@click.command(
    "verify",
    epilog=examples(
        "dfbench verify runs/RUN",
        "dfbench verify leaderboard/results/*.json --no-data",
        "dfbench verify runs/RUN --rerun",
    ),
)
@click.argument("records", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--rerun", is_flag=True, help="Train again with the record's spec, and compare.")
@click.option("--out", type=click.Path(path_type=Path), help="Keep the new runs here (default: a temporary folder).")
@click.option("-b", "--benchmark", help="The stream's .yaml file, where the record's benchmark is not registered.")
@click.option("--device", help="Train on this device (default: the record's).")
@click.option("--data-root", envvar="DFBENCH_DATA", type=click.Path(path_type=Path), show_envvar=True,
              help="Folder that holds the data sets.")  # fmt: skip
@click.option("--tolerance", default=0.02, show_default=True, type=click.FloatRange(min=0),
              help="How far the average may be off where scores differ; thrice that per experience.")  # fmt: skip
@click.option("--from", "dataset", metavar="USER/DATASET",
              help="Fetch scores that a leaderboard's records lack from this data set of the Hub.")  # fmt: skip
@click.option("--no-data", is_flag=True, help="Do not compare the scored samples with the benchmark's data.")
@click.option("--write", is_flag=True, help="Write the status into the record: recomputed or reproduced.")
@click.option("--by", help="Who verified, for the record.")
@click.option("-v", "--verbose", is_flag=True, help="Every finding of every record.")
@click.option("-q", "--quiet", is_flag=True, help="Only what is wrong, and the total.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list on stdout.")
def command(
    records: tuple[Path, ...],
    rerun: bool,
    out: Path | None,
    benchmark: str | None,
    device: str | None,
    data_root: Path | None,
    tolerance: float,
    dataset: str | None,
    no_data: bool,
    write: bool,
    by: str | None,
    verbose: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Check RECORDS (folders of runs or .json files): every metric from the scores, every hash, the spec.

    Of a leaderboard's imported rows (imported/*.json) every metric is checked; they cannot be rerun.

    Where the benchmark's data are available, the scored samples and their labels must be its own (forge5 is rendered
    for that, once: --no-data leaves this out).

    A leaderboard's scores may be left out of its checkout: nothing is fetched unless --from says where they lie. Exit
    code 0 when all that can be checked is right, 1 otherwise, and where --from did not give the scores of a record.
    """
    from dfbench.cli.output import next_steps, print_json, say
    from dfbench.errors import DfbenchError, UsageError
    from dfbench.plugins import registry
    from dfbench.publish.verification.imported import ImportedRowHere, is_imported
    from dfbench.records.finished import FinishedRun
    from dfbench.records.imported import ImportedRow

    if not rerun and (out or benchmark or device):
        raise UsageError("--out, --benchmark and --device say how to train again: add --rerun")
    imported = [ImportedRowHere(path, ImportedRow.read(path)) for path in records if is_imported(path)]
    runs = [FinishedRun.open(path) for path in records if not is_imported(path)]
    if rerun and imported:
        raise UsageError(f"{imported[0].path}: imported scores, which nothing here can make again: leave out --rerun")
    if dataset is not None:
        _fetch(runs, imported, dataset)
    options = {"benchmark": benchmark, "device": device, "data_root": data_root, "tolerance": tolerance}
    results = []
    for each in imported:
        results.append(_verify_imported(each))
        if not as_json and (not quiet or results[-1]["ok"] is False):
            _print(results[-1], verbose)
    check = sample_check(registry(), data_root, benchmark, quiet or as_json)
    with contextlib.nullcontext() if no_data else check as samples:
        for run in runs:
            results.append(_verify(run, registry(), samples, rerun, out, options, write, by))
            if not as_json and (not quiet or results[-1]["ok"] is False):
                _print(results[-1], verbose)
    if as_json:
        print_json(results)
    else:
        say(_total(results))
    unchecked = [result["run"] for result in results if result["ok"] is None]
    bad = [result["run"] for result in results if not result["ok"] and (result["ok"] is False or dataset is not None)]
    if unchecked:
        click.echo(f"{len(unchecked)} of {len(records)} records not checked: their scores are not here", err=True)
    if bad:
        raise DfbenchError(
            f"{len(bad)} of {len(records)} records not verified: {', '.join(bad[:3])}{', …' * (len(bad) > 3)}"
        )
    if runs and not (as_json or quiet):
        next_steps(*_steps(runs, rerun))


def _fetch(runs: list[FinishedRun], imported: list[ImportedRowHere], dataset: str) -> None:
    """Fetch the packs that the records on leaderboards lack, and say which could not be had."""
    from dfbench.cli.leaderboard import transfer
    from dfbench.publish.board.dataset import pull
    from dfbench.records.packed_scores import pack_path

    wanted: dict[Path, set[str]] = {}
    for each in imported:
        if not each.pack.is_file():
            wanted.setdefault(each.board, set()).add(each.pack.relative_to(each.board).as_posix())
    for run in runs:
        if run.on_board and run.scores_file is None:
            board = run.folder.parent
            wanted.setdefault(board, set()).add(pack_path(board, run.record.spec).relative_to(board).as_posix())
    for board, paths in wanted.items():
        with transfer("fetching scores") as progress:
            done = pull(board, dataset, paths, progress=progress)
        for path in sorted(paths - set(done.fetched)):
            click.echo(f"{board / path}: {done.refused.get(path, 'scores.json does not name it')}", err=True)


def _verify_imported(here: ImportedRowHere) -> dict[str, Any]:
    """What is printed of an imported row; its ``ok`` is None where its scores are not here."""
    from dfbench.publish.verification.checks import failures
    from dfbench.publish.verification.imported import verify

    findings = verify(here)
    right = False if failures(findings) else True if here.pack.is_file() else None
    return {
        "run": here.row.run,
        "record": str(here.path),
        "ok": right,
        "status": here.row.status if right else "not verified" if right is False else "not checked",
        "written": False,
        "findings": [{"what": f.what, "ok": f.ok, "detail": f.detail} for f in findings],
        "rerun": None,
    }


@contextlib.contextmanager
def sample_check(
    known: Registry, data_root: Path | None = None, benchmark: str | None = None, quiet: bool = False
) -> Iterator[SampleCheck]:
    """What compares scored samples with their data, and shows on stderr that data are rendered or read."""
    from dfbench.cli.progress import watching
    from dfbench.publish.verification.samples import SampleCheck

    with watching(quiet=quiet) as watcher:
        yield SampleCheck(known, data_root, benchmark, watcher)


def _verify(
    run: FinishedRun, known: Registry, samples: SampleCheck | None, again: bool, out: Path | None,
    options: dict[str, Any], write: bool, by: str | None,
) -> dict[str, Any]:  # fmt: skip
    """What is printed of one run; its ``ok`` is None where its scores are not here. Writes its status if asked to."""
    from dfbench.publish.verification.checks import failures, verify
    from dfbench.publish.verification.rerun import attach
    from dfbench.records.record import STATUSES

    findings = verify(run, known, samples)
    right = False if failures(findings) else None if run.scores_file is None else True
    found, written = None, False
    if again and right:
        with contextlib.ExitStack() as stack:
            place = out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dfbench-verify-")))
            found = _train_again(run, known, place, options)
        right = found.agreement != "differs"
    status = run.record.status
    if right:
        status = "reproduced" if found else max(status, "recomputed", key=STATUSES.index)
        written = write and (found is not None or status != run.record.status)
        if written:
            attach(run.record, found, by).write(run.path)
    return {
        "run": run.record.run,
        "record": str(run.path),
        "ok": right,
        "status": status if right else "not verified" if right is False else "not checked",
        "written": written,
        "findings": [{"what": f.what, "ok": f.ok, "detail": f.detail} for f in findings],
        "rerun": None if found is None else {
            "agreement": found.agreement, "average_difference": found.difference,
            "largest_difference": found.largest, "tolerance": found.tolerance,
            "counts": list(found.counts), "changed": list(found.changed), "sentence": found.sentence,
            "closeness": found.closeness, "torch": list(found.torch),
            "metrics": {name: list(values) for name, values in found.metrics.items()},
        },
    }  # fmt: skip


def _train_again(run: FinishedRun, known: Registry, place: Path, options: dict[str, Any]) -> Rerun:
    from dfbench.cli.progress import watching
    from dfbench.errors import Interrupted
    from dfbench.publish.verification.rerun import rerun

    with watching() as watcher, contextlib.redirect_stdout(sys.stderr):
        try:
            return rerun(run, known, watcher, place, **options)
        except KeyboardInterrupt as error:
            raise Interrupted("interrupted; with --out the same command goes on from the last experience") from error


def _print(result: dict[str, Any], verbose: bool) -> None:
    """One line per record; findings where they are wrong, or all of them."""
    from rich.text import Text

    from dfbench.cli.output import console, say

    out = console()
    words = {True: ("ok", "green"), False: ("WRONG", "red"), None: ("skipped", "yellow")}
    why = next((f["detail"] for f in result["findings"] if f["what"] == "scores_sha256"), "")
    status = f": {why if result['ok'] is None else result['status']}"
    near = f", {result['rerun']['closeness']}" if result["rerun"] and result["ok"] else ""
    written = ", written into the record" if result["written"] else ""
    out.print(Text.assemble(words[result["ok"]], f"  {result['run']}{status}{near}{written}"))
    for finding in result["findings"]:
        if verbose or finding["ok"] is False:
            detail = f": {finding['detail']}" if finding["detail"] else ""
            out.print(Text.assemble("    ", words[finding["ok"]], f" {finding['what']}{detail}"))
    if result["rerun"]:
        say(result["rerun"]["sentence"])


def _total(results: list[dict[str, Any]]) -> str:
    """``151 records: 151 ok (not checked: weights_sha256 of 151)``."""
    kinds = {"ok": True, "wrong": False, "skipped": None}
    counts = [f"{n} {word}" for word, ok in kinds.items() if (n := sum(r["ok"] is ok for r in results))]
    missing = Counter(f["what"] for r in results for f in r["findings"] if f["ok"] is None and r["ok"] is not None)
    left = ", ".join(f"{what} of {count}" if len(results) > 1 else what for what, count in missing.items())
    records = f"{len(results)} record{'s' * (len(results) != 1)}"
    return f"{records}: {', '.join(counts)}" + (f" (not checked: {left}; -v says why)" if left else "")


def _steps(runs: list[FinishedRun], again: bool) -> list[str]:
    name = shlex.quote(str(runs[0].path if runs[0].on_board else runs[0].folder)) if len(runs) == 1 else "RECORD"
    steps = [] if again else [f"dfbench verify {name} --rerun (trains it once more)"]
    return steps if any(run.on_board for run in runs) else [*steps, f"dfbench leaderboard add {name}"]

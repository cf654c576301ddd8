"""``dfbench verify``."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import click


@click.command("verify")
@click.argument("records", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--rerun", is_flag=True, help="Train again with the record's spec, and compare.")
@click.option("--out", type=click.Path(path_type=Path), help="Keep the new runs here (default: a temporary folder).")
@click.option("-b", "--benchmark", help="The stream's .yaml file, where the record's benchmark is not registered.")
@click.option("--device", help="Train on this device (default: the record's).")
@click.option("--data-root", envvar="DFBENCH_DATA", type=click.Path(path_type=Path), show_envvar=True,
              help="Folder that holds the data sets.")  # fmt: skip
@click.option("--tolerance", default=0.02, show_default=True, type=click.FloatRange(min=0),
              help="How far the average may be off where scores differ; an experience thrice.")  # fmt: skip
@click.option("--write", is_flag=True, help="Write the status into the record: recomputed or reproduced.")
@click.option("--by", help="Who verified, for the record.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list on stdout.")
def command(
    records: tuple[Path, ...],
    rerun: bool,
    out: Path | None,
    benchmark: str | None,
    device: str | None,
    data_root: Path | None,
    tolerance: float,
    write: bool,
    by: str | None,
    as_json: bool,
) -> None:
    """Check RECORDS (folders of runs or .json files): every metric from the scores, every hash, the spec.

    Exit code 0 when all that can be checked is right, 1 otherwise.
    """
    from dfbench.cli.output import print_json
    from dfbench.errors import DfbenchError, UsageError
    from dfbench.plugins import registry
    from dfbench.publish.verification.checks import Source

    if not rerun and (out or benchmark or device):
        raise UsageError("--out, --benchmark and --device say how to train again: add --rerun")
    sources = [Source.open(path) for path in records]
    options = {"benchmark": benchmark, "device": device, "data_root": data_root, "tolerance": tolerance}
    results, bad = [], []
    for source in sources:
        result, right = _verify(source, registry(), rerun, out, options, write, by)
        results.append(result)
        if not as_json:
            _print(result)
        if not right:
            bad.append(source.record.run)
    if as_json:
        print_json(results)
    if bad:
        raise DfbenchError(
            f"{len(bad)} of {len(sources)} records not verified: {', '.join(bad[:3])}{', …' * (len(bad) > 3)}"
        )


def _verify(
    source: Any, known: Any, again: bool, out: Path | None, options: dict[str, Any], write: bool, by: str | None
) -> tuple[dict[str, Any], bool]:
    """(what is printed, whether all is right) of one record; writes its status if asked to."""
    from dfbench.files import write_json
    from dfbench.publish.verification.checks import failures, verify
    from dfbench.publish.verification.rerun import attach

    findings = verify(source, known)
    right = not failures(findings) and source.scores is not None
    found, written = None, False
    if again and right:
        with contextlib.ExitStack() as stack:
            place = out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dfbench-verify-")))
            found = _train_again(source, known, place, options)
        right = found.agreement != "differs"
    status = source.record.status
    if right:
        status = "reproduced" if found else max(status, "recomputed", key=_rank)
        written = write and (found is not None or status != source.record.status)
        if written:
            write_json(source.path, attach(source.value, found, by))
    return {
        "run": source.record.run,
        "record": str(source.path),
        "ok": right,
        "status": status if right else "not verified",
        "written": written,
        "findings": [{"what": f.what, "ok": f.ok, "detail": f.detail} for f in findings],
        "rerun": None if found is None else {
            "agreement": found.agreement, "average_difference": found.difference,
            "largest_difference": found.largest, "tolerance": found.tolerance,
            "changed": list(found.changed), "sentence": found.sentence,
        },
    }, right  # fmt: skip


def _train_again(source: Any, known: Any, place: Path, options: dict[str, Any]) -> Any:
    from dfbench.cli.progress import watching
    from dfbench.errors import Interrupted
    from dfbench.publish.verification.rerun import rerun

    with watching() as reporter, contextlib.redirect_stdout(sys.stderr):
        try:
            return rerun(source, known, reporter, place, **options)
        except KeyboardInterrupt as error:
            raise Interrupted("interrupted; with --out the same command goes on from the last experience") from error


def _rank(status: str) -> int:
    from dfbench.records.record import STATUSES

    return [str(s) for s in STATUSES].index(status)


def _print(result: dict[str, Any]) -> None:
    from rich.markup import escape

    from dfbench.cli.output import console

    out = console()
    out.print(f"[bold]{escape(result['run'])}[/]")
    words = {True: "[green]right[/]", False: "[red]WRONG[/]", None: "[yellow]not checked[/]"}
    for finding in result["findings"]:
        detail = f": {escape(finding['detail'])}" if finding["detail"] else ""
        out.print(f"  {words[finding['ok']]} {escape(finding['what'])}{detail}")
    if result["rerun"]:
        out.print(f"  {escape(result['rerun']['sentence'])}")
    out.print(f"  status: {result['status']}{' (written)' if result['written'] else ''}")

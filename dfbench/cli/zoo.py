"""``dfbench zoo``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfbench.cli.examples import examples

if TYPE_CHECKING:
    from dfbench.publish.hub.push import Plan
    from dfbench.publish.zoo.checkpoint import LocatedEntry

FOLDER = click.Path(path_type=Path)


@click.group("zoo", epilog=examples("dfbench zoo list", "dfbench zoo pull simple_cnn-replay-forge5"))
def command() -> None:
    """Trained checkpoints: with dfbench, from plugins, and on the Hugging Face Hub.

    NAME is a name of the zoo, an entry's .yaml file, a folder, or a Hub id: user/repo[@revision].
    """


@command.command("list", short_help="Every checkpoint of the zoo.", epilog=examples("dfbench zoo list --json"))
@click.option("--json", "as_json", is_flag=True, help="One JSON list on stdout.")
def list_checkpoints(as_json: bool) -> None:
    """Every checkpoint of the zoo: what it is, what it reached, and whether its files are on this machine."""
    from dfbench.cli.output import console, number, print_json, table
    from dfbench.errors import DfbenchError
    from dfbench.plugins import registry
    from dfbench.publish.zoo.checkpoint import entries

    known = registry()
    rows: list[list[str]] = []
    listed: list[dict[str, Any]] = []
    for name, found in entries(known):
        if isinstance(found, DfbenchError):
            listed.append({"name": name, "error": str(found)})
            click.echo(f"{name}: {found}", err=True)
            continue
        entry = found.entry
        listed.append({**entry.document(), "error": None, "here": found.present})
        cells = [name, f"{entry.detector} {entry.preset}", entry.training.strategy, entry.training.benchmark,
                 number(entry.results.average), f"{entry.weights.size / 1e6:.1f}", entry.licence.weights,
                 "yes" if found.present else "no", known.zoo.plugin(name).distribution]  # fmt: skip
        rows.append(cells)
    if as_json:
        print_json(listed)
        return
    columns = ["name", "detector", "strategy", "trained on", "average", "MB", "licence", "here", "from"]
    ranks = ["average", "trained on", "strategy", "detector", "here", "licence", "MB", "from"]
    console().print(table("", columns, rows, keys=1, ranks=ranks))


@command.command(
    "show",
    short_help="Everything that is known of a checkpoint.",
    epilog=examples("dfbench zoo show simple_cnn-replay-forge5"),
)
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def show(name: str, as_json: bool) -> None:
    """Everything that is known of a checkpoint."""
    import yaml

    from dfbench.cli.output import console, print_json

    found = _resolve(name)
    if as_json:
        print_json({**found.entry.document(), "here": found.present, "weights": str(found.weights)})
        return
    text = yaml.safe_dump(found.entry.document(), sort_keys=False, allow_unicode=True, width=110)
    console().print(text.rstrip())
    console().print(f"weights: {found.weights}{'' if found.present else ' (dfbench zoo pull fetches them)'}")


@command.command(
    "pull",
    short_help="Fetch a checkpoint and check its sha256.",
    epilog=examples("dfbench zoo pull simple_cnn-replay-forge5", "dfbench zoo pull USER/REPO@REVISION --to checkpoint"),
)
@click.argument("name")
@click.option("--to", "target", type=FOLDER, help="Copy it to this new folder too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def pull(name: str, target: Path | None, as_json: bool) -> None:
    """Fetch a checkpoint at one commit and check its sha256; nothing wrong is kept, nothing is fetched twice.

    Files that can run code when they are read (pickles: .bin, .pt, …) are never fetched.
    """
    from dfbench.cli.output import console, next_steps, print_json
    from dfbench.publish.zoo.resolve import fetch

    found = fetch(_resolve(name), _notice).check()
    entry, folder = found.entry, found.folder
    if target is not None:
        from dfbench.publish.hub.pull import export

        folder = export(folder, entry, target)
    if as_json:
        hub = None if entry.hub is None else entry.hub.model_dump()
        print_json(
            {"name": entry.name, "folder": str(folder), "hub": hub, "files": [f.model_dump() for f in entry.files]}
        )
        return
    where = "with dfbench" if entry.hub is None else f"{entry.hub.repo} at {entry.hub.commit}"
    console().print(f"{entry.name} ({where}): every sha256 is right\nfolder: {folder}")
    next_steps(shlex.join(["dfbench", "zoo", "verify", name]), f"in Python: dfbench.load({name!r}).predict(picture)")


@command.command(
    "push",
    short_help="Publish a finished run on the Hugging Face Hub.",
    epilog=examples(
        "dfbench zoo push runs/RUN --to USER/REPO --dry-run",
        "dfbench zoo push runs/RUN --to USER/REPO --licence CC-BY-NC-4.0",
    ),
)
@click.argument("run", type=FOLDER)
@click.option("--to", "hub_id", metavar="USER/REPO", help="Repository (default: yours, called as the checkpoint).")
@click.option("--dry-run", is_flag=True, help="Show every file and the model card; send nothing.")
@click.option("--private", is_flag=True, help="Make a new repository private.")
@click.option("--parent", metavar="COMMIT", help="Refuse if the repository is at any other commit than this.")
@click.option("--name", help="Name of the checkpoint (default: detector-strategy-benchmark, made plain).")
@click.option("--licence", "weights_licence", default="unknown", show_default=True,
              help="Licence of the weights, as the training data allow it (SPDX, e.g. apache-2.0).")  # fmt: skip
@click.option("--limits", help="What the checkpoint must not be used for or cannot do, in your words.")
@click.option("--scores", is_flag=True, help="Send the per-sample scores too (scores.parquet).")
@click.option("--entry", "entry_folder", type=FOLDER, help="Write the zoo entry NAME.yaml into this folder.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def push(
    run: Path, hub_id: str | None, dry_run: bool, private: bool, parent: str | None, entry_folder: Path | None,
    as_json: bool, **facts: Any,
) -> None:  # fmt: skip
    """Publish the finished RUN (its folder): weights, model card, results and record in one commit.

    Nobody's work is overwritten: if somebody else pushes at the same time, this push ends or goes on top. Rerun the
    command after an interruption; what arrived is not sent twice. The token is huggingface_hub's
    (hf auth login, or HF_TOKEN).
    """
    from dfbench.cli.output import console, print_json
    from dfbench.plugins import registry
    from dfbench.publish.hub import push as hub
    from dfbench.publish.zoo.entry import write_entry

    if dry_run and hub_id is None:
        raise click.UsageError("--dry-run needs --to USER/REPO: without it the Hub is asked who you are")
    if facts["weights_licence"] == "unknown":
        _notice("the licence of the weights is not stated (--licence): nobody may rely on using them")
    plan = hub.plan(run, hub_id, registry(), **facts)
    if dry_run:
        _show_plan(plan, as_json)
        return
    done = hub.push(plan, private, parent, notice=_notice)
    if entry_folder is not None:
        write_entry(done.entry, entry_folder / f"{done.entry.name}.yaml")
    if as_json:
        print_json({"repo": done.repo, "commit": done.commit, "url": done.url, "changed": done.changed,
                    "replaced": done.replaced, "files": _files(plan), "entry": done.entry.document()})  # fmt: skip
        return
    what = f"pushed {len(done.files)} files" if done.changed else "nothing has changed; no commit was made"
    console().print(f"{done.repo}: {what}\ncommit {done.commit}\n{done.url}")


@command.command(
    "verify",
    short_help="Check hashes and network, and recompute the recorded scores.",
    epilog=examples("dfbench zoo verify simple_cnn-replay-forge5", "dfbench zoo verify USER/REPO --no-scores"),
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--no-scores", is_flag=True, help="Do not recompute the scores.")
@click.option("-b", "--benchmark", help="The stream's .yaml file, if it is not registered.")
@click.option("--data-root", envvar="DFBENCH_DATA", type=FOLDER, show_envvar=True,
              help="Folder that holds the data sets, each under its source's name.")  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …")
@click.option("--json", "as_json", is_flag=True, help="One JSON list on stdout.")
def verify(
    names: tuple[str, ...], no_scores: bool, benchmark: str | None, data_root: Path | None, device: str, as_json: bool
) -> None:
    """Check that checkpoints are what their entries say, and recompute the recorded scores.

    The exit code is 3 if anything is wrong.
    """
    from dfbench.cli.output import console, print_json, table
    from dfbench.cli.progress import watching
    from dfbench.errors import DataError
    from dfbench.plugins import registry
    from dfbench.publish.zoo.resolve import fetch
    from dfbench.publish.zoo.verification import verify as check

    results: dict[str, list[Any]] = {}
    with watching() as watcher:
        for name in names:
            located = fetch(_resolve(name), _notice)
            results[name] = check(
                located, registry(), scores=not no_scores, benchmark=benchmark, data_root=data_root, device=device,
                listener=watcher,
            )  # fmt: skip
    if as_json:
        print_json([{"name": name, "checks": [vars(c) for c in checks]} for name, checks in results.items()])
    else:
        from rich.text import Text

        colours = {"ok": "green", "failed": "red", "skipped": "yellow"}
        rows = [[name, c.name, Text(c.status, style=colours[c.status]), c.detail]
                for name, checks in results.items() for c in checks]  # fmt: skip
        console().print(table("", ["checkpoint", "check", "", ""], rows))
    wrong = [f"{name}: {c.detail}" for name, checks in results.items() for c in checks if c.status == "failed"]
    if wrong:
        raise DataError(wrong[0] + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""))


@command.command(
    "calibrate",
    short_help="Make a checkpoint's scores probabilities, and measure its errors.",
    epilog=examples("dfbench zoo calibrate runs/RUN", "dfbench zoo calibrate zoo/simple_cnn-replay-forge5.yaml"),
)
@click.argument("checkpoint", metavar="RUN|ENTRY.yaml", type=FOLDER)
@click.option("-b", "--benchmark", help="The stream's .yaml file, if it is not registered.")
@click.option("--data-root", envvar="DFBENCH_DATA", type=FOLDER, show_envvar=True,
              help="Folder that holds the data sets, each under its source's name.")  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def calibrate(checkpoint: Path, benchmark: str | None, data_root: Path | None, device: str, as_json: bool) -> None:
    """Fit Platt scaling on the validation identities of the benchmark; measure the errors on its test identities.

    The result is stored in the run's folder, or in the entry, and dfbench predict uses it. Features of training
    pictures are stored too, so that a face unlike all of them is recognised.
    """
    from dfbench.cli.output import console, print_json
    from dfbench.cli.progress import watching
    from dfbench.plugins import registry
    from dfbench.publish.zoo.calibrated import calibrate_and_store

    with watching() as watcher:
        found = calibrate_and_store(checkpoint, registry(), benchmark, data_root, device, watcher)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    c = found.calibration
    lines = [
        f"P = σ({c.slope:.3f} · logit(score) {c.intercept:+.3f}), "
        f"from {c.samples} validation units of {c.people} people",
        f"expected calibration error on the test sets: {c.ece_before:.3f} → {c.ece_after:.3f}",
        f"called fake above {c.fake_above:.3f}, real below {c.real_below:.3f}; chosen so that on the validation data "
        f"{c.error_rate:.0%} of each class are wrong at most",
        *(
            f"{name} on test identities: {m.value:.1%} (95 % interval {m.low:.1%} to {m.high:.1%})"
            for name, m in (("reals called fake", c.false_positive_rate), ("fakes called real", c.false_negative_rate),
                            ("nothing said", c.inconclusive))
        ),
    ]  # fmt: skip
    console().print("\n".join(lines))


def _resolve(name: str) -> LocatedEntry:
    from dfbench.plugins import registry
    from dfbench.publish.zoo.resolve import resolve

    return resolve(name, registry(), _notice)


def _notice(text: str) -> None:
    click.echo(text, err=True)


def _files(plan: Plan) -> list[dict[str, Any]]:
    return [{"path": file.path, "size": file.size, "sha256": file.sha256} for file in plan.files]


def _show_plan(plan: Plan, as_json: bool) -> None:
    from dfbench.cli.output import console, print_json, table

    card = next(file.content for file in plan.files if file.path == "README.md")
    assert isinstance(card, bytes)
    if as_json:
        print_json({"repo": plan.repo, "files": _files(plan), "card": card.decode(), "entry": plan.entry.document()})
        return
    rows = [[file["path"], f"{file['size']:,}", file["sha256"]] for file in _files(plan)]
    console().print(table(f"would be sent to {plan.repo}", ["file", "bytes", "sha256"], rows))
    console().print(card.decode())

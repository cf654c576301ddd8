"""Prepare a whole set: groups in worker processes, a part per video, shards of parts, the report.

While a set is being made, the folder ``.work`` holds the options that it was begun with, a lock, and the part of
every finished video. Parts become a shard when all groups of the shard are done, and ``prepared.json`` comes last:
after ``kill -9`` the same command goes on with the first video that has no part.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from dfbench.data.prepare import crew, ray_crew, report, shards
from dfbench.data.prepare.item import Item
from dfbench.data.prepare.jobs import ADVICE, DetectorChoice, Job, part_path
from dfbench.data.prepare.options import Options, difference
from dfbench.data.prepare.plan import Group, Shard, check_items, fingerprint, limited, make_groups, make_shards
from dfbench.data.prepare.shards import WORK
from dfbench.data.ray_cluster import need_ray
from dfbench.data.workers import Progress, cores, silent
from dfbench.documents import read_json
from dfbench.errors import DataError, DfbenchError, Interrupted, StorageError
from dfbench.files import sha256_of, write_json, write_whole, writing

Engine = Literal["local", "ray"]
"""What runs the groups."""


@dataclass(frozen=True)
class Prepared:
    """A finished set.

    Attributes:
        folder: where it is.
        digest: SHA-256 (hex) over all of its crops and their rows.
        lines: of the report, one per video.
        fresh: False where the set had been finished before.
    """

    folder: Path
    digest: str
    lines: list[dict[str, Any]]
    fresh: bool = True


def prepare(
    items: Sequence[Item],
    out: Path,
    options: Options,
    detector: DetectorChoice,
    *,
    workers: int | None = None,
    engine: Engine = "local",
    progress: Progress | None = None,
) -> Prepared:
    """Make the set, or go on with it.

    Args:
        items: what the data set's reader found.
        out: the set's folder: new, empty, or begun with the same options and items.
        options: how to crop.
        detector: the face detector, for the worker processes.
        workers: processes; 0 works in this one, None takes one per core.
        engine: ``local`` processes, or tasks of ``ray``; the bytes are the same.
        progress: called with the number of videos that are done.

    Raises:
        DataError: the items break the contract, the folder holds something else, or no video has a crop.
        DfbenchError: another process prepares this set.
        StorageError: the disk is full.
        Interrupted: by Ctrl-C.
        UsageError: Ray is wanted and not installed.
    """
    if engine == "ray":
        need_ray()
    check_items(items, options.source)
    chosen = limited(items, options.limit)
    begun = {**options.model_dump(mode="json"), "videos": len(chosen), "fingerprint": fingerprint(chosen)}
    work = out / WORK
    with _locked(out, work):
        if (out / shards.META).is_file():
            return _finished(out, begun)
        _begin(out, work, begun)
        plan = make_shards(make_groups(chosen), options.frames)
        count = _worker_count(workers, plan)
        # Decoders get the cores that no process needs.
        job = Job(work, options, detector, threads=max(1, cores() // max(count, 1)))
        try:
            run_jobs = ray_crew.run_jobs if engine == "ray" else crew.run_jobs
            _make(out, plan, functools.partial(run_jobs, job, workers=count), progress or silent)
        except KeyboardInterrupt:
            raise Interrupted("interrupted; rerun the same command to go on") from None
        return _finish(out, plan, begun)


def _make(
    out: Path, plan: Sequence[Shard], run_jobs: Callable[[Sequence[Group]], Iterator[Group]], progress: Progress
) -> None:
    """Run the groups that are left, and write each shard when its last group is done."""
    open_shards = [shard for shard in plan if not _is_written(out, shard)]
    total = sum(len(group.items) for shard in plan for group in shard.groups)
    left = {
        shard.name: {group.lead.video for group in shard.groups if not _is_done(out / WORK, group)}
        for shard in open_shards
    }
    shard_of = {group.lead.video: shard for shard in open_shards for group in shard.groups}
    waiting = [group for shard in open_shards for group in shard.groups if group.lead.video in left[shard.name]]
    done = total - sum(len(group.items) for group in waiting)
    what = "preparing videos"
    progress(done, total, what)
    totals = _totals(plan)
    for shard in open_shards:
        if not left[shard.name]:
            _write_shard(out, shard, totals[shard.split])
    for group in run_jobs(waiting):
        done += len(group.items)
        progress(done, total, what)
        shard = shard_of[group.lead.video]
        left[shard.name].remove(group.lead.video)
        if not left[shard.name]:
            _write_shard(out, shard, totals[shard.split])


def _write_shard(out: Path, shard: Shard, total: int) -> None:
    """Join the parts of a shard; they are deleted when the shard and its lines of the report are on disk."""
    work = out / WORK
    items = [item for group in shard.groups for item in group.items]
    parts = [shards.read_part(part_path(work, item)) for item in items]
    if None in parts:
        raise StorageError(f"{work}: a part of shard {shard.name} is damaged; rerun the same command")
    tables = [table for table, _ in filter(None, parts) if len(table)]
    entry: dict[str, Any] = {"lines": [line for _, line in filter(None, parts)], "file": None}
    if tables:
        name = f"data-{shard.name.rpartition('-')[2]}-of-{total:05d}.arrow"
        content = shards.shard_bytes(tables)
        write_whole(out / shard.split / name, content, ADVICE)
        entry |= {"file": f"{shard.split}/{name}", "bytes": len(content), "rows": sum(map(len, tables))}
        entry |= {"sha256": hashlib.sha256(content).hexdigest()}
    write_json(_entry_path(out, shard), entry, ADVICE)
    for item in items:
        part_path(work, item).unlink(missing_ok=True)


def _finish(out: Path, plan: Sequence[Shard], begun: dict[str, Any]) -> Prepared:
    entries = [read_json(_entry_path(out, shard)) for shard in plan]
    lines = [line for entry in entries for line in entry["lines"]]
    written = report.as_csv(lines)
    write_whole(out / "report.csv", written, ADVICE)
    files = {entry["file"]: shards.FileFacts.model_validate(entry) for entry in entries if entry["file"]}
    if not files:
        reasons = "; ".join(f"{line['video']}: {line['error']}" for line in lines[:3])
        raise DataError(f"no video has a crop ({reasons}); see {out / 'report.csv'}")
    about = shards.FileFacts(bytes=len(written), sha256=hashlib.sha256(written).hexdigest(), rows=len(lines))
    meta = shards.Meta(
        options=begun, summary=report.summary(lines), files=files, report=about, digest=shards.set_digest(files, about)
    )
    shards.write_index(out, meta.by_split(), meta.digest)
    write_json(out / shards.META, meta.model_dump(mode="json"), ADVICE)
    shutil.rmtree(out / WORK, ignore_errors=True)
    return Prepared(out, meta.digest, lines)


def _finished(out: Path, begun: dict[str, Any]) -> Prepared:
    """The set that is there already, if it is the one that is asked for."""
    meta = shards.read_meta(out)
    _refuse_other(out, meta.options, begun)
    for _ in shards.shard_files(out, meta):
        pass
    lines = _read_report(out)
    shutil.rmtree(out / WORK, ignore_errors=True)
    return Prepared(out, meta.digest, lines, fresh=False)


def _begin(out: Path, work: Path, begun: dict[str, Any]) -> None:
    """Write down the options, or compare them with those that the folder was begun with."""
    path = work / "options.json"
    if path.is_file():
        _refuse_other(out, read_json(path), begun)
        return
    others = sorted(child.name for child in out.iterdir() if child.name != WORK)
    if others:
        raise DataError(f"{out} is not empty ({', '.join(others[:3])}); give a new folder")
    write_json(path, begun, ADVICE)


def _refuse_other(out: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """DataError that says what differs; a difference of the videos alone is said in words."""
    if before == now:
        return
    stored = {key: value for key, value in before.items() if key != "fingerprint"}
    differs = difference(stored, {key: value for key, value in now.items() if key != "fingerprint"})
    differs = differs or "the same number of videos, but other ones, or of another size"
    raise DataError(f"{out} was begun with other options or data ({differs}); give another folder, or the same options")


@contextlib.contextmanager
def _locked(out: Path, work: Path) -> Iterator[None]:
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is not a folder")
    existed = work.exists()
    with writing(work, ADVICE):
        work.mkdir(parents=True, exist_ok=True)
    lock = FileLock(work / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise DfbenchError(
            f"another process is preparing a set in {out}; wait for it, or give another folder"
        ) from None
    try:
        yield
    finally:
        lock.release()
        if not existed and not (work / "options.json").is_file():  # refused before anything was begun
            shutil.rmtree(work, ignore_errors=True)


def _is_written(out: Path, shard: Shard) -> bool:
    """Whether a shard and its lines of the report are on disk."""
    path = _entry_path(out, shard)
    if not path.is_file():
        return False
    entry = read_json(path)
    if entry["file"] is None:
        return True
    file = out / entry["file"]
    return file.is_file() and file.stat().st_size == entry["bytes"] and sha256_of(file) == entry["sha256"]


def _is_done(work: Path, group: Group) -> bool:
    return all(shards.read_part(part_path(work, item)) is not None for item in group.items)


def _entry_path(out: Path, shard: Shard) -> Path:
    return out / WORK / "shards" / f"{shard.name}.json"


def _totals(plan: Sequence[Shard]) -> dict[str, int]:
    """Shards of each split."""
    result: dict[str, int] = {}
    for shard in plan:
        result[shard.split] = result.get(shard.split, 0) + 1
    return result


def _worker_count(asked: int | None, plan: Sequence[Shard]) -> int:
    groups = sum(len(shard.groups) for shard in plan)
    return min(cores() if asked is None else asked, groups)


def _read_report(out: Path) -> list[dict[str, Any]]:
    import csv

    with (out / "report.csv").open(newline="", encoding="utf-8") as file:
        lines: list[dict[str, Any]] = list(csv.DictReader(file))
    return [line | {key: int(line[key]) for key in ("label", "wanted", "crops")} for line in lines]

"""The job store in a folder: an SQLite file, and the uploads next to it. For any number of processes on one machine."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sqlite3
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dfbench.errors import StorageError
from dfbench.publish.serve.store import Artifact, Job, Standing, Totals, WorkerState

WAIT = 10.0
"""Seconds for which a writer waits for another."""
FIELDS = "id, model, heat, state, made, started, ended, done, total, document, code, message"
SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, model TEXT NOT NULL, heat INTEGER NOT NULL, state TEXT NOT NULL, made REAL NOT NULL,
    started REAL, ended REAL, worker TEXT, done INTEGER NOT NULL DEFAULT 0, total INTEGER NOT NULL DEFAULT 0,
    document TEXT, code TEXT NOT NULL DEFAULT '', message TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_state ON jobs (state, made);
CREATE TABLE IF NOT EXISTS artifacts (
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE, name TEXT NOT NULL, type TEXT NOT NULL,
    content BLOB NOT NULL, PRIMARY KEY (job, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS workers (
    name TEXT PRIMARY KEY, seen REAL NOT NULL, models TEXT NOT NULL, protection TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS ended (
    state TEXT NOT NULL, what TEXT NOT NULL, jobs INTEGER NOT NULL, seconds REAL NOT NULL, PRIMARY KEY (state, what)
);
"""


class SqliteStore:
    """See :class:`~dfbench.publish.serve.store.Store`.

    Args:
        folder: Made if it is missing; what is in it only its owner may read.

    Raises:
        StorageError: It cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._local = threading.local()
        try:
            folder.mkdir(0o700, parents=True, exist_ok=True)
            (folder / "uploads").mkdir(0o700, exist_ok=True)
            os.close(os.open(folder / "jobs.sqlite", os.O_CREAT | os.O_RDWR, 0o600))  # SQLite's other files follow it
            self._connection().executescript(f"PRAGMA journal_mode = WAL; {SCHEMA}")
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"{folder}: cannot be the job store ({error})") from None

    def reserve(self, model: str, heat: bool, limit: int) -> Job | None:
        """As :class:`Store`."""
        job, now = secrets.token_urlsafe(24), time.time()
        with self._writing() as connection:
            made = connection.execute(
                "INSERT INTO jobs (id, model, heat, state, made) SELECT ?, ?, ?, 'receiving', ? WHERE"
                " (SELECT count(*) FROM jobs WHERE state IN ('receiving', 'queued')) < ?",
                (job, model, heat, now, limit),
            ).rowcount
        return Job(job, model, heat, "receiving", now) if made else None

    def upload(self, job: str) -> Path:
        """As :class:`Store`."""
        return self._folder / "uploads" / job

    def enqueue(self, job: str) -> bool:
        """As :class:`Store`."""
        with self._writing() as connection:
            done = connection.execute("UPDATE jobs SET state = 'queued' WHERE id = ? AND state = 'receiving'", (job,))
            return bool(done.rowcount)

    def claim(self, worker: str) -> Job | None:
        """As :class:`Store`."""
        # Looking costs no lock; most looks find nothing.
        if self._connection().execute("SELECT 1 FROM jobs WHERE state = 'queued' LIMIT 1").fetchone() is None:
            return None
        with self._writing() as connection:
            row = connection.execute(
                "UPDATE jobs SET state = 'running', worker = ?, started = ? WHERE id ="
                f" (SELECT id FROM jobs WHERE state = 'queued' ORDER BY made LIMIT 1) RETURNING {FIELDS}",
                (worker, time.time()),
            ).fetchone()
        return None if row is None else _job(row)

    def progress(self, job: str, done: int, total: int) -> bool:
        """As :class:`Store`."""
        with self._writing() as connection:
            found = connection.execute("UPDATE jobs SET done = ?, total = ? WHERE id = ?", (done, total, job))
            return bool(found.rowcount)

    def finish(self, job: str, document: Mapping[str, Any], artifacts: Mapping[str, Artifact]) -> None:
        """As :class:`Store`."""
        text = json.dumps(document, ensure_ascii=False, allow_nan=False)
        with self._writing() as connection:
            if self._end(connection, job, "done", str(document["verdict"]), document=text):
                rows = [(job, name, each.type, each.content) for name, each in artifacts.items()]
                connection.executemany("INSERT INTO artifacts VALUES (?, ?, ?, ?)", rows)
        self._drop_upload(job)

    def fail(self, job: str, code: str, message: str) -> None:
        """As :class:`Store`."""
        with self._writing() as connection:
            self._end(connection, job, "failed", code, code=code, message=message)
        self._drop_upload(job)

    def fail_of(self, worker: str, code: str, message: str) -> int:
        """As :class:`Store`."""
        with self._writing() as connection:
            query = "SELECT id FROM jobs WHERE worker = ? AND state = 'running'"
            jobs = [row[0] for row in connection.execute(query, (worker,))]
            for job in jobs:
                self._end(connection, job, "failed", code, code=code, message=message)
        for job in jobs:
            self._drop_upload(job)
        return len(jobs)

    def get(self, job: str) -> Job | None:
        """As :class:`Store`."""
        with self._reading() as connection:
            row = connection.execute(f"SELECT {FIELDS} FROM jobs WHERE id = ?", (job,)).fetchone()
            if row is None:
                return None
            ahead = 0
            if row["state"] == "queued":
                query = "SELECT count(*) FROM jobs WHERE state = 'queued' AND made < ?"
                ahead = connection.execute(query, (row["made"],)).fetchone()[0]
        return _job(row, ahead)

    def standings(self, jobs: Sequence[str]) -> dict[str, Standing]:
        """As :class:`Store`."""
        found: dict[str, Standing] = {}
        with self._reading() as connection:
            waiting = [
                row[0] for row in connection.execute("SELECT made FROM jobs WHERE state = 'queued' ORDER BY made")
            ]
            query = "SELECT id, state, made, done, total FROM jobs WHERE id IN (SELECT value FROM json_each(?))"
            for row in connection.execute(query, (json.dumps(list(jobs)),)):
                ahead = bisect_left(waiting, row["made"]) if row["state"] == "queued" else 0
                found[row["id"]] = Standing(row["state"], ahead, row["done"], row["total"])
        return found

    def artifact(self, job: str, name: str) -> Artifact | None:
        """As :class:`Store`."""
        with self._reading() as connection:
            query = "SELECT type, content FROM artifacts WHERE job = ? AND name = ?"
            row = connection.execute(query, (job, name)).fetchone()
        return None if row is None else Artifact(row["type"], row["content"])

    def delete(self, job: str) -> bool:
        """As :class:`Store`."""
        with self._writing() as connection:
            gone = connection.execute("DELETE FROM jobs WHERE id = ?", (job,)).rowcount
        if gone:
            self._drop_upload(job)
        return bool(gone)

    def expire(self, ended_before: float, received_before: float) -> int:
        """As :class:`Store`."""
        with self._writing() as connection:
            query = "DELETE FROM jobs WHERE ended < ? OR (state = 'receiving' AND made < ?) RETURNING id"
            jobs = [row[0] for row in connection.execute(query, (ended_before, received_before))]
        for job in jobs:
            self._drop_upload(job)
        return len(jobs)

    def beat(self, worker: WorkerState) -> None:
        """As :class:`Store`."""
        row = (worker.name, worker.seen, json.dumps(worker.models), json.dumps(worker.protection))
        with self._writing() as connection:
            connection.execute("INSERT OR REPLACE INTO workers VALUES (?, ?, ?, ?)", row)

    def forget(self, worker: str) -> None:
        """As :class:`Store`."""
        with self._writing() as connection:
            connection.execute("DELETE FROM workers WHERE name = ?", (worker,))

    def workers(self) -> list[WorkerState]:
        """As :class:`Store`."""
        with self._reading() as connection:
            rows = connection.execute("SELECT * FROM workers ORDER BY name").fetchall()
        return [
            WorkerState(
                row["name"], row["seen"], tuple(json.loads(row["models"])), tuple(json.loads(row["protection"]))
            )
            for row in rows
        ]

    def totals(self) -> Totals:
        """As :class:`Store`."""
        with self._reading() as connection:
            jobs = dict(connection.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall())
            ended = connection.execute("SELECT state, what, jobs, seconds FROM ended").fetchall()
        counts = {(row["state"], row["what"]): row["jobs"] for row in ended}
        return Totals(jobs, counts, sum(row["seconds"] for row in ended))

    def version(self) -> int:
        """As :class:`Store`."""
        connection = self._connection()
        return int(connection.execute("PRAGMA data_version").fetchone()[0])

    def _end(self, connection: sqlite3.Connection, job: str, state: str, what: str, **values: str) -> bool:
        """End a job that has not ended, and count it; False where it has, or is gone."""
        now = time.time()
        columns = "".join(f", {name} = ?" for name in values)
        row = connection.execute(
            f"UPDATE jobs SET state = ?, ended = ?{columns} WHERE id = ? AND ended IS NULL RETURNING started",
            (state, now, *values.values(), job),
        ).fetchone()
        if row is None:
            return False
        connection.execute(
            "INSERT INTO ended VALUES (?, ?, 1, ?) ON CONFLICT DO UPDATE"
            " SET jobs = jobs + 1, seconds = seconds + excluded.seconds",
            (state, what, now - (row["started"] or now)),
        )
        return True

    def _drop_upload(self, job: str) -> None:
        with contextlib.suppress(OSError):
            self.upload(job).unlink()

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self._folder / "jobs.sqlite", timeout=WAIT, isolation_level=None)
            connection.row_factory = sqlite3.Row
            # Results live for an hour: losing the last ones with the machine's power is no loss. What is deleted is
            # overwritten.
            connection.executescript(
                "PRAGMA synchronous = OFF; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;"
                "PRAGMA wal_autocheckpoint = 200;"
            )
            self._local.connection = connection
        return connection

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A transaction that sees one state and waits for nobody."""
        connection = self._connection()
        connection.execute("BEGIN")
        try:
            yield connection
        finally:
            connection.execute("COMMIT")

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that waits for its turn before it reads anything."""
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def _job(row: sqlite3.Row, ahead: int = 0) -> Job:
    values = dict(row)
    values["heat"] = bool(values["heat"])
    values["document"] = None if values["document"] is None else json.loads(values["document"])
    return Job(**values, ahead=ahead)


def _worker(row: sqlite3.Row) -> WorkerState:
    models, protection = tuple(json.loads(row["models"])), tuple(json.loads(row["protection"]))
    return WorkerState(row["name"], row["seen"], models, protection)

"""The job store in Redis, for several machines that share nothing else: uploads and results are in it, too.

Keys begin with ``dfbench:``: ``job:ID`` (a hash, a field per column of :class:`~dfbench.publish.serve.store.Job`),
``state:STATE`` (sorted sets of ids, by the time at which a job was made or ended), ``upload:ID``, ``artifacts:ID`` (a
hash, media type and bytes per name), ``running:WORKER`` (a set of ids), ``workers``, ``counts``, ``seconds``,
``version``. Each method is one script, which Redis runs whole. One server, not a cluster: scripts make names of keys.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from dfbench.errors import StorageError, UsageError
from dfbench.publish.serve.store import Artifact, Job, Standing, Totals, WorkerState

PREFIX = "dfbench:"
STATES = ("receiving", "queued", "running", "done", "failed")
PATIENCE = 10.0
"""Seconds for which an answer is waited for."""
TRIES = 6
"""Of a command, while Redis is not there: some ten seconds in all."""

_START = f"""
local function key(name) return '{PREFIX}' .. name end
local function job(id) return key('job:' .. id) end
local function changed() redis.call('INCR', key('version')) end
local function move(id, state, time)
    redis.call('ZREM', key('state:' .. redis.call('HGET', job(id), 'state')), id)
    redis.call('HSET', job(id), 'state', state)
    redis.call('ZADD', key('state:' .. state), time, id)
    changed()
end
local function release(id)
    local worker = redis.call('HGET', job(id), 'worker')
    if worker then redis.call('SREM', key('running:' .. worker), id) end
    redis.call('DEL', key('upload:' .. id))
end
local function drop(id)
    redis.call('ZREM', key('state:' .. redis.call('HGET', job(id), 'state')), id)
    release(id)
    redis.call('DEL', job(id), key('artifacts:' .. id))
    changed()
end
"""
_RESERVE = """
local waiting = redis.call('ZCARD', key('state:receiving')) + redis.call('ZCARD', key('state:queued'))
if waiting >= tonumber(ARGV[5]) then return 0 end
redis.call('HSET', job(ARGV[1]), 'model', ARGV[2], 'heat', ARGV[3], 'made', ARGV[4], 'state', 'receiving')
redis.call('ZADD', key('state:receiving'), ARGV[4], ARGV[1])
changed()
return 1
"""
_ENQUEUE = """
if redis.call('HGET', job(ARGV[1]), 'state') ~= 'receiving' then return 0 end
redis.call('SET', key('upload:' .. ARGV[1]), ARGV[2])
move(ARGV[1], 'queued', redis.call('HGET', job(ARGV[1]), 'made'))
return 1
"""
_CLAIM = """
local first = redis.call('ZRANGE', key('state:queued'), 0, 0)[1]
if not first then return nil end
move(first, 'running', ARGV[2])
redis.call('HSET', job(first), 'worker', ARGV[1], 'started', ARGV[2])
redis.call('SADD', key('running:' .. ARGV[1]), first)
local upload = redis.call('GET', key('upload:' .. first)) or ''
redis.call('DEL', key('upload:' .. first))
return {first, redis.call('HGETALL', job(first)), upload}
"""
_PROGRESS = """
if redis.call('EXISTS', job(ARGV[1])) == 0 then return 0 end
redis.call('HSET', job(ARGV[1]), 'done', ARGV[2], 'total', ARGV[3])
changed()
return 1
"""
_END = """
local id, state, what, now = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if redis.call('EXISTS', job(id)) == 0 or redis.call('HEXISTS', job(id), 'ended') == 1 then return 0 end
local started = redis.call('HGET', job(id), 'started') or now
release(id)
move(id, state, now)
redis.call('HSET', job(id), 'ended', now, 'document', ARGV[5], 'code', ARGV[6], 'message', ARGV[7])
for i = 8, #ARGV, 2 do redis.call('HSET', key('artifacts:' .. id), ARGV[i], ARGV[i + 1]) end
redis.call('HINCRBY', key('counts'), state .. ' ' .. what, 1)
redis.call('INCRBYFLOAT', key('seconds'), tostring(tonumber(now) - tonumber(started)))
return 1
"""
_GET = """
local ahead = redis.call('ZRANK', key('state:queued'), ARGV[1]) or 0
return {redis.call('HGETALL', job(ARGV[1])), ahead}
"""
_STANDINGS = """
local found = {}
for _, id in ipairs(ARGV) do
    local said = redis.call('HMGET', job(id), 'state', 'done', 'total')
    if said[1] then
        local ahead = redis.call('ZRANK', key('state:queued'), id) or 0
        table.insert(found, {id, said[1], ahead, said[2] or '0', said[3] or '0'})
    end
end
return found
"""
_DELETE = """
if redis.call('EXISTS', job(ARGV[1])) == 0 then return 0 end
drop(ARGV[1])
return 1
"""
_EXPIRE = """
local gone = {}
for state, before in pairs({done = ARGV[1], failed = ARGV[1], receiving = ARGV[2]}) do
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('state:' .. state), '-inf', '(' .. before)) do
        drop(id)
        table.insert(gone, id)
    end
end
return gone
"""
_TOTALS = """
local jobs = {}
for _, state in ipairs(ARGV) do table.insert(jobs, redis.call('ZCARD', key('state:' .. state))) end
return {jobs, redis.call('HGETALL', key('counts')), redis.call('GET', key('seconds')) or '0'}
"""


class RedisStore:
    """See :class:`~dfbench.publish.serve.store.Store`.

    Args:
        url: ``redis://[user:password@]host[:port][/number]``; ``rediss://`` for TLS, ``unix://`` for a socket.
        folder: Where this machine's uploads are while they are received and judged; made if it is missing.

    Raises:
        UsageError: The address is none.
        StorageError: Redis does not answer, or the folder cannot be written to.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self._folder = folder / "uploads"
        try:
            self._redis: Any = redis.Redis.from_url(  # its types differ from one version to the next
                url, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE, health_check_interval=30,
                retry=Retry(ExponentialBackoff(cap=5, base=0.1), TRIES),
                retry_on_error=[redis.ConnectionError, redis.TimeoutError],
            )  # fmt: skip
        except ValueError as error:
            raise UsageError(f"--store: {error}") from None
        try:
            self._folder.mkdir(0o700, parents=True, exist_ok=True)
            self._redis.ping()
        except OSError as error:
            raise StorageError(f"{folder}: uploads cannot be stored ({error.strerror or error})") from None
        except redis.RedisError as error:  # the address may hold a password
            raise StorageError(f"the job store (Redis) does not answer: {str(error).splitlines()[0]}") from None
        scripts = {"reserve": _RESERVE, "enqueue": _ENQUEUE, "claim": _CLAIM, "progress": _PROGRESS, "end": _END,
                   "get": _GET, "standings": _STANDINGS, "delete": _DELETE, "expire": _EXPIRE,
                   "totals": _TOTALS}  # fmt: skip
        self._scripts = {name: self._redis.register_script(_START + body) for name, body in scripts.items()}

    def reserve(self, model: str, heat: bool, limit: int) -> Job | None:
        """As :class:`Store`."""
        job, now = secrets.token_urlsafe(24), time.time()
        made = self._run("reserve", job, model, int(heat), repr(now), limit)
        return Job(job, model, heat, "receiving", now) if made else None

    def upload(self, job: str) -> Path:
        """As :class:`Store`: on this machine."""
        return self._folder / job

    def enqueue(self, job: str) -> bool:
        """As :class:`Store`; the upload goes to Redis and is no longer on this machine."""
        file = self.upload(job)
        done = self._run("enqueue", job, file.read_bytes() if file.exists() else b"")
        self._drop_upload(job)
        return bool(done)

    def claim(self, worker: str) -> Job | None:
        """As :class:`Store`; the upload comes to this machine."""
        if not self._redis.zcard(f"{PREFIX}state:queued"):  # most looks find nothing
            return None
        found = self._run("claim", worker, repr(time.time()))
        if found is None:
            return None
        name, fields, content = found
        job = _job(name.decode(), fields)
        file = self.upload(job.id)
        file.touch(0o600)
        file.write_bytes(content)
        return job

    def progress(self, job: str, done: int, total: int) -> bool:
        """As :class:`Store`."""
        return bool(self._run("progress", job, done, total))

    def finish(self, job: str, document: Mapping[str, Any], artifacts: Mapping[str, Artifact]) -> None:
        """As :class:`Store`."""
        text = json.dumps(document, ensure_ascii=False, allow_nan=False)
        stored = [
            part for name, each in artifacts.items() for part in (name, each.type.encode() + b"\0" + each.content)
        ]
        self._end(job, "done", str(document["verdict"]), text, "", "", *stored)

    def fail(self, job: str, code: str, message: str) -> None:
        """As :class:`Store`."""
        self._end(job, "failed", code, "", code, message)

    def fail_of(self, worker: str, code: str, message: str) -> int:
        """As :class:`Store`."""
        jobs = [name.decode() for name in self._redis.smembers(f"{PREFIX}running:{worker}")]
        return sum(self._end(job, "failed", code, "", code, message) for job in jobs)

    def get(self, job: str) -> Job | None:
        """As :class:`Store`."""
        fields, ahead = self._run("get", job)
        return _job(job, fields, ahead) if fields else None

    def standings(self, jobs: Sequence[str]) -> dict[str, Standing]:
        """As :class:`Store`."""
        return {
            job.decode(): Standing(state.decode(), int(ahead), int(done), int(total))
            for job, state, ahead, done, total in self._run("standings", *jobs)
        }

    def artifact(self, job: str, name: str) -> Artifact | None:
        """As :class:`Store`."""
        found = self._redis.hget(f"{PREFIX}artifacts:{job}", name)
        if found is None:
            return None
        kind, _, content = found.partition(b"\0")
        return Artifact(kind.decode(), content)

    def delete(self, job: str) -> bool:
        """As :class:`Store`."""
        gone = bool(self._run("delete", job))
        if gone:
            self._drop_upload(job)
        return gone

    def expire(self, ended_before: float, received_before: float) -> int:
        """As :class:`Store`."""
        gone = self._run("expire", repr(ended_before), repr(received_before))
        for job in gone:
            self._drop_upload(job.decode())
        return len(gone)

    def beat(self, worker: WorkerState) -> None:
        """As :class:`Store`."""
        state = {"seen": worker.seen, "models": worker.models, "protection": worker.protection}
        self._redis.hset(f"{PREFIX}workers", worker.name, json.dumps(state))

    def forget(self, worker: str) -> None:
        """As :class:`Store`."""
        self._redis.hdel(f"{PREFIX}workers", worker)

    def workers(self) -> list[WorkerState]:
        """As :class:`Store`."""
        found = {name.decode(): json.loads(state) for name, state in self._redis.hgetall(f"{PREFIX}workers").items()}
        return [
            WorkerState(name, state["seen"], tuple(state["models"]), tuple(state["protection"]))
            for name, state in sorted(found.items())
        ]

    def totals(self) -> Totals:
        """As :class:`Store`."""
        jobs, counts, seconds = self._run("totals", *STATES)
        ended = {tuple(name.split(" ", 1)): int(count) for name, count in _fields(counts).items()}
        numbers = {state: count for state, count in zip(STATES, jobs, strict=True) if count}
        return Totals(numbers, ended, float(seconds))  # type: ignore[arg-type]  # a name has two parts

    def version(self) -> int:
        """As :class:`Store`."""
        return int(self._redis.get(f"{PREFIX}version") or 0)

    def _run(self, script: str, *values: Any) -> Any:
        return self._scripts[script](args=values)

    def _end(self, job: str, *values: Any) -> bool:
        """End a job that has not ended; False where it has, or is gone."""
        state, what, *rest = values
        ended = bool(self._run("end", job, state, what, repr(time.time()), *rest))
        self._drop_upload(job)
        return ended

    def _drop_upload(self, job: str) -> None:
        with contextlib.suppress(OSError):
            self.upload(job).unlink()


def _fields(flat: list[bytes]) -> dict[str, str]:
    """Names and values in turns, as scripts give hashes."""
    texts = [part.decode() for part in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _job(name: str, flat: list[bytes], ahead: int = 0) -> Job:
    found = _fields(flat)
    document, numbers = found.get("document"), {k: float(found[k]) for k in ("started", "ended") if k in found}
    return Job(
        name, found["model"], found["heat"] == "1", found["state"], float(found["made"]),  # type: ignore[arg-type]
        ahead=ahead if found["state"] == "queued" else 0, done=int(found.get("done", 0)),
        total=int(found.get("total", 0)), document=json.loads(document) if document else None,
        code=found.get("code", ""), message=found.get("message", ""), **numbers,
    )  # fmt: skip

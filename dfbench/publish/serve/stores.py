"""Which job store the processes of a service share."""

from __future__ import annotations

from dfbench.errors import UsageError
from dfbench.publish.serve.settings import WorkerSettings
from dfbench.publish.serve.sqlite import SqliteStore
from dfbench.publish.serve.store import Store


def open_store(settings: WorkerSettings) -> Store:
    """The store that an operator chose: that at an address, else the one in the folder.

    Raises:
        UsageError: The address is none, or what it needs is not installed.
        StorageError: It does not answer, or cannot be written to.
    """
    if settings.store is None:
        return SqliteStore(settings.data)
    try:
        from dfbench.publish.serve.redis_store import RedisStore
    except ImportError as error:
        raise UsageError(f"--store needs {error.name}: pip install 'dfbench-deepfake[serve,redis]'") from None
    return RedisStore(settings.store, settings.data)

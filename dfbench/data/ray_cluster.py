"""Ray: whether it is here, and the cluster that tasks go to."""

from __future__ import annotations

import os
from typing import Any

from dfbench.errors import UsageError, in_one_line

ADDRESS = "RAY_ADDRESS"
"""Environment variable that names a running cluster."""


def need_ray() -> Any:
    """The package.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import ray
    except ImportError:
        raise UsageError("--engine ray needs the package ray: pip install 'dfbench-deepfake[ray]'") from None
    return ray


def connect(ray: Any, workers: int, address: str | None = None) -> bool:
    """Join a cluster, or start one on this machine.

    Args:
        ray: the package.
        workers: processors of a cluster that is started for this.
        address: of a running cluster; what ``$RAY_ADDRESS`` names unless given.

    Returns:
        Whether it was done here, so that ``ray.shutdown()`` is due; False in a process that had joined one before.

    Raises:
        UsageError: there is no cluster at that address.
    """
    if ray.is_initialized():
        return False
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    address = address or os.environ.get(ADDRESS)
    if not address:
        ray.init(address="local", num_cpus=max(workers, 1), include_dashboard=False, **quiet)
        return True
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UsageError(f"no Ray cluster at {address}: {in_one_line(error)[:300]}") from None
    return True

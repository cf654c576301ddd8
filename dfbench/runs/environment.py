"""Where a run was made: versions, machine, the state of the sources, peak memory."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import dfbench
from dfbench.errors import UsageError, in_one_line

PACKAGES = (
    "dfbench-deepfake",
    "torch",
    "torchvision",
    "avalanche-lib",
    "timm",
    "numpy",
    "scikit-learn",
    "pyarrow",
)


def environment(device: torch.device, plugins: dict[str, str]) -> dict[str, Any]:
    """Versions and machine; ``plugins`` maps the plugins in use to their distributions' versions."""
    processor = _processor()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else processor,
        "packages": {name: _version(name) for name in PACKAGES},
        "plugins": plugins,
    }


def git_state() -> dict[str, Any] | None:
    """Commit and dirty flag of the checkout that dfbench runs from; None when it is not one."""
    folder = Path(dfbench.__file__).resolve().parent.parent
    if not (folder / ".git").exists():
        return None
    commit = _git(folder, "rev-parse", "HEAD")
    status = _git(folder, "status", "--porcelain")
    if commit is None or status is None:
        return None
    return {"commit": commit, "dirty": bool(status)}


def peak_memory(device: torch.device) -> dict[str, int | None]:
    """Peak bytes of this process on the host, and on the device where it counts them."""
    scale = 1 if sys.platform == "darwin" else 1024
    return {
        "host_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale,
        "device_bytes": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
    }


def choose_device(name: str) -> torch.device:
    """The device of that name; ``auto`` is a CUDA device if there is one, else the CPU.

    Raises:
        UsageError: It is not available.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"--device {name}: not available here ({in_one_line(error)}); try --device cpu") from error
    return device


def _git(folder: Path, *args: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *args], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None

"""Where a run was made: versions, machine, the state of the sources, peak memory."""

from __future__ import annotations

import functools
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


FLAGS = (
    "avx2", "fma", "avx512f", "avx512_bf16", "avx512_fp16", "avx512_vnni", "avx_vnni", "amx_tile", "amx_bf16",
    "amx_fp16", "amx_int8", "asimd", "asimdhp", "sve", "sve2", "bf16", "svebf16", "i8mm",
)  # fmt: skip
"""Instructions by which PyTorch and oneDNN choose kernels, as Linux names them: they decide speed and last digits."""


def environment(device: torch.device, plugins: dict[str, str]) -> dict[str, Any]:
    """Versions and machine; ``plugins`` maps the plugins in use to their distributions' versions."""
    processor = _processor()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor,
        **_instructions(),
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
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def _instructions() -> dict[str, Any]:
    """Which processor it is behind its name (virtual machines call several ones "AMD EPYC"), and its :data:`FLAGS`."""
    known = _cpuinfo()
    parts = {"vendor_id": "", "cpu family": "family ", "model": "model ", "stepping": "stepping "}
    flags = set((known.get("flags") or known.get("Features") or "").split())
    return {
        "processor_model": " ".join(f"{word}{known[key]}" for key, word in parts.items() if known.get(key)),
        "processor_flags": [flag for flag in FLAGS if flag in flags],
    }


@functools.cache
def _cpuinfo() -> dict[str, str]:
    """What Linux says of the first core; empty elsewhere."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None

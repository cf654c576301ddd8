"""What a process that decodes a stranger's file gives up before it opens the file, for good.

Resource limits hold everywhere. On Linux, Landlock leaves it the libraries and the one file to read and nothing to
write, and seccomp takes from it sockets, other programs and signals to other processes. Both need no privileges; where
the kernel has not got them, the rest still holds, and ``dfbench serve`` says so when it starts.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import platform
import resource
import signal
import struct
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Bounds:
    """What a process may use.

    Attributes:
        memory: Bytes of address space.
        seconds: Of processor time, and a little more of wall time.
        files: Open at once.
    """

    memory: int = 3 << 30
    seconds: int = 60
    files: int = 64


def confine(bounds: Bounds, readable: Sequence[Path]) -> list[str]:
    """Give everything up but reading.

    Args:
        bounds: What this process may use.
        readable: Files that it may read, besides Python's and the system's libraries.

    Returns:
        What holds: ``limits``, ``files`` (Landlock), ``calls`` (seccomp).
    """
    _limit(bounds)
    held = ["limits"]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        if _restrict_files(libc, [*_libraries(), *_stated(map(str, readable))]):
            held.append("files")
        if _restrict_calls(libc):
            held.append("calls")
    return held


def prepare() -> None:
    """Look up what :func:`confine` needs; processes that are forked afterwards find it there."""
    _places()
    _rules()


def _limit(bounds: Bounds) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # its default ends the process, even in the middle of C code
    signal.alarm(bounds.seconds + 10)
    for kind, value in (
        (resource.RLIMIT_AS, bounds.memory),
        (resource.RLIMIT_CPU, bounds.seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, bounds.files),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (most, most))


_SYSTEM = (
    "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/lib", "/lib64", "/etc/ld.so.cache",
    "/dev/null", "/dev/urandom", "/proc/self", "/proc/meminfo", "/sys/devices/system/cpu",
)  # fmt: skip


def _libraries() -> list[tuple[str, bool]]:
    """What modules and shared libraries are loaded from, and whether that is a folder."""
    known = _places()
    later = _stated(entry for entry in sys.path if entry and entry not in known)
    return [*((path, folder) for path, folder in known.items() if folder is not None), *(e for e in later if e[1])]


@functools.cache
def _places() -> dict[str, bool | None]:
    """Path → whether it is a folder, None where it is not there or not to be read."""
    names = {sys.prefix, sys.base_prefix, sysconfig.get_paths()["stdlib"], *_SYSTEM}
    found = dict(_stated(names)) | {path: folder for path, folder in _stated(filter(None, sys.path)) if folder}
    return {**dict.fromkeys(filter(None, [*names, *sys.path])), **found}


def _stated(paths: Iterable[str]) -> list[tuple[str, bool]]:
    """Those of the paths that are there, and whether each is a folder; never the root."""
    return [(path, os.path.isdir(path)) for path in paths if os.path.exists(path) and os.path.realpath(path) != "/"]


# --- Landlock (linux/landlock.h) --------------------------------------------------------------------------------

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
"""Version of Landlock → how many rights on files it knows; later ones know 16."""
_NO_NEW_PRIVILEGES = 38


def _restrict_files(libc: Any, readable: Sequence[tuple[str, bool]]) -> bool:
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    attributes = ctypes.create_string_buffer(struct.pack("=Q", (1 << _RIGHTS.get(version, 16)) - 1), 8)
    ruleset = libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(8), 0)
    if ruleset < 0:
        return False
    try:
        for path, folder in readable:
            _allow(libc, ruleset, path, folder)
        return bool(libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _allow(libc: Any, ruleset: int, path: str, folder: bool) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    rights = _READ_FILE | _READ_FOLDER if folder else _READ_FILE
    rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, opened), 12)
    libc.syscall(_ADD_RULE, ruleset, 1, rule, 0)
    os.close(opened)


# --- seccomp (linux/seccomp.h, linux/filter.h) ------------------------------------------------------------------

# Call → its number on x86_64 and on aarch64; None where there is none.
_REFUSED: dict[str, tuple[int, int | None]] = {
    "socket": (41, 198), "connect": (42, 203), "accept": (43, 202), "sendto": (44, 206), "sendmsg": (46, 211),
    "bind": (49, 200), "listen": (50, 201), "socketpair": (53, 199), "accept4": (288, 242), "sendmmsg": (307, 269),
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424), "pidfd_getfd": (438, 438), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "process_madvise": (440, 440),
    "io_uring_setup": (425, 425), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "unshare": (272, 97), "setns": (308, 268),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "setpriority": (141, 140),
    "sched_setaffinity": (203, 122), "prlimit64": (302, 261), "setrlimit": (160, 164),
}  # fmt: skip
_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_ALLOW, _ERROR, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _IS, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_SECCOMP, _FILTER = 22, 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def _restrict_calls(libc: Any) -> bool:
    code = _rules()
    if code is None:
        return False
    buffer = ctypes.create_string_buffer(code)
    program = _Program(len(code) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    return bool(libc.prctl(_SECCOMP, _FILTER, ctypes.byref(program), 0, 0) == 0)


@functools.cache
def _rules() -> bytes | None:
    """The filter of calls, eight bytes per instruction; None on a machine whose numbers are not known."""
    known = _ARCHITECTURES.get(platform.machine())
    if known is None:
        return None
    architecture, column = known
    numbers = [n for n in (pair[column] for pair in _REFUSED.values()) if n is not None]
    code = [
        _instruction(_LOAD, 0, 0, 4),  # seccomp_data.arch
        _instruction(_IS, 1, 0, architecture),
        _instruction(_RETURN, 0, 0, _KILL),
        _instruction(_LOAD, 0, 0, 0),  # seccomp_data.nr
        _instruction(_AT_LEAST, len(numbers) + 1, 0, 0x40000000),  # x32 has other numbers for the same calls
    ]
    code += [_instruction(_IS, len(numbers) - place, 0, number) for place, number in enumerate(numbers)]
    code += [_instruction(_RETURN, 0, 0, _ALLOW), _instruction(_RETURN, 0, 0, _ERROR | errno.EPERM)]
    return b"".join(code)


def _instruction(code: int, if_true: int, if_false: int, value: int) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)

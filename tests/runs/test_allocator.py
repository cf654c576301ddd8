"""Freed memory is kept: seen by the page faults of the second use, in a process of its own."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import numpy as np
from dfbench.runs.allocator import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit(3)
def use():  # 24 blocks of 16 MiB that live at once, as activations do
    blocks = [np.zeros(4 << 20, np.float32) + 1 for _ in range(24)]
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", SCRIPT, how], capture_output=True, text=True)
    if done.returncode == 3:
        pytest.skip("no glibc here")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_the_second_use_has_its_pages() -> None:
    assert faults("keep") * 10 < faults("as it comes")

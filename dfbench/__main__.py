"""``python -m dfbench``."""

from dfbench.cli import main

main()

"""Single views of the pack's portraits at twice forge5's size, pristine and forged: the source ``portraits``.

These files are in a folder of their own because forge5's cache goes by a hash of the files next to it.
"""

"""A long stream drawn from families, their parameters and codecs: the source ``forge50``.

These files are in a folder of their own because forge5's cache goes by a hash of the files next to it.
"""

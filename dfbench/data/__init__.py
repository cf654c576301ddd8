"""The data layer: a table of samples, the sources it is read from, and a store of decoded pixels.

=============  ================================================================
``samples``    the table: one row a face crop or frame (Parquet, numpy columns)
``pictures``   one picture file to one uint8 RGB array, or a :class:`PictureError`
``sources``    what reads a public data set: ``folder``, ``cifar10``, a plugin's
``inspection`` every picture read once before training, remembered in the cache
``leaks``      no identity and no video in two splits
``store``      all pixels of one size in one memory-mapped file
``cache``      where derived files lie and how they are written
=============  ================================================================

Nothing here imports another part of dfbench than :mod:`dfbench.errors`; only ``store`` imports torch.
"""

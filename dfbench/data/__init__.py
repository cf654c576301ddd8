"""The data layer: tables of samples, the sources they are read from, decoded pixels, and batches of them.

================  ================================================================
``samples``       the table: one row per face crop or frame (Parquet, NumPy columns)
``videos``        which samples form one video
``units``         what is trained on: frames, clips, pairs, pairs of clips
``sources``       readers of data sets: ``folder``, ``cifar10``, a plugin's
``pictures``      one picture file to one uint8 RGB array, or a ``PictureError``
``inspection``    hash, size and health of every picture, cached between runs
``leaks``         no identity and no video in two splits
``store``         all pixels of one size in one memory-mapped file
``store_writer``  decode and resize pictures into that file, in worker processes
``loader``        unit ids to batches on the device
``augmentation``  a detector's augmentation on the CPU, in worker processes
``workers``       the worker processes themselves
================  ================================================================

Nothing here imports another part of dfbench than ``errors`` and ``files``. The processes
that inspect and decode pictures import ``inspection``, ``store_writer`` and ``sources``: these must not import torch.
"""

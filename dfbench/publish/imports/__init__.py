"""From a file of somebody's scores to a row of the leaderboard.

===============  ================================================================
``tables``       the columns of a CSV, Parquet or npz file, whatever they mean
``columns``      the documented format: one row per prediction
``dfwb``         score files of deepfake-workbench
``ai_genbench``  predictions that AI-GenBench stores, one file per window
``formats``      which of the three a file is
``predictions``  what each of them gives
``order``        which test sets are experiences, and in which order
``coverage``     predictions that are missing, and what is done about them
``run``          all of it, and the row that comes out
===============  ================================================================
"""

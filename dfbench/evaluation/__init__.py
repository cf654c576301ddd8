"""Metrics of a run, computed from its stored scores.

================  ==================================================================
``scores``        the file of scores: one row per prediction
``detection``     metrics of one test set: AUC, EER, accuracy, calibration
``continual``     metrics of the matrix of those: forgetting, transfer, averages
``stability``     metrics of the points measured inside trainings
``summary``       all of a record's matrices and metrics from its scores
``further``       sets that are tested and never trained on, and degraded copies
``uncertainty``   a bootstrap over people, or videos: intervals of one run
``significance``  intervals over seeds, and comparison of two rows of a leaderboard
================  ==================================================================

Nothing is imported here, so that ``dfbench score`` loads only ``continual`` and NumPy.
"""

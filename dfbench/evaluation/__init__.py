"""What was learned and what was forgotten, computed from stored scores.

``scores`` holds one row a prediction, ``detection`` turns the rows of one test set into AUC, EER, …,
``continual`` turns the matrix of those into forgetting, transfer, …, and ``summary`` joins the three.
Nothing is imported here, so that ``dfbench score`` loads ``continual`` and NumPy alone.
"""

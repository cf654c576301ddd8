"""The record of a run: the one class, where finished runs lie, and what is said of several."""

"""Measurements of dfbench itself: ``python -m perf.NAME``; the last line printed is one JSON object."""

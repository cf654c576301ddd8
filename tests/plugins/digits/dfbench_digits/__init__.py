"""A third-party plugin with a source of ten classes and a detector for it."""

from dfbench import DetectorEntry, SourceEntry, hookimpl


@hookimpl
def register_sources():
    """scikit-learn's digits, turned."""
    return [SourceEntry("digits", "dfbench_digits.source:Digits", "scikit-learn's digits, turned by an angle")]


@hookimpl
def register_detectors():
    """An MLP."""
    return [DetectorEntry("mlp", "dfbench_digits.detector:MLP", "two hidden layers of 100")]

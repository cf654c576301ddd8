"""What dfbench itself brings, registered like anybody's plugin."""

from __future__ import annotations

from pathlib import Path

from dfbench.hookspecs import BenchmarkEntry, MetricEntry, SourceEntry, hookimpl

_STREAMS = Path(__file__).parent / "benchmarks"


@hookimpl
def register_sources() -> list[SourceEntry]:
    """The readers of data sets."""
    return [
        SourceEntry(
            "folder",
            "dfbench.data.sources.folder:FolderSource",
            "train|val|test / real|fake, or a manifest CSV",
        ),
        SourceEntry(
            "cifar10",
            "dfbench.data.sources.cifar10:Cifar10Source",
            "CIFAR-10 (torchvision batches or Hub Parquet)",
        ),
    ]


@hookimpl
def register_benchmarks() -> list[BenchmarkEntry]:
    """The streams that ship with dfbench."""
    return [
        BenchmarkEntry(
            "cifar10-ni10",
            str(_STREAMS / "cifar10-ni10.yaml"),
            "CIFAR-10 in 10 i.i.d. experiences of 5 000 pictures",
        ),
    ]


@hookimpl
def register_metrics() -> list[MetricEntry]:
    """Metrics of a test set, computed from (labels, P(fake))."""
    return [
        MetricEntry("auc", "dfbench.evaluation.detection:auc", "area under the ROC curve, frames"),
        MetricEntry(
            "ap", "dfbench.evaluation.detection:average_precision", "average precision, fake positive"
        ),
        MetricEntry(
            "balanced_accuracy",
            "dfbench.evaluation.detection:balanced_accuracy",
            "mean of both recalls at 0.5",
        ),
    ]

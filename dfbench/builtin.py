"""dfbench's own sources, benchmarks, metrics, checkpoints, recipes and commands, registered like any plugin's."""

from __future__ import annotations

from dfbench import benchmarks
from dfbench.data.prepare.sources import DATA_SETS
from dfbench.hookspecs import (
    BenchmarkEntry,
    CommandEntry,
    DataSetEntry,
    FaceDetectorEntry,
    MetricEntry,
    ReproductionEntry,
    SourceEntry,
    ZooEntry,
    hookimpl,
)
from dfbench.publish import reproduction
from dfbench.publish.zoo.places import packaged as packaged_checkpoints


@hookimpl
def register_sources() -> list[SourceEntry]:
    """The readers of data sets."""
    return [
        SourceEntry("folder", "dfbench.data.sources.folder:FolderSource", "train|val|test / real|fake, or a manifest"),
        SourceEntry(
            "prepared", "dfbench.data.sources.prepared:PreparedSource", "a set that data prepare made of videos"
        ),
        SourceEntry("cifar10", "dfbench.data.sources.cifar10:Cifar10Source", "torchvision's batches or Hub Parquet"),
        SourceEntry("forge5", "dfbench.forge.source:ForgeSource", "synthetic portraits and five forgeries of each"),
        SourceEntry(
            "portraits", "dfbench.forge.portraits.source:PortraitSource", "the same people at 224 px, a forgery each"
        ),
        SourceEntry("forge50", "dfbench.forge.long.source:LongSource", "the same people in 50 drawn forgeries, or N"),
    ]


@hookimpl
def register_data_sets() -> list[DataSetEntry]:
    """The readers of public data sets' trees."""
    return [DataSetEntry(name, target, f"dfbench data show {name}") for name, target in DATA_SETS.items()]


@hookimpl
def register_face_detectors() -> list[FaceDetectorEntry]:
    """Face detectors; their libraries are imported when they are used."""
    own = "dfbench.data.prepare.faces"
    return [
        FaceDetectorEntry("mtcnn", f"{own}:Mtcnn", "MTCNN of facenet-pytorch (pip install dfbench-deepfake[faces])"),
        FaceDetectorEntry("yunet", f"{own}:YuNet", "YuNet through OpenCV; give its file: yunet=FILE.onnx"),
        FaceDetectorEntry("centre", f"{own}:Centre", "no detection: the largest square in the middle"),
    ]


@hookimpl
def register_benchmarks() -> list[BenchmarkEntry]:
    """The packaged streams: one YAML file each."""
    return [BenchmarkEntry(name, str(path), benchmarks.summary(path)) for name, path in benchmarks.packaged().items()]


@hookimpl
def register_metrics() -> list[MetricEntry]:
    """Metrics of a test set, computed from (labels, P(fake))."""
    metrics = "dfbench.evaluation.detection"
    return [
        MetricEntry("auc", f"{metrics}:auc", "area under the ROC curve, frames"),
        MetricEntry("ap", f"{metrics}:average_precision", "average precision, fake positive"),
        MetricEntry(
            "balanced_accuracy", f"{metrics}:balanced_accuracy", "mean of the accuracies on reals and on fakes"
        ),
    ]


@hookimpl
def register_zoo() -> list[ZooEntry]:
    """The zoo: checkpoints that are packaged or lie on the Hub, one YAML file each."""
    return [ZooEntry(name, str(path)) for name, path in packaged_checkpoints().items()]


@hookimpl
def register_reproductions() -> list[ReproductionEntry]:
    """The recipes that ship with dfbench: one YAML file each."""
    about = {"cifar10-2022": "experiments 1 and 2 of a report of 2022: CIFAR-10, four strategies and data aggregate"}
    return [ReproductionEntry(name, str(path), about.get(name, "")) for name, path in reproduction.packaged().items()]


@hookimpl
def register_commands() -> list[CommandEntry]:
    """The program's own commands, one file each in ``dfbench/cli``."""
    about = {
        "eval": "Train a detector on a benchmark under a strategy and measure forgetting.",
        "sweep": "Many runs of a grid, on one machine or many; options chosen on validation data.",
        "compare": "Compare finished runs, in a table and a picture.",
        "report": "Figures and a page of finished runs.",
        "reproduce": "Make published tables again, and say where they differ.",
        "list": "List detectors, strategies, benchmarks, sources, metrics, loggers or reproductions.",
        "show": "Show what a name stands for: presets, options, experiences.",
        "score": "Continual metrics of a given R matrix.",
        "leaderboard": "The leaderboard: show it, add runs to it, build its pages.",
        "verify": "Check a record: metrics from its scores, hashes, or by training again.",
        "zoo": "Trained checkpoints: list, fetch, publish and verify them.",
        "serve": "A page and an API on which anybody can ask about a picture or a video.",
        "predict": "How likely pictures and videos are deepfakes, where the model can say so.",
        "data": "Public data sets: from their videos to face crops.",
        "plugins": "What plugins were found, and why any is broken.",
    }
    return [CommandEntry(name, f"dfbench.cli.{name}:command", summary) for name, summary in about.items()]

"""The model card of a checkpoint: README.md with ``model-index``, and the newer ``.eval_results/*.yaml``.

Both forms of results are written with huggingface_hub's own classes, which check them. Nothing here
depends on the clock or the machine: the same run always gives the same bytes, so pushing it twice
changes nothing.
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, ModelCard, ModelCardData, eval_result_entries_to_yaml

from dfbench import __version__
from dfbench.publish.zoo.entry import CheckpointEntry
from dfbench.records.command import command
from dfbench.records.record import Record
from dfbench.records.text import number

TASK = "image-classification"
DATASETS = "dfbench"
"""Namespace of the benchmarks in results; a name, not the address of a data set."""
METRICS = {"auc": "roc_auc", "video_auc": "roc_auc", "accuracy": "accuracy"}
"""Metric names as huggingface.co/metrics has them."""


def dataset_id(entry: CheckpointEntry) -> str:
    """Name of the benchmark in results."""
    return f"{DATASETS}/{entry.training.benchmark}"


def results_path(entry: CheckpointEntry) -> str:
    """Path of the results file in the repository."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", entry.training.benchmark)[:80]
    return f".eval_results/{DATASETS}-{name}.yaml"


def eval_results(entry: CheckpointEntry, record: Record) -> bytes:
    """The results file: the average, forgetting, and each experience, as fractions."""
    results = entry.results
    values = {f"average_{results.metric}": results.average, "forgetting": results.forgetting}
    values |= {f"{name}_{results.metric}": value for name, value in results.per_experience.items()}
    entries = [
        EvalResultEntry(
            dataset_id=dataset_id(entry),
            task_id=task,
            value=value,
            date=record.created,
            notes=f"{results.split} split, run {record.run}, data {entry.training.fingerprint[:12]}, self-reported",
        )
        for task, value in values.items()
        if value is not None
    ]
    return yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False).encode()


def model_card(entry: CheckpointEntry, record: Record, repo: str, timm: bool = False) -> bytes:
    """README.md.

    Args:
        entry: The entry of the checkpoint.
        record: The record of its run.
        repo: The repository that the card is for.
        timm: Whether the network is timm's, so that timm can load it.
    """
    data = ModelCardData(
        license=entry.licence.weights.lower(),
        library_name="timm" if timm else "dfbench",
        pipeline_tag=TASK,
        tags=list(dict.fromkeys(["dfbench", "deepfake-detection", "continual-learning", TASK, entry.detector])),
        model_name=entry.name,
        eval_results=_model_index(entry),
    )
    body = "\n".join([*_about(entry), *_use(entry, repo, timm), *_training(entry, record), *_results(entry, record)])
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{body}\n")).encode()


def _model_index(entry: CheckpointEntry) -> list[EvalResult]:
    results = entry.results
    rows: list[tuple[str | None, str, float | None]] = [(None, f"average {results.metric}", results.average)]
    rows += [(name, f"{results.metric} on {name}", value) for name, value in results.per_experience.items()]
    return [
        EvalResult(
            task_type=TASK,
            task_name="Deepfake detection",
            dataset_type=dataset_id(entry),
            dataset_name=entry.training.benchmark,
            dataset_config=config,
            dataset_split=results.split,
            dataset_args={"fingerprint": entry.training.fingerprint},
            metric_type=METRICS.get(results.metric, results.metric),
            metric_name=name,
            metric_value=value,
        )
        for config, name, value in rows
        if value is not None
    ]


def _about(entry: CheckpointEntry) -> list[str]:
    lines = [f"# {entry.name}", "", f"{entry.summary}.", ""]
    if entry.superseded_by:
        lines += [f"**Superseded by `{entry.superseded_by}`.**", ""]
    lines += ["## Intended use", "", entry.intended_use, "", "## Limits", "", entry.limits, ""]
    rate, ece = entry.decision.false_positive_rate, entry.decision.ece
    if rate is not None and ece is not None:
        lines += [
            f"At P(fake) > {entry.decision.threshold:g} it calls {rate:.1%} of the real {entry.results.split} pictures "
            f"fake; its expected calibration error is {ece:.3f} (means over the {entry.results.split} sets).",
            "",
        ]
    return lines


def usage(entry: CheckpointEntry, ref: str) -> list[str]:
    """The lines of Python that judge one picture, or one clip, with the checkpoint that ``ref`` means."""
    if entry.input.unit:
        frames = f'sorted(Path("frames").glob("*.png"))[:{entry.input.unit[0]}]'
        shown = f'np.stack([np.asarray(Image.open(file).convert("RGB")) for file in {frames}])'
    else:
        shown = 'np.asarray(Image.open("face.png").convert("RGB"))'
    two = len(entry.classes) == 2
    return [
        *(["from pathlib import Path", ""] if entry.input.unit else []),
        "import dfbench",
        "import numpy as np",
        "from PIL import Image",
        "",
        f'predictor = dfbench.load("{ref}")  # checks the sha256 before the weights are opened',
        f"shown = {shown}",
        "print(predictor.predict(shown))  # P(fake)" if two else "print(predictor.predict_proba(shown))",
    ]


def _use(entry: CheckpointEntry, repo: str, timm: bool) -> list[str]:
    lines = ["## Use", "", "```python", *usage(entry, repo), "```", ""]
    if timm:
        lines += ["The network is timm's:", "", "```python", "import timm", ""]
        lines += [f'model = timm.create_model("hf-hub:{repo}", pretrained=True)', "```", ""]
    shown = entry.input
    size = "as they are" if shown.picture_size is None else "{}×{} pixels (height×width)".format(*shown.picture_size)
    recipe = {
        "faces": size,
        "crop margin": "not stated" if shown.crop_margin is None else f"{shown.crop_margin:g} of the box's side",
        "face detector": shown.face_detector or "not stated",
        "frames per unit": "1" if not shown.unit else "×".join(map(str, shown.unit)),
        "normalisation": "the detector's own"
        if shown.normalisation is None
        else f"mean {list(shown.normalisation.mean)}, std {list(shown.normalisation.std)} of RGB / 255",
        "outputs": ", ".join(entry.classes),
        "parameters": f"{entry.parameters:,}",
    }
    return [*lines, "| input | |", "|---|---|", *(f"| {k} | {v} |" for k, v in recipe.items()), ""]


def _training(entry: CheckpointEntry, record: Record) -> list[str]:
    training = entry.training
    facts = {
        "detector": f"{entry.detector}, preset {entry.preset} ({entry.plugin.distribution} {entry.plugin.version})",
        "stream": f"{training.benchmark}: {' → '.join(training.experiences)}",
        "strategy": f"{training.strategy}, {_options(training.strategy_config)}",
        **({} if training.init is None else {"started from": training.init.short.replace("|", "/")}),
        "memory": f"{training.memory} samples",
        "precision": f"{record.spec.shown['detector_config'].get('precision', 'fp32')} in training"
        + f" (tuned: {', '.join(record.spec.tuned)})" * bool(record.spec.tuned),
        "seed": str(training.seed),
        "data fingerprint": f"`{training.fingerprint}`",
        "run": f"`{record.run}`, dfbench {record.environment.packages.get('dfbench-deepfake') or __version__}",
        "licence": f"code {entry.licence.code}, weights {entry.licence.weights}",
    }
    lines = ["## Training", "", "| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in facts.items())]
    return [*lines, "", "```sh", command(record), "```", ""]


def _results(entry: CheckpointEntry, record: Record) -> list[str]:
    results, names = entry.results, list(entry.results.per_experience)
    lines = [f"## Results: {results.metric} on the {results.split} sets", ""]
    lines += ["| experience | best before the end | after the last | forgotten |", "|---|---|---|---|"]
    rows = record.matrix[results.metric]
    for j, name in enumerate(names):
        best = max((value for row in rows[j:-1] if (value := row[j]) is not None), default=None)
        final = results.per_experience[name]
        lost = None if best is None or final is None else best - final
        lines.append(f"| {name} | {number(best)} | {number(final)} | {number(lost)} |")
    lines.append(f"| **average** | | {number(results.average)} | {number(results.forgetting)} |")
    return [
        *lines,
        "",
        "Self-reported: computed from the per-sample scores of this one run. `record.json` has the rest.",
    ]


def _options(config: dict[str, Any]) -> str:
    return ", ".join(f"{k} {'default' if v is None else v}" for k, v in config.items()) or "no options"

"""What a repository of the Hub holds for one checkpoint: file names to contents."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfbench.publish.hub.card import eval_results, model_card, results_path
from dfbench.publish.zoo.checkpoint import LocatedEntry, load_located
from dfbench.publish.zoo.decided import BANK
from dfbench.publish.zoo.entry import ENTRY_FILE, CheckpointEntry, entry_json
from dfbench.records.finished import FinishedRun
from dfbench.records.record import RECORD, SCORES, WEIGHTS

if TYPE_CHECKING:
    from torch import nn

    from dfbench.plugins import Registry

CARD, CONFIG = "README.md", "config.json"


def written_by_dfbench(path: str) -> bool:
    """Whether dfbench writes a file of this name, so that a push may delete an outdated one."""
    return path in (WEIGHTS, RECORD, SCORES, BANK, ENTRY_FILE, CARD, CONFIG) or path.startswith(
        ".eval_results/dfbench-"
    )


@dataclass(frozen=True)
class RepoFile:
    """One file of the repository: its path there and its content, or the file that holds it."""

    path: str
    content: bytes | Path
    size: int
    """Bytes."""
    sha256: str
    """In hex."""

    @classmethod
    def of(cls, path: str, content: bytes) -> RepoFile:
        """A file of this content."""
        return cls(path, content, len(content), hashlib.sha256(content).hexdigest())


def assemble(entry: CheckpointEntry, run: FinishedRun, repo: str, registry: Registry) -> list[RepoFile]:
    """The files of a repository for a finished run.

    The network is built and the weights fitted first, so nothing is published that cannot be loaded.

    Args:
        entry: The entry of the run (:func:`dfbench.publish.zoo.from_run.entry_from_run`).
        run: The run, in its own folder.
        repo: The repository that the card names.
        registry: What is installed.

    Raises:
        DataError: The weights are not the recorded ones, or do not fit.
    """
    model = load_located(LocatedEntry(entry, run.folder), registry).model
    timm = is_timm(model)
    return [
        *(RepoFile(file.path, run.folder / file.path, file.size, file.sha256) for file in entry.files),
        RepoFile.of(CONFIG, timm_config(model, entry) if timm else plain_config(entry)),
        RepoFile.of(ENTRY_FILE, entry_json(entry)),
        RepoFile.of(CARD, model_card(entry, run.record, repo, timm)),
        RepoFile.of(results_path(entry), eval_results(entry, run.record)),
    ]


def is_timm(model: nn.Module) -> bool:
    """Whether the network is one of timm's, unchanged, so that timm can build it and load its weights.

    A detector may have taken blocks out of it: what timm builds by that name must have the same weights, in name and
    shape, and layers of the same types.
    """
    config = getattr(model, "pretrained_cfg", None)
    if not type(model).__module__.startswith("timm.models.") or not config:
        return False
    import timm
    import torch

    try:
        with torch.device("meta"):
            fresh = timm.create_model(config["architecture"], num_classes=getattr(model, "num_classes", None))
    except (KeyError, RuntimeError, TypeError):  # not a name that timm knows, or one that needs more than a name
        return False
    return _shape(fresh) == _shape(model)


def _shape(model: nn.Module) -> tuple[dict[str, Any], list[tuple[str, type]]]:
    weights = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    return weights, [(name, type(module)) for name, module in model.named_modules()]


def timm_config(model: Any, entry: CheckpointEntry) -> bytes:
    """``config.json`` as timm writes it, with the input recipe of this checkpoint.

    Pictures are squashed to the size, as dfbench does it, and not cropped.
    """
    import copy

    from timm.models._hub import save_config_for_hf

    recipe: dict[str, Any] = {"crop_pct": 1.0, "crop_mode": "squash", "interpolation": "bicubic"}
    if entry.input.picture_size is not None:
        recipe["input_size"] = (3, *entry.input.picture_size)
    if entry.input.normalisation is not None:
        recipe |= {"mean": entry.input.normalisation.mean, "std": entry.input.normalisation.std}
    model = copy.copy(model)
    stale = ("test_input_size", "test_crop_pct", "label_names", "label_descriptions", "license", "tag")
    kept = {k: v for k, v in model.pretrained_cfg.items() if k not in stale}
    model.pretrained_cfg = {**kept, **recipe, "license": entry.licence.weights}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / CONFIG
        save_config_for_hf(model, str(path), model_config={"label_names": list(entry.classes)})
        return path.read_bytes()


def plain_config(entry: CheckpointEntry) -> bytes:
    """``config.json`` of a network that only its detector can build; the Hub counts downloads by this file."""
    document = {
        "library_name": "dfbench",
        "detector": entry.detector,
        "preset": entry.preset,
        "config": entry.config,
        "num_classes": len(entry.classes),
        "label_names": list(entry.classes),
    }
    return (json.dumps(document, indent=2) + "\n").encode()

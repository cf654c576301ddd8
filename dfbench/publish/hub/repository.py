"""What a repository of the Hub holds for one checkpoint: file names to contents."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfbench.files import sha256_of
from dfbench.publish.hub.card import eval_results, model_card, results_path
from dfbench.publish.zoo.checkpoint import Located, load_located
from dfbench.publish.zoo.entry import ENTRY_FILE, Checkpoint, entry_json
from dfbench.publish.zoo.from_run import RECORD, SCORES, WEIGHTS
from dfbench.records.comparison import read_record

if TYPE_CHECKING:
    from torch import nn

    from dfbench.plugins import Registry

CARD, CONFIG = "README.md", "config.json"


def ours(path: str) -> bool:
    """Whether dfbench writes a file of this name, so that a push may take an outdated one away."""
    return path in (WEIGHTS, RECORD, SCORES, ENTRY_FILE, CARD, CONFIG) or path.startswith(".eval_results/dfbench-")


@dataclass(frozen=True)
class Sent:
    """One file as it is to be sent."""

    path: str
    content: bytes | Path

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size

    @property
    def sha256(self) -> str:
        """In hex."""
        if isinstance(self.content, bytes):
            return hashlib.sha256(self.content).hexdigest()
        return sha256_of(self.content)


def assemble(entry: Checkpoint, run: Path, repo: str, registry: Registry) -> list[Sent]:
    """The files of a repository for the finished run in ``run``.

    The network is built and the weights fitted first, so nothing is published that cannot be loaded.

    Raises:
        DataError: a file is not the recorded one, or the weights do not fit.
    """
    loaded = load_located(Located(entry, run), registry)
    record = read_record(run)
    timm = is_timm(loaded.model)
    config = timm_config(loaded.model, entry) if timm else plain_config(entry)
    files = [Sent(file.path, run / file.path) for file in entry.files]
    files += [
        Sent(CONFIG, config),
        Sent(ENTRY_FILE, entry_json(entry)),
        Sent(CARD, model_card(entry, record, repo, timm)),
        Sent(results_path(entry), eval_results(entry, record)),
    ]
    return files


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


def timm_config(model: Any, entry: Checkpoint) -> bytes:
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


def plain_config(entry: Checkpoint) -> bytes:
    """``config.json`` of a network that only its detector can build; the Hub counts downloads by this file."""
    document: Mapping[str, Any] = {
        "library_name": "dfbench",
        "detector": entry.detector,
        "preset": entry.preset,
        "config": entry.config,
        "num_classes": len(entry.classes),
        "label_names": list(entry.classes),
    }
    return (json.dumps(document, indent=2) + "\n").encode()

"""Checks of what a detector declares: its import, its presets, its network, its units."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import torch

from dfbench.plugins import Plugin
from dfbench.records.spec import detector_config
from dfbench.testing.outcome import Broken
from dfbench.testing.subject import Workbench
from dfbench.training.strategies import Strategy

HEAVY = (
    "accelerate", "av", "avalanche", "cv2", "jax", "keras", "lightning", "matplotlib", "numpy", "onnx", "onnxruntime",
    "open_clip", "pandas", "peft", "PIL", "scipy", "skimage", "sklearn", "tensorflow", "timm", "torch", "torchaudio",
    "torchvision", "transformers",
)  # fmt: skip
"""Libraries that take a tenth of a second or more to import, some of them with few modules of their own name."""
MANY = 50
"""Modules from which on any other library counts as large, too."""


def imports(bench: Workbench) -> str:
    """Every command imports the plugin's module, so it must be light."""
    plugin = bench.registry.detectors.plugin(bench.subject.detector)
    code = (
        "import importlib, json, sys, dfbench\n"
        "before = set(sys.modules)\n"
        f"importlib.import_module({plugin.module!r})\n"
        "print('\\n' + json.dumps(sorted(set(sys.modules) - before)))\n"
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}
    )
    if done.returncode:
        raise Broken(f"importing {plugin.module} alone fails: {done.stderr.strip().splitlines()[-1]}")
    modules = Counter(name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1]))
    if heavy := sorted(name for name, count in modules.items() if name in HEAVY or _is_large(name, count, plugin)):
        raise Broken(
            f"importing {plugin.module} imports {', '.join(heavy)}, for which every command then waits: keep the hooks "
            "in a module that imports dfbench alone, and the class in another one"
        )
    return f"{plugin.module} imports nothing heavy"


def _is_large(name: str, modules: int, plugin: Plugin) -> bool:
    """Whether a package of somebody else brings many modules."""
    own = {plugin.module.partition(".")[0], "dfbench"}
    return modules >= MANY and name not in own and name not in sys.stdlib_module_names


def presets(bench: Workbench) -> str:
    """What is registered is what the class has, and each preset is a valid configuration."""
    name, kind = bench.subject.detector, bench.kind
    entry = bench.registry.detectors[name]
    if tuple(entry.presets) != tuple(kind.presets):
        raise Broken(
            f"DetectorEntry names the presets {_names(entry.presets)}, and the class has {_names(kind.presets)}"
        )
    for preset in kind.presets:
        detector_config(kind, name, preset, {}, {}, Strategy)
    if not entry.summary:
        raise Broken("DetectorEntry has no summary, the line that dfbench list shows")
    return _names(kind.presets)


def builds(bench: Workbench) -> str:
    """Networks are made anew by each call, and the seed decides their weights."""
    session = bench.looked_at
    config, task = session.detector.config, session.detector.task
    first, second = bench.kind(config, task), bench.kind(config, task)
    network = bench.network(first)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            tensor.add_(1)
    other = bench.network(second)
    after = other.state_dict()
    if other is network or _shared(network, other):
        raise Broken(
            "build() returns weights that an earlier call has returned: they would go on from the last run; make them "
            "anew, outside of globals, class attributes and caches"
        )
    if wrong := [name for name in before if name not in after or not torch.equal(before[name], after[name])]:
        raise Broken(
            f"build() under one seed gives two networks ({wrong[0]} differs): draw weights from torch's own generator, "
            "which the run seeds"
        )
    facts = [json.dumps(each.facts, sort_keys=True) for each in (first, second)]
    if facts[0] != facts[1]:
        raise Broken(
            f"build() leaves other facts at each call ({facts[0]}, {facts[1]}): they are part of a run's identity, and "
            "an interrupted run would not be found again"
        )
    return f"{sum(p.numel() for p in network.parameters()):,} parameters".replace(",", " ")


def units(bench: Workbench) -> str:
    """Every test video is predicted, under its own label."""
    session = bench.looked_at
    if session.tests.notices:
        raise Broken(f"some test samples are never predicted: {session.tests.notices[0]}")
    found = session.tests.units
    if found.labels.ndim != 1:
        raise Broken(f"units to predict have labels of shape {found.labels.shape}: one label per unit is needed")
    true = session.stream.samples.label[found.rows.reshape(len(found), -1)]
    if wrong := np.flatnonzero((true != found.labels[:, None]).any(1)).tolist():
        raise Broken(
            f"{len(wrong)} of {len(found)} units to predict hold samples of another label than their own: units() must "
            "leave labels as the stream has them"
        )
    shape = "×".join(map(str, found.rows.shape[1:]))
    each = f"{shape} samples each" if shape else "one sample each"
    return f"{len(session.loader.units)} to train on, {len(found)} to predict, {each}"


def _shared(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    places = {tensor.data_ptr() for tensor in a.state_dict().values() if tensor.numel()}
    return any(tensor.data_ptr() in places for tensor in b.state_dict().values() if tensor.numel())


def _names(values: object) -> str:
    return ", ".join(values) if isinstance(values, dict | tuple | list) else str(values)

"""A detector for these tests, installed as a plugin: it notes each training, and may end, wait or refuse."""

from __future__ import annotations

from pathlib import Path

from tests.cli.harness import install

PLUGIN = """
from dfbench import DetectorEntry, hookimpl


@hookimpl
def register_detectors():
    return [DetectorEntry("counted", "counted_plugin.detector:Counted", "notes its trainings")]
"""
DETECTOR = '''
import os
import time
from pathlib import Path

import torch
from torch import nn

from dfbench import Detector, EpochConfig, normalize


class Config(EpochConfig):
    batch_size: int = 8
    epochs: int = 1
    lr: float = 0.05
    fail: bool = False
    for_test: bool = False


class Counted(Detector):
    """A linear layer on small pictures; $COUNTED_AT is a file that gets a line per training."""

    Config = Config
    head = "1"

    def build(self):
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, self.task.num_classes))

    @property
    def image_size(self):
        return (8, 8)

    def predict(self, model, batch):
        """Right on white pictures (for_test), or on the others; upside down on the rest."""
        found = super().predict(model, batch)
        white = batch.pixels.float().amax(dim=(1, 2, 3)) > 250
        if os.environ.get("NO_WHITE") and bool(white.any()):
            raise RuntimeError("a picture of the test split was looked at")
        if os.environ.get("PLANTED"):
            wrong = ~white if self.config.for_test else white
            found = torch.where(wrong[:, None], found.flip(1), found)
        return found

    def train(self, loop):
        if self.config.fail:
            raise RuntimeError("made to fail")
        if path := os.environ.get("COUNTED_AT"):
            with open(path, "a") as file:
                print(f"{os.getpid()} {torch.initial_seed()} {self.config.lr}", file=file)
        while (gate := os.environ.get("GATE")) and not Path(gate).exists():
            time.sleep(0.05)  # held until the test opens it
        super().train(loop)
'''


def install_counted(folder: Path) -> Path:
    """The folder, for ``PYTHONPATH``."""
    return install(
        folder,
        "counted_plugin",
        {"counted_plugin/__init__.py": PLUGIN, "counted_plugin/detector.py": DETECTOR},
    )

"""From what a user wrote to items and options, checked before anything is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from dfbench.data.prepare.jobs import DetectorChoice
from dfbench.data.prepare.options import Options
from dfbench.data.prepare.sources.contract import DataSet, Scan
from dfbench.documents import load_yaml
from dfbench.errors import UsageError
from dfbench.plugins import registry

PACKAGES = ("av", "pillow", "numpy", "pyarrow")
"""Packages that the bytes of a prepared set depend on."""


def data_set(name: str) -> DataSet:
    """The reader of a registered data set.

    Raises:
        UsageError: there is none of this name.
        PluginError: it is not a data set.
    """
    found: type[DataSet] = registry().data_sets.load(name, DataSet)
    return found()


def options_of(settings: Sequence[str]) -> dict[str, Any]:
    """Options of a data set, each written as ``KEY=VALUE``; values are read as YAML.

    Raises:
        UsageError: one is given twice, or is not of this form.
    """
    given: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key or key in given:
            raise UsageError(f"--option {setting}: write each option once, as KEY=VALUE")
        given[key] = load_yaml(value, origin=f"--option {key}")
    return given


def open_set(name: str, root: Path, settings: Sequence[str]) -> tuple[Scan, Options]:
    """Read a data set's tree.

    Args:
        name: of the data set.
        root: the data set's folder.
        settings: its options, each as ``KEY=VALUE``.

    Raises:
        UsageError: an option is unknown or has a wrong value.
        DataError: the root does not exist, or is not that of this data set.
    """
    given = options_of(settings)
    return data_set(name).scan(root, **given), Options(source=name, source_options=given)


def with_detector(options: Options, choices: Mapping[str, Any], faces: str, detector: DetectorChoice) -> Options:
    """The whole options: those of the crops, the face detector with its version, and the libraries' versions.

    Args:
        options: of the data set.
        choices: the other fields, as the command line gave them.
        faces: the face detector, as the user named it.
        detector: the same, ready to be made.

    Raises:
        UsageError: the face detector cannot be made, or a choice is impossible.
    """
    if choices["clip"] == 1:
        raise UsageError("--clip 1: a clip has at least two frames; leave it out for single frames")
    versions = {name: metadata.version(name) for name in PACKAGES}
    return options.model_copy(
        update={
            **choices,
            "faces": faces.partition("=")[0],
            "faces_version": str(getattr(detector.make(), "version", "")),
            "versions": versions,
        }
    )

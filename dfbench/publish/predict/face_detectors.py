"""The face detector that a user names."""

from __future__ import annotations

from dfbench.data.prepare.faces import split_choice
from dfbench.data.prepare.jobs import DetectorChoice
from dfbench.plugins import registry


def face_detector(choice: str, device: str) -> DetectorChoice:
    """The face detector of ``NAME`` or ``NAME=FILE``, not made yet.

    Raises:
        UsageError: There is none of this name, or the device is not available.
        DataError: The file does not exist.
    """
    name, model = split_choice(choice)
    detectors = registry().face_detectors
    detectors.load(name)
    if name not in ("centre", "yunet"):
        from dfbench.runs.environment import choose_device

        device = str(choose_device(device))
    return DetectorChoice(detectors[name].target, model, device)

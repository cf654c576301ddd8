"""``--log jsonl``: every event as one line of JSON, next to the record."""

from __future__ import annotations

import datetime
import json
import os
from typing import Any, BinaryIO, ClassVar

from pydantic import Field

from dfbench import Event, Logger, LoggerConfig, RunFinished, RunStarted, TrainingStep


class JsonlConfig(LoggerConfig):
    """Options of ``jsonl``."""

    file: str = Field("events.jsonl", pattern=r"^[^/\\]+$", description="name of the file in the run's folder")


class JsonlLogger(Logger):
    """Appends whole lines; after ``kill -9`` a half-written last line is cut off and the file goes on."""

    Config: ClassVar = JsonlConfig
    _file: BinaryIO | None = None

    def event(self, event: Event) -> None:
        """Append a line, on the disk before the next experience begins."""
        if isinstance(event, RunStarted):
            path = event.folder / self.config.file
            _cut_half_line(path)
            self._file = path.open("ab", buffering=0)
        if self._file is None:
            return
        line: dict[str, Any] = {"time": datetime.datetime.now(datetime.UTC).isoformat(), **event.as_dict()}
        if isinstance(event, RunFinished):  # the record itself is next to this file
            line["metrics"] = line.pop("record")["metrics"]
        self._file.write((json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n").encode())
        if not isinstance(event, TrainingStep):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def _cut_half_line(path: Any) -> None:
    """Drop what follows the last end of line: a killed process was writing it."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)

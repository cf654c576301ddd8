"""Options of detectors and strategies that came after the first records."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

_LATER = "dfbench_later"


def later(default: Any, **options: Any) -> Any:
    """A pydantic ``Field`` for an option that a released detector or strategy gains.

    At its default it must change nothing, and then it is not told: specs, and the identities made of
    them, stay those of the records from before, which can still be compared and run again.
    """
    return Field(default, json_schema_extra={_LATER: True}, **options)


def told(config: BaseModel) -> dict[str, Any]:
    """A configuration as it stands in a spec: JSON values, without later options at their default."""
    values = config.model_dump(mode="json")
    plain = type(config)
    for name, field in plain.model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra.get(_LATER) and getattr(config, name) == field.default:
            del values[name]
    return values

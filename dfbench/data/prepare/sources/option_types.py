"""Types of options that several data sets have."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

Compression = Literal["raw", "c23", "c40"]
"""FaceForensics++'s levels: uncompressed, H.264 with a quantisation of 23, and of 40."""

Share = Annotated[float, Field(ge=0, lt=1)]
"""A share of people, 0 to 1."""

Ratio = Annotated[float, Field(gt=0)] | None
"""Fakes for each real; None keeps all."""

"""Errors of the API: all have one form, ``{"code": …, "message": …}``; routes document those that they give."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

WHAT = {
    400: "The request is not HTTP as it should be, or holds no file.",
    404: "There is none, or not any more.",
    405: "Another method.",
    408: "The upload took too long.",
    413: "The file is larger than the limit.",
    422: "A parameter has a wrong value.",
    429: "Too many files from this address, or in all; Retry-After says when to try again.",
    503: "Nobody is there to judge, or the service is being stopped; Retry-After says when to try again.",
}


class Said(BaseModel):
    """What went wrong."""

    code: str = Field(description="A stable word.", examples=["too_large"])
    message: str = Field(description="One line in English.", examples=["the file is larger than 100 MB"])


class Problem(Exception):
    """A request that is refused.

    Args:
        status: Of the response.
        code: A stable word.
        message: One line.
        after: Seconds for ``Retry-After``.
    """

    def __init__(self, status: int, code: str, message: str, after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.after = status, code, after


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The responses of a route, as FastAPI takes them."""
    retry = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return {
        status: {"model": Said, "description": WHAT[status], **({"headers": retry} if status in (429, 503) else {})}
        for status in statuses
    }


def response(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error as a response."""
    return JSONResponse({"code": code, "message": message}, status, headers)


async def on_problem(request: Request, error: Exception) -> JSONResponse:
    """Ours."""
    assert isinstance(error, Problem)
    headers = None if error.after is None else {"Retry-After": str(error.after)}
    return response(error.status, error.code, str(error), headers)


async def on_http(request: Request, error: Exception) -> JSONResponse:
    """Starlette's: unknown paths, wrong methods."""
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "refused")
    return response(error.status_code, code, str(error.detail).lower(), dict(error.headers or {}))


async def on_validation(request: Request, error: Exception) -> JSONResponse:
    """Parameters."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or "request"
    return response(422, "invalid", f"{where}: {first['msg']}".lower())

"""The body of every answer that is not a success, for the API's description."""

from __future__ import annotations

from pydantic import BaseModel


class ErrorFields(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    error: ErrorFields

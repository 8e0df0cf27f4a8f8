"""Answers that are a stored file: from this host's disk, or streamed from the bucket as the client takes it."""

from __future__ import annotations

from urllib.parse import quote

from fastapi.responses import FileResponse, StreamingResponse
from starlette.responses import Response

from core.storage.artifacts import Artifacts

KIND = "application/octet-stream"


def stored_file(artifacts: Artifacts, key: str, filename: str) -> Response | None:
    """Answer with a file, as an attachment whatever it is; None when its bytes are gone."""
    path = artifacts.path(key)
    if path.is_file():
        return FileResponse(path, media_type=KIND, filename=filename)
    found = artifacts.stream(key)
    if found is None:
        return None
    size, parts = found
    headers = {"content-length": str(size), "content-disposition": f"attachment; filename*=utf-8''{quote(filename)}"}
    return StreamingResponse(parts, media_type=KIND, headers=headers)

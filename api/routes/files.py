"""/v1/files: upload, list, retrieve, content, delete."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal, get_args

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api.deps import Parts, PartsDep, Tenant, TenantDep
from api.downloads import stored_file
from api.paging import After, Limit, ListObject, page_of
from api.schemas.files import FileDeleted, FileObject, Purpose
from api.uploads import FRAME_BYTES, Upload, receiving
from core.errors import InvalidValue, NotFound, shown
from core.files.freeing import free_unrecorded
from core.files.service import delete_file, get_file, list_files, record_file
from core.ids import new_id
from core.quotas.limits import Rules
from core.quotas.service import check_room, check_stored
from core.storage.artifacts import file_key

router = APIRouter(tags=["files"])

MOST_FILES = 10_000
PURPOSES: tuple[str, ...] = get_args(Purpose)
ANCHOR, SECONDS = "expires_after[anchor]", "expires_after[seconds]"
FIELDS = frozenset({"purpose", ANCHOR, SECONDS})
LEAST_SECONDS, MOST_SECONDS = 3600, 2_592_000
BATCH_DAYS = 30

UPLOAD_FORM = {
    "required": True,
    "content": {"multipart/form-data": {"schema": {
        "type": "object",
        "required": ["file", "purpose"],
        "properties": {
            "file": {"type": "string", "contentMediaType": "application/octet-stream"},
            "purpose": {"type": "string", "enum": list(PURPOSES)},
            ANCHOR: {"type": "string", "enum": ["created_at"]},
            SECONDS: {"type": "integer", "minimum": LEAST_SECONDS, "maximum": MOST_SECONDS},
        },
        "additionalProperties": False,
    }}},
}


@router.post("/files", openapi_extra={"requestBody": UPLOAD_FORM})
async def create_file(request: Request, tenant: TenantDep, parts: PartsDep) -> FileObject:
    """Upload a file as a form. It is written to disk as it arrives."""
    settings = parts.settings
    announced = request.headers.get("content-length", "0")
    wanted = int(announced) if announced.isdigit() else 0

    def check_space(more_bytes: int = 0) -> None:
        parts.artifacts.require_space(more_bytes, settings.min_free_bytes)

    await run_in_threadpool(check_space, wanted)
    await run_in_threadpool(_check_quota, tenant, parts, max(0, wanted - FRAME_BYTES))
    async with receiving(request, parts.artifacts.new_temporary, limit=settings.max_file_bytes, known_fields=FIELDS,
                         check_space=check_space) as upload:
        return await run_in_threadpool(_store, upload, tenant, parts)


@router.get("/files")
def list_all(
    tenant: TenantDep,
    parts: PartsDep,
    after: After = None,
    limit: Limit = MOST_FILES,
    order: Literal["asc", "desc"] = "desc",
    purpose: Annotated[str | None, Query(max_length=64)] = None,
) -> ListObject[FileObject]:
    """List files, newest first unless `order` is `asc`."""
    with parts.ledger.read() as session:
        page = list_files(session, tenant.project_id, after=after, limit=min(limit, MOST_FILES), order=order, purpose=purpose)
        return page_of(page, FileObject.of)


@router.get("/files/{file_id}")
def retrieve(file_id: str, tenant: TenantDep, parts: PartsDep) -> FileObject:
    with parts.ledger.read() as session:
        return FileObject.of(get_file(session, tenant.project_id, file_id))


@router.get("/files/{file_id}/content", response_class=FileResponse)
def content(file_id: str, tenant: TenantDep, parts: PartsDep) -> Response:
    """Download the bytes, as an attachment whatever they are."""
    with parts.ledger.read() as session:
        file = get_file(session, tenant.project_id, file_id)
    answer = stored_file(parts.artifacts, file.storage_key, file.filename)
    if answer is None:
        raise NotFound(f"the bytes of file {shown(file_id)} are gone from storage; upload it again, and tell the operator")
    return answer


@router.delete("/files/{file_id}")
def delete(file_id: str, tenant: TenantDep, parts: PartsDep) -> FileDeleted:
    """Delete a file. Jobs that were submitted on it go on."""
    with parts.ledger.write() as session:
        delete_file(session, tenant.project_id, file_id, now=parts.clock())
    parts.wake_workers("upkeep")
    return FileDeleted(id=file_id)


def _store(upload: Upload, tenant: Tenant, parts: Parts) -> FileObject:
    """Publish the bytes, then the row that promises them; a row that cannot be written takes the bytes away again."""
    now = parts.clock()
    purpose = _purpose(upload.fields)
    expires_at = _expiry(upload.fields, purpose, now)
    file_id = new_id("file")
    key = file_key(file_id)
    parts.artifacts.publish(upload.temporary, key)
    try:
        with parts.ledger.write() as session:
            check_stored(session, tenant.project_id, tenant.key_id, upload.bytes, rules=Rules.of(parts.settings))
            file = record_file(session, project_id=tenant.project_id, file_id=file_id, filename=upload.filename,
                               purpose=purpose, bytes=upload.bytes, sha256=upload.sha256, storage_key=key, now=now,
                               expires_at=expires_at, key_id=tenant.key_id)
        return FileObject.of(file)
    except Exception:
        free_unrecorded(parts.ledger, parts.artifacts, file_id)
        raise


def _check_quota(tenant: Tenant, parts: Parts, announced_bytes: int) -> None:
    """Refuse what cannot fit before it is read; what fits is checked again when it is stored."""
    with parts.ledger.read() as session:
        check_room(session, tenant.project_id, tenant.key_id, announced_bytes, rules=Rules.of(parts.settings))


def _purpose(fields: dict[str, str]) -> str:
    purpose = fields.get("purpose")
    if purpose is None:
        raise InvalidValue("'purpose' is missing; add the field, for example with the value 'fine-tune'",
                           code="missing_required_parameter", param="purpose")
    if purpose not in PURPOSES:
        raise InvalidValue(f"'purpose' is {shown(purpose)}; expected one of {', '.join(PURPOSES)}; correct it", param="purpose")
    return purpose


def _expiry(fields: dict[str, str], purpose: str, now: datetime) -> datetime | None:
    if ANCHOR not in fields and SECONDS not in fields:
        return now + timedelta(days=BATCH_DAYS) if purpose == "batch" else None
    for name in (ANCHOR, SECONDS):
        if name not in fields:
            raise InvalidValue(f"'{name}' is missing beside the other half of expires_after; send both, or neither",
                               code="missing_required_parameter", param=name)
    if fields[ANCHOR] != "created_at":
        raise InvalidValue(f"'{ANCHOR}' is {shown(fields[ANCHOR])}; expected 'created_at'; correct it", param=ANCHOR)
    text = fields[SECONDS]
    seconds = int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else -1
    if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        raise InvalidValue(f"'{SECONDS}' is {shown(text)}; expected a whole number from {LEAST_SECONDS} to {MOST_SECONDS}; "
                           "correct it", param=SECONDS)
    return now + timedelta(seconds=seconds)

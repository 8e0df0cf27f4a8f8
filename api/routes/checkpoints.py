"""/v1/fine_tuning/jobs/{id}/checkpoints: list, pin and delete them, download their adapters, see which data they have seen."""

from __future__ import annotations

import re

from fastapi import APIRouter
from fastapi.responses import FileResponse
from starlette.responses import Response

from api.deps import Parts, PartsDep, Tenant, TenantDep
from api.downloads import stored_file
from api.paging import MOST, After, Limit, ListObject, page_of
from api.schemas.checkpoints import CheckpointDeleted, CheckpointFile, CheckpointFiles, CheckpointObject
from api.schemas.lineage import Receipt
from core.checkpoints.freeing import free
from core.checkpoints.service import drop, get_checkpoint, list_checkpoints, pin, unpin
from core.errors import NotFound, shown
from core.jobs.service import get_job
from core.lineage.receipt import receipt
from core.models.service import model_name_of
from core.storage.manifest import FolderDamaged, ManifestFile

router = APIRouter(prefix="/fine_tuning/jobs/{job_id}/checkpoints", tags=["fine-tuning"])

PAGE = 10
HANDED_OUT = re.compile(r"adapter_model\.safetensors|adapter_config\.json|tokenizer[A-Za-z0-9_.-]*|special_tokens_map\.json|"
                        r"added_tokens\.json|vocab\.(json|txt)|merges\.txt|chat_template\.jinja")
"""What makes an adapter usable elsewhere. Optimizer, random state and position stay here."""


@router.get("")
def list_all(job_id: str, tenant: TenantDep, parts: PartsDep, after: After = None,
             limit: Limit = PAGE) -> ListObject[CheckpointObject]:
    """List the checkpoints at the ends of epochs and the last step, newest first."""
    with parts.ledger.read() as session:
        job = get_job(session, tenant.project_id, job_id)
        name = model_name_of(session, job)
        page = list_checkpoints(session, job.id, after=after, limit=min(limit, MOST))
        return page_of(page, lambda checkpoint: CheckpointObject.of(checkpoint, name))


@router.post("/{checkpoint_id}/pin")
def pin_one(job_id: str, checkpoint_id: str, tenant: TenantDep, parts: PartsDep) -> CheckpointObject:
    """Keep a checkpoint, whatever the job's `keep_checkpoints` says."""
    with parts.ledger.write() as session:
        job = get_job(session, tenant.project_id, job_id)
        return CheckpointObject.of(pin(session, job.id, checkpoint_id, now=parts.clock()), model_name_of(session, job))


@router.post("/{checkpoint_id}/unpin")
def unpin_one(job_id: str, checkpoint_id: str, tenant: TenantDep, parts: PartsDep) -> CheckpointObject:
    """Let a checkpoint go when its turn comes."""
    with parts.ledger.write() as session:
        job = get_job(session, tenant.project_id, job_id)
        return CheckpointObject.of(unpin(session, job.id, checkpoint_id), model_name_of(session, job))


@router.delete("/{checkpoint_id}")
def delete(job_id: str, checkpoint_id: str, tenant: TenantDep, parts: PartsDep) -> CheckpointDeleted:
    """Delete a checkpoint and free its bytes; refused while it is pinned or something needs it."""
    with parts.ledger.write() as session:
        keys = drop(session, get_job(session, tenant.project_id, job_id).id, checkpoint_id, now=parts.clock())
    free(parts.ledger, parts.artifacts, keys)
    return CheckpointDeleted(id=checkpoint_id)


@router.get("/{checkpoint_id}/receipt")
def read_receipt(job_id: str, checkpoint_id: str, tenant: TenantDep, parts: PartsDep) -> Receipt:
    """Tell which data a checkpoint has seen: versions, mixture log, counts, and the digest of the order of its rows."""
    with parts.ledger.read() as session:
        job = get_job(session, tenant.project_id, job_id)
        checkpoint = get_checkpoint(session, job.id, checkpoint_id)
        return Receipt.model_validate(receipt(session, job, checkpoint, artifacts=parts.artifacts))


@router.get("/{checkpoint_id}/files")
def list_files(job_id: str, checkpoint_id: str, tenant: TenantDep, parts: PartsDep) -> CheckpointFiles:
    """List the files of the adapter, named as PEFT writes them."""
    _, files = _adapter(job_id, checkpoint_id, tenant, parts)
    return CheckpointFiles(data=[CheckpointFile.of(file) for file in files])


@router.get("/{checkpoint_id}/files/{name:path}", response_class=FileResponse)
def download(job_id: str, checkpoint_id: str, name: str, tenant: TenantDep, parts: PartsDep) -> Response:
    """Download one file of the adapter."""
    key, files = _adapter(job_id, checkpoint_id, tenant, parts)
    answer = stored_file(parts.artifacts, f"{key}/{name}", name) if name in {file.name for file in files} else None
    if answer is None:
        raise NotFound(f"checkpoint {shown(checkpoint_id)} has no file {shown(name)}; list its files without a name")
    return answer


def _adapter(job_id: str, checkpoint_id: str, tenant: Tenant, parts: Parts) -> tuple[str, list[ManifestFile]]:
    """Find the key of a checkpoint's folder and what its manifest names for handing out."""
    with parts.ledger.read() as session:
        job = get_job(session, tenant.project_id, job_id)
        key = get_checkpoint(session, job.id, checkpoint_id).folder_key
    try:
        whole = parts.artifacts.manifest_of(key)
    except FolderDamaged:
        raise NotFound(f"the files of checkpoint {shown(checkpoint_id)} are gone from storage; use another checkpoint, and "
                       "tell the operator") from None
    return key, [file for file in whole.files if HANDED_OUT.fullmatch(file.name)]

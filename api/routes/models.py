"""/v1/models: base models on the operator's list and the project's own. Names hold slashes and colons."""

from __future__ import annotations

from fastapi import APIRouter

from api.deps import PartsDep, TenantDep
from api.schemas.models import ModelDeleted, ModelList, ModelObject
from core.models.service import delete_model, get_model, list_models

router = APIRouter(tags=["models"])


@router.get("/models")
def list_all(tenant: TenantDep, parts: PartsDep) -> ModelList:
    """List all models that the project may name. There are no pages."""
    with parts.ledger.read() as session:
        return ModelList(data=[ModelObject.of(model) for model in list_models(session, tenant.project_id)])


@router.get("/models/{model:path}")
def retrieve(model: str, tenant: TenantDep, parts: PartsDep) -> ModelObject:
    """Retrieve a model by its name, or by a checkpoint's."""
    with parts.ledger.read() as session:
        return ModelObject.of(get_model(session, tenant.project_id, model))


@router.delete("/models/{model:path}")
def delete(model: str, tenant: TenantDep, parts: PartsDep) -> ModelDeleted:
    """Delete a fine-tuned model. Its job and result file stay; jobs that were submitted on it go on."""
    with parts.ledger.write() as session:
        delete_model(session, tenant.project_id, model, now=parts.clock())
    return ModelDeleted(id=model)

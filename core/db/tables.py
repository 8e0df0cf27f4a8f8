"""Every table of the ledger, gathered so that its metadata is whole: migrations and tests import this."""

from core.checkpoints.models import Checkpoint
from core.chores.models import Chore
from core.datasets.models import Dataset, DatasetShard, DatasetVersion
from core.db.base import Base
from core.devices.models import Device
from core.events.models import Event
from core.files.models import StoredFile
from core.forecast.models import Forecast, RunSpeed
from core.jobs.models import IdempotencyKey, Job, Run
from core.lineage.models import StepRows
from core.models.models import Model
from core.projects.models import ApiKey, DeviceUse, Project, RecentUse
from core.quotas.models import Quota
from core.steering.models import MixtureChange
from core.webhooks.models import WebhookDelivery, WebhookEndpoint
from core.workers.models import RoleLease, Worker

metadata = Base.metadata

__all__ = [
    "ApiKey", "Checkpoint", "Chore", "Dataset", "DatasetShard", "DatasetVersion", "Device", "DeviceUse", "Event", "Forecast",
    "IdempotencyKey", "Job", "MixtureChange", "Model", "Project", "Quota", "RecentUse", "RoleLease", "Run", "RunSpeed",
    "StepRows", "StoredFile", "WebhookDelivery", "WebhookEndpoint", "Worker", "metadata",
]

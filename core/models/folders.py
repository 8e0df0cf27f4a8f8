"""Where a base model lies on this host: the folder it was added from, or a copy out of the storage that hosts share.

`headrace models add` brings a model's files into a bucket, once for each content; whoever needs them fetches them at first use.
"""

from __future__ import annotations

from pathlib import Path

from core.models.models import Model
from core.storage.artifacts import Artifacts, model_key
from core.storage.manifest import FolderDamaged


def known_folder(base: Model, artifacts: Artifacts) -> str:
    """The folder as far as it is known without fetching anything; "" for a model without one."""
    if artifacts.is_shared and base.folder and base.digest and not Path(base.folder).is_dir():
        return str(artifacts.path(model_key(base.digest)))
    return base.folder or ""


def fetch_folder(base: Model, artifacts: Artifacts) -> str:
    """Have the folder on this host; one that is nowhere is given as it was added, for the caller to look at."""
    folder = known_folder(base, artifacts)
    if folder and folder != base.folder:
        try:
            artifacts.fetch(model_key(base.digest or ""))
        except FolderDamaged:
            return base.folder or ""
    return folder

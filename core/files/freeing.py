"""Bytes that were stored for a file whose row could then not be written.

The answer to a commit may be lost though it happened, so the ledger is asked. Where it does not answer either, the bytes stay:
bytes without a row cost room, a row without bytes breaks a promise.
"""

from __future__ import annotations

from core.db.session import Ledger
from core.files.models import StoredFile
from core.logs import get_log
from core.storage.artifacts import Artifacts, file_key

log = get_log(__name__)


def free_unrecorded(ledger: Ledger, artifacts: Artifacts, file_id: str) -> None:
    """Remove a file's bytes unless its row is there. What fails is logged: the caller has its own error to tell."""
    try:
        with ledger.read() as session:
            if session.get(StoredFile, file_id) is not None:
                return
        artifacts.delete(file_key(file_id))
    except Exception as error:
        log.warning("file.unfreed", file_id=file_id, cause=str(error))

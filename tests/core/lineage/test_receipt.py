from __future__ import annotations

from pathlib import Path

from core.data.spec import Place
from core.db.session import Ledger
from core.lineage.receipt import receipt
from core.storage.bucket import Bucket
from core.storage.shared import SharedArtifacts
from tests import factories


def test_a_receipt_asks_nothing_of_the_storage_which_may_have_lost_the_data(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    nowhere = Place("p", "s3://bucket", {"endpoint_url": "http://127.0.0.1:9", "key": "k", "secret": "s"})
    with sqlite_ledger.write() as session:
        dataset, _ = factories.a_dataset(session)
        claim = factories.a_running_job(session, datasets=[{"dataset": dataset.id}])
        checkpoint = factories.a_checkpoint(session, claim)
        told = receipt(session, claim.job, checkpoint, artifacts=SharedArtifacts(tmp_path, Bucket(nowhere), copies_bytes=0))
    assert [source["dataset"] for source in told["sources"]] == [dataset.id]
    assert told["mixture_digest"]

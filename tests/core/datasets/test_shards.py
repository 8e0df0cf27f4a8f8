from __future__ import annotations

import hashlib

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.chores.models import Chore
from core.datasets import service as datasets
from core.datasets.models import DatasetVersion
from core.datasets.service import NewShard, Rows
from core.datasets.shards import content_digest
from core.db.session import Ledger
from core.errors import IllegalMove, InvalidValue, NotFound
from core.files import service as files
from core.files.repository import registered_versions_on
from tests.factories import NOW, a_dataset, a_file, a_project, a_report, an_index, next_moment


def registered(session: Session, *filenames: str, name: str = "many", is_appended: bool = False, **said) -> DatasetVersion:
    project = a_project(session)
    file_ids = [a_file(session, project, filename=filename).id for filename in filenames]
    return datasets.register(session, project.id, name=name, rows=Rows(file_ids, **said), is_appended=is_appended,
                             now=next_moment())[1]


def settled(session: Session, version: DatasetVersion, *digests: str) -> DatasetVersion:
    """Each file that is not indexed yet with a digest of its own."""
    waiting = [shard for shard in version.shards if not shard.is_indexed]
    for shard, digest in zip(waiting, digests, strict=True):
        datasets.settle_shard(session, version.id, shard.number, report=a_report(sha256=digest))
    digest = content_digest([shard.digest or "" for shard in version.shards])
    return datasets.settle_index(session, version.id, report=a_report(sha256=digest), now=next_moment())


def test_several_files_are_shards_in_the_order_of_their_names(ledger: Ledger):
    with ledger.write() as session:
        version = registered(session, "b.jsonl", "a.csv", "c.parquet")
        assert [(shard.number, shard.name) for shard in version.shards] == [(0, "a.csv"), (1, "b.jsonl"), (2, "c.parquet")]
        assert (version.file_id, version.bytes, len({shard.index_key for shard in version.shards})) == (None, 3000, 3)


def test_a_version_of_one_file_names_it(ledger: Ledger):
    with ledger.write() as session:
        version = registered(session, "a.jsonl")
        assert version.file_id == version.shards[0].file_id


def test_one_file_that_is_unknown_is_named(ledger: Ledger):
    with ledger.write() as session:
        project = a_project(session)
        with pytest.raises(NotFound, match="file-gone") as caught:
            datasets.register(session, project.id, name="x", rows=Rows([a_file(session, project).id, "file-gone"]), now=NOW)
    assert caught.value.param == "file_ids"


def test_appending_keeps_what_is_indexed_and_waits_for_the_rest(ledger: Ledger):
    with ledger.write() as session:
        first = settled(session, registered(session, "b.jsonl", "c.jsonl"), "b", "c")
        second = registered(session, "a.jsonl", is_appended=True)
        assert [(shard.name, shard.is_indexed) for shard in second.shards] == [
            ("b.jsonl", True), ("c.jsonl", True), ("a.jsonl", False)]
        assert [shard.index_key for shard in second.shards[:2]] == [shard.index_key for shard in first.shards]
        assert (second.number, second.file_id, second.bytes) == (2, None, 3000)
        settled(session, second, "a")
        assert [(shard.digest, shard.rows) for shard in second.shards] == [("b", 100), ("c", 100), ("a", 100)]
        assert [shard.name for shard in first.shards] == ["b.jsonl", "c.jsonl"]


def test_appending_to_one_that_is_being_indexed_reads_its_files_too(ledger: Ledger):
    with ledger.write() as session:
        first = registered(session, "a.jsonl")
        second = registered(session, "b.jsonl", is_appended=True)
        assert [shard.is_indexed for shard in second.shards] == [False, False]
        assert second.shards[0].index_key != first.shards[0].index_key


def test_appending_by_id_is_the_same(ledger: Ledger):
    with ledger.write() as session:
        first = settled(session, registered(session, "a.jsonl"), "a")
        project = a_project(session)
        file = a_file(session, project, filename="b.jsonl")
        second = datasets.append(session, project.id, first.dataset_id, rows=Rows([file.id]), now=next_moment())
        assert [shard.name for shard in second.shards] == ["a.jsonl", "b.jsonl"]


def test_there_must_be_something_to_append_to(ledger: Ledger):
    with ledger.write() as session:
        with pytest.raises(InvalidValue, match="there is no data set 'many' to append to"):
            registered(session, "a.jsonl", is_appended=True)
        failed = registered(session, "a.jsonl", name="bad")
        datasets.fail_index(session, failed.id, code="x", message="y", now=NOW)
        with pytest.raises(IllegalMove, match="no version whose files are known"):
            registered(session, "b.jsonl", name="bad", is_appended=True)


def test_what_is_appended_is_read_as_the_rest(ledger: Ledger):
    with ledger.write() as session:
        settled(session, registered(session, "a.csv", shape="text", columns={"text": "body"}), "a")
        second = registered(session, "b.csv", is_appended=True)
        assert (second.asked_shape, second.columns) == ("text", {"text": "body"})
        with pytest.raises(InvalidValue, match="another shape or other columns"):
            registered(session, "c.csv", is_appended=True, columns={"text": "title"})


def test_the_digest_of_one_file_is_its_own_and_of_several_that_over_theirs(ledger: Ledger):
    with ledger.write() as session:
        assert settled(session, registered(session, "a.jsonl"), "d1").digest == "d1"
        assert settled(session, registered(session, "a", "b"), "d1", "d2").digest == hashlib.sha256(b"d1\nd2").hexdigest()


def test_the_same_content_again_is_told(ledger: Ledger):
    with ledger.write() as session:
        contents = (("1", "2"), ("1", "3"), ("1", "2"))
        versions = [settled(session, registered(session, "a", "b"), *digests) for digests in contents]
        assert [(version.number, version.same_as) for version in versions] == [(1, None), (2, None), (3, 1)]
        other = settled(session, registered(session, "a", "b", shape="text"), "1", "2")
        assert other.same_as is None


def test_files_of_a_pattern_are_known_once_it_was_looked_up(ledger: Ledger):
    with ledger.write() as session:
        version = registered(session, place="lake", pattern="2026/*.jsonl")
        assert (version.is_listed, version.shards, version.place) == (False, [], "lake")
        with pytest.raises(IllegalMove, match="whose files are known"):
            registered(session, "a.jsonl", is_appended=True)
        found = [NewShard(f"{name}.jsonl", 7, place="lake", path=f"2026/{name}.jsonl", tag="t") for name in "ba"]
        for _ in range(2):
            datasets.settle_listing(session, version.id, found)
        assert [(shard.name, shard.path, shard.tag) for shard in version.shards] == [
            ("a.jsonl", "2026/a.jsonl", "t"), ("b.jsonl", "2026/b.jsonl", "t")]
        assert (version.is_listed, version.bytes) == (True, 14)


def test_a_file_is_needed_by_every_version_that_has_it(ledger: Ledger):
    with ledger.write() as session:
        version = settled(session, registered(session, "a.jsonl", "b.jsonl"), "a", "b")
        file_id = version.shards[1].file_id or ""
        second = registered(session, "c.jsonl", is_appended=True)
        assert sorted(registered_versions_on(session, file_id)) == sorted([version.id, second.id])
        files.delete_file(session, a_project(session).id, file_id, now=NOW)
        assert not files.purgeable(session, file_id)
        datasets.delete_dataset(session, a_project(session).id, version.dataset_id, now=NOW)
        assert files.purgeable(session, file_id)


def test_too_many_files_are_refused(ledger: Ledger):
    with ledger.write() as session:
        version = registered(session, place="lake", pattern="*")
        with pytest.raises(InvalidValue, match="would have 4,097 files; at most 4,096"):
            datasets.settle_listing(session, version.id, [NewShard(f"{n}", 1, place="lake", path=f"{n}") for n in range(4097)])


def test_each_version_has_one_chore(ledger: Ledger):
    with ledger.write() as session:
        version = registered(session, "a.jsonl", "b.jsonl", "c.jsonl")
        chores = session.scalars(select(Chore).where(Chore.kind == datasets.INDEX)).all()
        assert [chore.subject for chore in chores] == [version.id]


def test_a_version_settled_with_one_report_says_so_of_its_file(ledger: Ledger):
    with ledger.write() as session:
        _, version = a_dataset(session, is_ready=False)
        an_index(session, version, kind="frames", file_kind="json.gz", converted_bytes=77, seconds=0.5)
        shard = version.shards[0]
        assert (shard.kind, shard.file_kind, shard.converted_bytes, shard.seconds) == ("frames", "json.gz", 77, 0.5)

"""Versions of several files, indexed by the real passes: what is kept, what is read again, and what is said."""

from __future__ import annotations

import gzip
import threading
from pathlib import Path

import pytest
from sqlalchemy import select

from core.chores import service as chores
from core.chores.models import Chore
from core.clock import system_clock
from core.data.rows import RowReader
from core.data.spec import RowRef, SourceSpec
from core.datasets import service as datasets
from core.datasets.models import DatasetVersion
from core.datasets.service import Rows
from core.datasets.sources import source_of
from core.db.session import Ledger
from core.errors import DataError, LeaseLost
from core.jobs.models import Job
from core.jobs.preparation import check_version
from core.places import places_of
from core.specs.job import SPEC_VERSION
from tests import factories
from tests.core.data.files_on_disk import KINDS, jsonl
from tests.worker.desks import Bench
from worker.indexing import index_version


def pairs(first: int, count: int) -> list[dict[str, str]]:
    return [{"prompt": f"question {n}", "completion": f"answer {n}"} for n in range(first, first + count)]


def registered(bench: Bench, *, name: str = "many", is_appended: bool = False, place: str | None = None,
               pattern: str | None = None, **contents: bytes) -> DatasetVersion:
    """Store files and register them; a name's `_` stands for its dot."""
    file_ids = [bench.stored(content, filename=filename.replace("_", ".")) for filename, content in contents.items()]
    with bench.ledger.write() as session:
        project = factories.a_project(session)
        return datasets.register(session, project.id, name=name, rows=Rows(file_ids, place, pattern), is_appended=is_appended,
                                 now=system_clock())[1]


def after(bench: Bench, version: DatasetVersion) -> DatasetVersion:
    bench.work()
    return bench.read(DatasetVersion, version.id)


def source(bench: Bench, version: DatasetVersion) -> SourceSpec:
    return source_of(version, bench.desk.artifacts, name="many")


def values(bench: Bench, version: DatasetVersion) -> list[dict]:
    spec = source(bench, version)
    with RowReader([spec], places_of(bench.desk.settings)) as reader:
        return [reader.read(RowRef(0, row)).value for row in range(reader.indexes[0].rows)]


def test_files_of_every_kind_make_one_version(sqlite_ledger: Ledger, tmp_path: Path):
    bench = Bench(sqlite_ledger, tmp_path)
    contents = {f"{number:02}_{kind.replace('.', '_')}": KINDS[kind](pairs(3 * number, 3)) for number, kind in enumerate(KINDS)}
    version = after(bench, registered(bench, **contents))
    assert (version.status, version.rows, version.row_format) == ("ready", 3 * len(KINDS), "prompt_completion")
    assert [shard.file_kind for shard in version.shards] == list(KINDS)
    assert values(bench, version) == pairs(0, 3 * len(KINDS))
    assert source(bench, version).layout == "blocks"
    converted = [shard.converted_bytes for shard in version.shards if shard.kind == "frames"]
    assert all(converted)
    assert (version.report or {})["converted_bytes"] == sum(filter(None, converted))
    assert version.progress_bytes == version.bytes == sum(map(len, contents.values()))


def test_appending_reads_only_what_is_new(sqlite_ledger: Ledger, tmp_path: Path):
    bench = Bench(sqlite_ledger, tmp_path)
    first = after(bench, registered(bench, a_jsonl=jsonl(pairs(0, 3))))
    index = bench.desk.artifacts.path(first.shards[0].index_key)
    written_at = (index / "index.json").stat().st_mtime_ns
    second = after(bench, registered(bench, b_csv=KINDS["csv"](pairs(3, 2)), is_appended=True))
    assert (second.status, second.rows, second.number) == ("ready", 5, 2)
    assert (index / "index.json").stat().st_mtime_ns == written_at
    assert values(bench, second) == pairs(0, 5)
    assert values(bench, bench.read(DatasetVersion, first.id)) == pairs(0, 3)


def test_faults_and_repetitions_are_told_over_all_files(sqlite_ledger: Ledger, tmp_path: Path):
    bench = Bench(sqlite_ledger, tmp_path)
    bad = b'{"prompt": "a", "completion": ""}\n'
    version = after(bench, registered(bench, a_jsonl=jsonl(pairs(0, 2)) + bad, b_jsonl=bad + jsonl(pairs(0, 2))))
    report = version.report or {}
    assert (version.rows, version.faulty_rows, report["fault_counts"]) == (6, 2, {"nothing_to_train_on": 2})
    assert [(fault["file"], fault["line"]) for fault in report["faults"]] == [("a.jsonl", 3), ("b.jsonl", 1)]
    assert report["faults"][1]["message"].startswith("b.jsonl, line 1: ")
    assert report["duplicates"]["rows"] == 3
    lengths = report["lengths"]
    assert (lengths["min"], sum(rows for _, rows in lengths["histogram"])) == (33, 6)


def test_a_fault_names_the_file_though_there_is_only_one(sqlite_ledger: Ledger, tmp_path: Path):
    bench = Bench(sqlite_ledger, tmp_path)
    bad = b'{"prompt": "a", "completion": ""}\n'
    some = after(bench, registered(bench, name="some", a_jsonl=jsonl(pairs(0, 2)) + bad))
    (fault,) = (some.report or {})["faults"]
    assert (fault["file"], fault["line"], fault["message"][:17]) == ("a.jsonl", 3, "a.jsonl, line 3: ")
    job = Job(spec={"model": "tiny", "training_file": "file-1"}, spec_version=SPEC_VERSION)
    with pytest.raises(DataError, match=r"training_file has 1 faulty row of 3: a\.jsonl, line 3: "):
        check_version(job, some, param="training_file")
    none = after(bench, registered(bench, name="none", b_jsonl=bad))
    assert "can be trained on: b.jsonl, line 1: " in (none.error or {})["message"]


def test_files_of_different_formats_are_refused_in_words(sqlite_ledger: Ledger, tmp_path: Path):
    bench = Bench(sqlite_ledger, tmp_path)
    version = after(bench, registered(bench, a_jsonl=jsonl(pairs(0, 2)), b_txt=b"a line of text\n"))
    assert version.status == "failed"
    assert version.error == {"code": "mixed_formats", "message": (
        "its files hold rows of different formats: 'a.jsonl' holds prompt_completion rows, 'b.txt' holds text rows; register "
        "each kind under a name of its own and mix them in the job")}


def test_an_empty_file_among_others_is_no_fault(sqlite_ledger: Ledger, tmp_path: Path):
    bench = Bench(sqlite_ledger, tmp_path)
    version = after(bench, registered(bench, a_jsonl=jsonl(pairs(0, 2)), b_jsonl=b""))
    assert (version.status, version.rows) == ("ready", 2)
    assert [shard.rows for shard in version.shards] == [2, 0]


@pytest.mark.parametrize(("content", "code", "words"), [
    (gzip.compress(jsonl(pairs(0, 2000)))[:-9], "broken_file", "its gz stream is cut"),
    (b'[{"prompt": "a", "completion": "b"}, {"pro', "broken_file", "its list is cut"),
    (b"PK\x03\x04 and more", "unsupported_file", "is a ZIP archive; unpack it"),
])
def test_a_file_that_cannot_be_read_fails_the_version_by_name(
    sqlite_ledger: Ledger, tmp_path: Path, content: bytes, code: str, words: str
):
    bench = Bench(sqlite_ledger, tmp_path)
    version = after(bench, registered(bench, a_jsonl=jsonl(pairs(0, 2)), b=content))
    assert version.status == "failed"
    error = version.error or {}
    assert error["code"] == code
    assert words in error["message"]
    assert "'b'" in error["message"]
    assert list((tmp_path / "storage" / ".incoming").iterdir()) == []


def test_a_stop_in_the_middle_keeps_the_files_that_are_done(sqlite_ledger: Ledger, tmp_path: Path):
    bench = Bench(sqlite_ledger, tmp_path)
    version = registered(bench, a_jsonl=jsonl(pairs(0, 3)), b_json_gz=KINDS["json.gz"](pairs(3, 3)))
    with bench.ledger.write() as session:
        chore = chores.claim(session, "me", 30)
    assert chore is not None
    chore.attempts = 3

    class AfterTheFirst(threading.Event):
        def is_set(self) -> bool:
            return any(shard.is_indexed for shard in bench.read(DatasetVersion, version.id).shards)

    with pytest.raises(LeaseLost):
        index_version(bench.desk, chore, AfterTheFirst())
    assert chore.attempts == 1, "a file that is done gives all attempts back"
    half = bench.read(DatasetVersion, version.id)
    assert (half.status, [shard.is_indexed for shard in half.shards]) == ("indexing", [True, False])
    written_at = (bench.desk.artifacts.path(half.shards[0].index_key) / "index.json").stat().st_mtime_ns
    with bench.ledger.write() as session:
        for each in session.scalars(select(Chore)):
            each.state, each.lease_until = "waiting", None
    done = after(bench, version)
    assert (done.status, done.rows) == ("ready", 6)
    assert (bench.desk.artifacts.path(done.shards[0].index_key) / "index.json").stat().st_mtime_ns == written_at
    assert values(bench, done) == pairs(0, 6)


def with_place(bench: Bench, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (bench.desk.settings.home / "places.toml").write_text(f'[places.lake]\nurl = "file://{folder}"\n')


def test_files_in_a_place_are_found_by_a_pattern_and_read_there(sqlite_ledger: Ledger, tmp_path: Path):
    bench = Bench(sqlite_ledger, tmp_path)
    lake = tmp_path / "lake"
    with_place(bench, lake / "2026")
    (lake / "2026" / "b.jsonl").write_bytes(jsonl(pairs(2, 2)))
    (lake / "2026" / "a.csv").write_bytes(KINDS["csv"](pairs(0, 2)))
    (lake / "2026" / "c.json.gz").write_bytes(KINDS["json.gz"](pairs(4, 2)))
    (lake / "2026" / ".hidden").write_bytes(b"no rows")
    (bench.desk.settings.home / "places.toml").write_text(f'[places.lake]\nurl = "file://{lake}"\n')
    version = after(bench, registered(bench, place="lake", pattern="2026/*"))
    assert (version.status, version.rows, [shard.path for shard in version.shards]) == (
        "ready", 6, ["2026/a.csv", "2026/b.jsonl", "2026/c.json.gz"])
    assert [shard.kind for shard in version.shards] == ["csv", "lines", "frames"]
    assert values(bench, version) == pairs(0, 6)
    (lake / "2026" / "b.jsonl").write_bytes(jsonl(pairs(2, 3)))
    with pytest.raises(Exception, match=r"'b\.jsonl' has .* bytes, and .* were registered"):
        values(bench, version)


@pytest.mark.parametrize(("place", "pattern", "code"), [
    ("lake", "nothing/*.jsonl", "shard_missing"), ("gone", "*", "place_unknown"), ("lake", "none.jsonl", "shard_missing")])
def test_what_a_place_does_not_have_fails_the_version_in_words(
    sqlite_ledger: Ledger, tmp_path: Path, place: str, pattern: str, code: str
):
    bench = Bench(sqlite_ledger, tmp_path)
    with_place(bench, tmp_path / "lake")
    version = after(bench, registered(bench, place=place, pattern=pattern))
    assert version.status == "failed"
    assert (version.error or {})["code"] == code

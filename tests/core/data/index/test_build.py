import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import orjson
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.index import IndexReport, ShardIndex, build_index
from core.data.index.files import writing_index
from core.errors import Conflict, DataError
from tests.core.data.rows_on_disk import chat_row, write_jsonl

GOOD = orjson.dumps(chat_row())


def indexed(folder: Path, content: bytes, **options) -> tuple[IndexReport, ShardIndex]:
    (folder / "rows.jsonl").write_bytes(content)
    report = build_index(folder / "rows.jsonl", folder / "index", **options)
    return report, ShardIndex.open(folder / "index")


@settings(max_examples=80, deadline=None)
@given(lines=st.lists(st.sampled_from([GOOD, GOOD + b" ", b"", b" \r", b"{", b"[]", b"\xff"]), max_size=25),
       ending=st.sampled_from([b"\n", b"\r\n"]), start=st.sampled_from([b"", b"\xef\xbb\xbf"]), ends_open=st.booleans())
def test_an_index_finds_each_row_again(tmp_path_factory, lines, ending, start, ends_open):
    content = start + ending.join(lines) + (b"" if ends_open else ending)
    report, index = indexed(tmp_path_factory.mktemp("index"), content)
    rows = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    spans = [index.span(row) for row in range(index.rows)]
    assert [content[a:b] for a, b in spans] == [line.removesuffix(b"\r") for _, line in rows]
    assert [index.line(row) for row in range(index.rows)] == [number for number, _ in rows]
    assert index.faulty.tolist() == [i for i, (_, line) in enumerate(rows) if line.strip() != GOOD]
    assert index.hashes.tolist() == [xxhash.xxh3_64_intdigest(content[a:b]) & 0xFFFF for a, b in spans]
    assert index.report == report


def test_report_counts_the_file(tmp_path: Path):
    content = GOOD + b"\n\n" + GOOD + b"\nbroken\n[1]\n\n"
    report, _ = indexed(tmp_path, content)
    assert (report.rows, report.faulty, report.good, report.blank_lines) == (4, 2, 2, 2)
    assert (report.bytes, report.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert (report.format, report.layout) == ("chat", "jsonl")
    assert [(fault.line, fault.code) for fault in report.faults] == [(4, "broken_json"), (5, "not_an_object")]
    assert report.faults[0].message.startswith("line 4: ")
    assert report.fault_counts == {"broken_json": 1, "not_an_object": 1}
    assert IndexReport.from_json(orjson.loads(orjson.dumps(report.to_json()))) == report


def test_only_the_first_faults_are_told_and_all_are_counted(tmp_path: Path):
    report, index = indexed(tmp_path, GOOD + b"\n" + b"{\n" * 500)
    assert (len(report.faults), report.fault_counts["broken_json"], len(index.faulty)) == (100, 500, 500)


@pytest.mark.parametrize("row, found", [
    (chat_row(), "chat"), ({"prompt": "a", "completion": "b"}, "prompt_completion"), ({"text": "a"}, "text"),
])
def test_format_is_that_of_the_first_row_that_has_one(tmp_path: Path, row: dict, found: str):
    report, index = indexed(tmp_path, b'{"id": 1}\n' + orjson.dumps(row) + b"\n")
    assert (report.format, index.faulty.tolist()) == (found, [0])
    assert report.faults[0].code == "missing_field"
    assert report.faults[0].remedy.endswith("fields found: id")


def test_a_format_that_is_given_holds(tmp_path: Path):
    report, _ = indexed(tmp_path, orjson.dumps({"text": "a"}), shape="chat")
    assert [fault.code for fault in report.faults] == ["missing_field", "no_good_row"]


@pytest.mark.parametrize("content, code", [
    (b"", "empty_file"), (b"\n \r\n", "empty_file"), (b"\xef\xbb\xbf", "empty_file"), (b"{}\n", "no_good_row"),
])
def test_a_file_without_a_good_row_says_so(tmp_path: Path, content: bytes, code: str):
    report, index = indexed(tmp_path, content)
    assert report.faults[-1].code == code
    assert index.report.good == 0


@pytest.mark.parametrize("name, row_format", [("lines.txt", None), ("lines.txt", "text"), ("lines", "text")])
def test_bare_lines_are_rows_of_text(tmp_path: Path, name: str, row_format):
    (tmp_path / name).write_bytes("first line\r\n\nzweite Zeile ü\n\xa0\n".encode() + b"\xff\n")
    report = build_index(tmp_path / name, tmp_path / "index", shape=row_format)
    assert (report.format, report.layout, report.rows, report.fault_counts) == (
        "text", "lines", 4, {"nothing_to_train_on": 1, "invalid_utf8": 1})


def test_objects_in_a_txt_file_are_objects(tmp_path: Path):
    report = build_index(write_jsonl(tmp_path / "rows.txt", [chat_row()]), tmp_path / "index")
    assert (report.format, report.layout, report.faulty) == ("chat", "jsonl", 0)


def test_a_row_of_a_hundred_megabytes_is_a_fault_and_takes_no_memory(tmp_path: Path):
    with (tmp_path / "rows.jsonl").open("wb") as file:
        file.write(GOOD + b"\n" + b'{"messages": "')
        for _ in range(100):
            file.write(b"x" * 1_000_000)
        file.write(b'"}\n' + GOOD)
    report = build_index(tmp_path / "rows.jsonl", tmp_path / "index")
    index = ShardIndex.open(tmp_path / "index")
    assert (report.rows, index.faulty.tolist(), report.fault_counts) == (3, [1], {"row_too_long": 1})
    assert index.span(1)[1] - index.span(1)[0] == 100_000_016
    assert index.line(2) == 3


def test_many_blank_lines_keep_lines_and_spans(tmp_path: Path):
    content = GOOD + b"\n" * 200_001 + GOOD + b"\n" * 70_000 + GOOD + b"\n"
    report, index = indexed(tmp_path, content)
    assert [index.line(row) for row in range(3)] == [1, 200_002, 270_002]
    assert [content[a:b] for a, b in index.spans(np.arange(3)).tolist()] == [GOOD] * 3
    assert report.blank_lines == 269_999


def test_an_index_takes_at_most_twelve_bytes_a_row(tmp_path: Path):
    indexed(tmp_path, (GOOD + b"\n\n") * 2000)
    arrays = sum(path.stat().st_size for path in (tmp_path / "index").glob("*.bin"))
    assert arrays <= 12 * 2000 + 8 * (1 << 10) + 8


def test_lengths_are_told_without_keeping_them(tmp_path: Path):
    sizes = np.random.default_rng(0).lognormal(6, 1, 3000).astype(int) + 1
    (tmp_path / "a.txt").write_bytes(b"\n".join(b"x" * size for size in sizes))
    lengths = build_index(tmp_path / "a.txt", tmp_path / "index").lengths
    assert (lengths.min, lengths.max, lengths.mean) == (sizes.min(), sizes.max(), pytest.approx(sizes.mean()))
    for share, told in [(0.5, lengths.p50), (0.95, lengths.p95), (0.99, lengths.p99)]:
        exact = np.quantile(sizes, share, method="inverted_cdf")
        assert exact <= told <= exact * (1 + 1 / 64) + 1
    assert sum(rows for _, rows in lengths.histogram) == 3000
    assert all(rows == np.sum((sizes < limit) & (sizes >= limit // 2)) for limit, rows in lengths.histogram)


def test_progress_ends_with_the_whole_file(tmp_path: Path):
    told: list[int] = []
    report, _ = indexed(tmp_path, (GOOD + b"\n") * 100_000, on_progress=told.append)
    assert told == sorted(told)
    assert len(told) > 1
    assert told[-1] == report.bytes


def test_building_again_replaces_the_index_and_clears_the_old_one_away(tmp_path: Path):
    indexed(tmp_path, GOOD)
    old = ShardIndex.open(tmp_path / "index")
    (tmp_path / "index" / "offsets-left.bin").write_bytes(b"left by a kill")
    _, index = indexed(tmp_path, GOOD + b"\n" + GOOD)
    assert (index.rows, old.rows, old.span(0)) == (2, 1, (0, len(GOOD)))
    assert len(list((tmp_path / "index").iterdir())) == 7


def test_a_build_that_fails_leaves_the_old_index_and_no_files(tmp_path: Path):
    indexed(tmp_path, GOOD)
    before = sorted((tmp_path / "index").iterdir())

    def stop(_done: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        build_index(tmp_path / "rows.jsonl", tmp_path / "index", on_progress=stop)
    assert sorted((tmp_path / "index").iterdir()) == before
    assert ShardIndex.open(tmp_path / "index").rows == 1


def test_two_builds_of_one_index_exclude_each_other(tmp_path: Path):
    with writing_index(tmp_path / "index"), pytest.raises(Conflict, match="built by another process"):
        indexed(tmp_path, GOOD)


def test_a_build_killed_in_the_middle_leaves_the_old_index(tmp_path: Path):
    indexed(tmp_path, GOOD)
    write_jsonl(tmp_path / "great.jsonl", [GOOD] * 400_000)
    command = [sys.executable, "-m", "core.data.register", str(tmp_path / "great.jsonl"), str(tmp_path / "index")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert ShardIndex.open(tmp_path / "index").rows == 1
    assert build_index(tmp_path / "rows.jsonl", tmp_path / "index").rows == 1
    assert len(list((tmp_path / "index").iterdir())) == 7


@pytest.mark.parametrize("name", ["missing.jsonl", "."])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, name: str):
    with pytest.raises(DataError, match="there is no file"):
        build_index(tmp_path / name, tmp_path / "index")
    assert not (tmp_path / "index").exists()


def test_opening_costs_the_same_for_any_size(tmp_path: Path):
    indexed(tmp_path, (GOOD + b"\n") * 50_000)
    started = time.perf_counter()
    ShardIndex.open(tmp_path / "index")
    assert time.perf_counter() - started < 0.25


def test_a_fault_has_line_reason_and_remedy(tmp_path: Path):
    report, _ = indexed(tmp_path, GOOD + b"\n" + orjson.dumps({"messages": [{"role": "asistant", "content": "a"}]}))
    (fault,) = report.faults
    assert (fault.line, fault.code) == (2, "wrong_role")
    assert fault.reason == "messages[0].role is 'asistant'"
    assert fault.remedy.startswith("did you mean 'assistant'?")
    assert fault.message == f"line 2: {fault.reason}; {fault.remedy}"


def test_repeated_rows_are_counted(tmp_path: Path):
    report, _ = indexed(tmp_path, (GOOD + b"\n") * 5 + orjson.dumps(chat_row("another")))
    assert report.duplicates.rows == 4


def test_faults_beyond_those_explained_are_counted_by_their_kind(tmp_path: Path):
    report, index = indexed(tmp_path, GOOD + b"\n" + b'{"a"}\n{"a": NaN}\n' * 3000)
    assert report.fault_counts == {"broken_json": 3000, "number_not_finite": 3000}
    assert (len(report.faults), len(index.faulty), report.is_whole) == (100, 6000, True)


def test_a_file_of_faults_ends_early_and_says_so(tmp_path: Path):
    report, _ = indexed(tmp_path, GOOD + b"\n" + b"x\n" * 3_000_000)
    assert not report.is_whole
    assert report.rows < 2_200_000
    assert "too_many_faults" in report.fault_counts
    assert "the rest was not read" in report.faults[-1].message


def test_rows_are_read_by_the_shape_that_was_found(tmp_path: Path):
    report, _ = indexed(tmp_path, orjson.dumps({"instruction": "How high?", "output": "2 m"}))
    assert report.shape is not None
    assert (report.format, report.shape["name"], report.shape["columns"]["response"]) == ("chat", "alpaca", "output")

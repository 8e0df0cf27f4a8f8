import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from core.data.index import IndexReport, ShardIndex
from core.data.index.files import writing_index
from core.data.register import REFUSED
from tests.core.data.files_on_disk import KINDS
from tests.core.data.rows_on_disk import chat_row, write_jsonl


def register(*arguments: object) -> tuple[int, list[dict]]:
    done = subprocess.run(
        [sys.executable, "-m", "core.data.register", *map(str, arguments)], capture_output=True, timeout=120, check=False
    )
    assert not done.stderr, done.stderr
    return done.returncode, [orjson.loads(line) for line in done.stdout.splitlines()]


def test_progress_comes_first_and_the_report_last(tmp_path: Path):
    path = write_jsonl(tmp_path / "rows.jsonl", [chat_row()] * 1000)
    code, told = register(path, tmp_path / "index")
    assert code == 0
    assert told[0] == {"bytes_done": path.stat().st_size, "bytes": path.stat().st_size}
    assert IndexReport.from_json(told[-1]["report"]) == ShardIndex.open(tmp_path / "index").report


def test_a_shape_may_be_given(tmp_path: Path):
    path = write_jsonl(tmp_path / "rows.jsonl", [chat_row()])
    _, told = register(path, tmp_path / "index", "--shape", "text")
    assert told[-1]["report"]["fault_counts"] == {"missing_field": 1, "no_good_row": 1}


def test_a_file_that_is_gone_is_told(tmp_path: Path):
    code, told = register(tmp_path / "gone.jsonl", tmp_path / "index")
    assert (code, told[-1]["error"]["code"]) == (REFUSED, "invalid_training_file")
    assert "gone.jsonl" in told[-1]["error"]["message"]


def test_an_index_being_built_elsewhere_is_told(tmp_path: Path):
    path = write_jsonl(tmp_path / "rows.jsonl", [chat_row()])
    with writing_index(tmp_path / "index"):
        code, told = register(path, tmp_path / "index")
    assert (code, told[-1]["error"]["code"]) == (REFUSED, "conflict")


def test_an_index_that_cannot_be_written_is_told(tmp_path: Path):
    path = write_jsonl(tmp_path / "rows.jsonl", [chat_row()])
    (tmp_path / "taken").touch()
    code, told = register(path, tmp_path / "taken" / "index")
    assert (code, told[-1]["error"]["code"]) == (REFUSED, "storage_error")


def test_a_file_of_tiny_rows_or_none_stays_within_the_memory(tmp_path: Path):
    (tmp_path / "rows.jsonl").write_bytes(b"\n" * 9_000_000 + b"1\n" * 100_000)
    code, told = register(tmp_path / "rows.jsonl", tmp_path / "index")
    assert (code, told[-1]["report"]["faulty"], told[-1]["report"]["blank_lines"]) == (0, 100_000, 9_000_000)


@pytest.mark.parametrize("bomb", [b"[]," * 5_000_000, b'{"a":[' * 100_000, b'{"":0},' * 2_300_000, b"[" * 16_000_000])
def test_a_row_made_to_eat_memory_is_a_fault_like_others(tmp_path: Path, bomb: bytes):
    row = b'{"messages": [' + bomb.rstrip(b",") + b"]}"
    path = write_jsonl(tmp_path / "rows.jsonl", [chat_row(), row, chat_row()])
    code, told = register(path, tmp_path / "index")
    assert code == 0
    assert (told[-1]["report"]["rows"], told[-1]["report"]["faulty"]) == (3, 1)


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet", "jsonl.gz"])
def test_a_row_of_24_megabytes_is_a_fault_of_its_own_within_the_memory_of_a_pass(tmp_path: Path, kind: str):
    rows = [{"prompt": "a", "completion": "b"}, {"prompt": "a", "completion": "x y " * 6_000_000}]
    path = tmp_path / f"rows.{kind}"
    path.write_bytes(KINDS[kind](rows))
    code, told = register(path, tmp_path / "index", "--name", path.name, "--frames", tmp_path / "frames")
    assert (code, told[-1]["report"]["rows"], told[-1]["report"]["fault_counts"]) == (0, 2, {"row_too_long": 1})

import io
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.data.index import ShardIndex
from core.data.rows import RowReader
from core.data.sources.parquet import ParquetRows
from core.data.spec import Row, RowRef
from core.errors import DataError
from tests.core.data.files_on_disk import registered_file

WORDS = [f"word {number}" for number in range(20)]


def written(table: pa.Table, **options) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


def stored(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def test_rows_are_found_by_their_number_over_groups(tmp_path: Path):
    content = written(pa.table({"text": WORDS}), row_group_size=3)
    with ParquetRows("words", stored(tmp_path / "w", content)) as rows:
        for number in (19, 0, 3, 2, 11):
            assert orjson.loads(rows.row(number)) == {"text": WORDS[number]}
        with pytest.raises(DataError, match="'words' has 20 rows, and row 21 was asked for"):
            rows.row(20)


def test_what_is_kept_of_decoded_groups_is_bounded(tmp_path: Path):
    content = written(pa.table({"text": WORDS}), row_group_size=2)
    with ParquetRows("words", stored(tmp_path / "w", content), kept_bytes=100) as rows:
        for number in range(20):
            rows.row(number)
            assert rows._kept_bytes <= 100 or len(rows._kept) == 1


def test_values_of_every_plain_kind_become_json(tmp_path: Path):
    row = {"text": "ü", "number": 3, "share": 0.5, "none": None, "is_true": True, "binary": b"raw", "list": ["a", None],
           "struct": {"role": "user", "parts": [{"type": "text"}]}, "day": date(2026, 1, 2), "price": Decimal("1.50"),
           "at": datetime(2026, 1, 2, tzinfo=UTC), "nan": float("nan")}
    with ParquetRows("all", stored(tmp_path / "a", written(pa.Table.from_pylist([row])))) as rows:
        told = orjson.loads(rows.row(0))
    assert told == {**row, "binary": "raw", "day": "2026-01-02", "price": "1.50", "at": "2026-01-02T00:00:00+00:00",
                    "nan": None}


def test_chats_in_lists_of_structs_are_chats(tmp_path: Path):
    chat = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}
    source = registered_file(tmp_path, "chats.parquet", written(pa.Table.from_pylist([chat] * 3)))
    assert (source.format, source.shards[0].kind) == ("chat", "parquet")
    with RowReader([source]) as reader:
        assert reader.read(RowRef(0, 2)).value == chat


def test_great_groups_are_turned_into_frames(tmp_path: Path):
    texts = [f"{number} " + "".join(chr(97 + (number * i) % 26) for i in range(5000)) for number in range(1200)]
    source = registered_file(tmp_path, "great.parquet", written(pa.table({"text": texts}), compression="none"))
    report = ShardIndex.open(source.shards[0].index_path).report
    assert (source.shards[0].kind, report.rows, report.file_kind) == ("frames", 1200, "parquet")
    assert report.converted_bytes == (tmp_path / "great.parquet.frames").stat().st_size
    with RowReader([source]) as reader:
        found = reader.read_many([RowRef(0, 1199), RowRef(0, 7)])
    assert [row.value["text"] for row in found if isinstance(row, Row)] == [texts[1199], texts[7]]


@pytest.mark.parametrize("content", [b"PAR1", b"PAR1" + b"x" * 100 + b"PAR1", b"PAR1" + bytes(100)])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes):
    with pytest.raises(DataError, match=r"'words\.parquet' cannot be read as Parquet") as caught:
        registered_file(tmp_path, "words.parquet", content)
    assert caught.value.code == "broken_file"


def test_a_cut_file_is_named(tmp_path: Path):
    content = written(pa.table({"text": WORDS}))
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        registered_file(tmp_path, "words.parquet", content[:-30])


def test_a_torn_page_is_named(tmp_path: Path):
    content = bytearray(written(pa.table({"text": WORDS * 500}), compression="zstd", use_dictionary=False))
    content[300:400] = b"\xff" * 100
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        registered_file(tmp_path, "words.parquet", bytes(content))


def test_columns_that_no_row_can_hold_are_named(tmp_path: Path):
    table = pa.table({"text": ["a"], "id": pa.array([b"0" * 16], pa.uuid())})
    with pytest.raises(DataError, match="column 'id' of 'ids\\.parquet' has type") as caught:
        registered_file(tmp_path, "ids.parquet", written(table))
    assert caught.value.code == "unsupported_file"

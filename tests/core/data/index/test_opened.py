from pathlib import Path

import numpy as np
import orjson
import pytest

from core.data.index import ShardIndex, build_index
from core.errors import DataError
from tests.core.data.rows_on_disk import chat_row, registered


def altered(folder: Path, **changes: object) -> Path:
    """Give an index whose header was changed."""
    index = Path(registered(folder, [chat_row(), chat_row()]).shards[0].index_path)
    told = orjson.loads((index / "index.json").read_bytes())
    (index / "index.json").write_bytes(orjson.dumps({**told, **changes}))
    return index


def test_an_index_of_another_version_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="has version 7 and this program reads version 2; register the data set again"):
        ShardIndex.open(altered(tmp_path, version=7))


@pytest.mark.parametrize("changes", [{"arrays": {}}, {"report": {}}, {"report": None}])
def test_a_header_that_says_too_little_is_refused(tmp_path: Path, changes: dict):
    with pytest.raises(DataError, match="register the data set again"):
        ShardIndex.open(altered(tmp_path, **changes))


@pytest.mark.parametrize("kind", ["offsets", "hashes"])
def test_a_torn_array_is_refused(tmp_path: Path, kind: str):
    index = altered(tmp_path)
    (path,) = index.glob(f"{kind}-*.bin")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="missing or torn"):
        ShardIndex.open(index)


def test_an_array_that_is_gone_is_refused(tmp_path: Path):
    index = altered(tmp_path)
    next(index.glob("hashes-*.bin")).unlink()
    with pytest.raises(DataError, match="missing or torn"):
        ShardIndex.open(index)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"null"])
def test_a_header_that_is_no_header_is_refused(tmp_path: Path, content: bytes):
    index = altered(tmp_path)
    (index / "index.json").write_bytes(content)
    with pytest.raises(DataError, match="register the data set again"):
        ShardIndex.open(index)


def test_no_index_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="register the data set again"):
        ShardIndex.open(tmp_path / "nowhere")


@pytest.mark.parametrize("row", [-1, 2])
def test_a_row_beyond_the_file_is_refused(tmp_path: Path, row: int):
    index = ShardIndex.open(altered(tmp_path))
    with pytest.raises(IndexError, match="2 rows"):
        index.span(row)
    with pytest.raises(IndexError, match="2 rows"):
        index.line(row)


def test_spans_of_many_rows_are_those_of_each(tmp_path: Path):
    index = ShardIndex.open(registered(tmp_path, [chat_row("x" * n) for n in range(50)]).shards[0].index_path)
    rows = np.array([49, 0, 7, 7])
    assert [tuple(span) for span in index.spans(rows).tolist()] == [index.span(row) for row in rows.tolist()]


def test_rows_of_an_index_that_is_too_great_to_be_mapped_are_found_as_in_its_arrays(tmp_path: Path):
    lines = [orjson.dumps({"text": f"row {number}" * (number % 3 + 1)}) for number in range(140_000)]
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b"\n".join(lines))
    build_index(file, tmp_path / "index")
    index = ShardIndex.open(tmp_path / "index")
    rows = np.array([139_999, 0, 77_777, 1])
    with file.open("rb") as content:
        for row, (start, end) in zip(rows.tolist(), index.spans(rows).tolist(), strict=True):
            content.seek(start)
            assert content.read(end - start) == lines[row]
    spans, hashes = index.find(rows)
    assert spans.tolist() == index.spans(rows).tolist()
    assert hashes.tolist() == index.hashes[rows].tolist()
    with pytest.raises(IndexError, match="140000 rows"):
        index.spans(np.array([140_000]))

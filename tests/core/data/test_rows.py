import pickle
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from core.data.rows import BadRow, RowReader
from core.data.spec import Row, RowRef, SourceSpec
from core.errors import DataError
from tests.core.data.rows_on_disk import chat_row, registered


def test_a_row_is_read_by_its_number(tmp_path: Path):
    sources = [registered(tmp_path, [chat_row("a"), chat_row("b")], name="one"), registered(
        tmp_path, [{"text": "c"}], name="two", row_format="text")]
    with RowReader(sources) as reader:
        assert reader.read(RowRef(0, 1)) == Row(RowRef(0, 1), chat_row("b"))
        assert reader.read(RowRef(1, 0)).value == {"text": "c"}


def test_bare_lines_are_read_as_texts(tmp_path: Path):
    source = registered(tmp_path, [b"The wheel turns.", b"The water falls."], row_format="text")
    with RowReader([source]) as reader:
        assert reader.read(RowRef(0, 1)).value == {"text": "The water falls."}


def test_a_faulty_row_names_file_and_line(tmp_path: Path):
    source = registered(tmp_path, [chat_row(), b"", {"messages": []}], name="wiki")
    with RowReader([source]) as reader, pytest.raises(BadRow) as caught:
        reader.read(RowRef(0, 1))
    assert caught.value.message.startswith("wiki, line 3: messages has 0 messages")
    assert (caught.value.line, caught.value.code) == (3, "no_assistant_message")


def test_a_row_that_changed_since_is_refused(tmp_path: Path):
    source = registered(tmp_path, [chat_row("aaa"), chat_row("bbb")])
    content = Path(source.shards[0].path).read_bytes()
    Path(source.shards[0].path).write_bytes(content.replace(b"bbb", b"bbc"))
    with RowReader([source]) as reader:
        assert reader.read(RowRef(0, 0)).value == chat_row("aaa")
        with pytest.raises(BadRow, match="line 2: the row changed after the data set was registered"):
            reader.read(RowRef(0, 1))


def test_many_rows_come_in_the_order_asked_for_with_bad_ones_in_their_place(tmp_path: Path):
    source = registered(tmp_path, [chat_row("a"), b"{", chat_row("c")])
    with RowReader([source]) as reader:
        found = reader.read_many([RowRef(0, 2), RowRef(0, 1), RowRef(0, 0)])
    assert [row.value if isinstance(row, Row) else row.line for row in found] == [chat_row("c"), 2, chat_row("a")]


def test_a_bad_row_survives_pickling(tmp_path: Path):
    bad = BadRow(RowRef(0, 4), file="wiki", line=5, reason="it is broken", code="broken_json")
    again = pickle.loads(pickle.dumps(bad))  # noqa: S301
    assert (again.message, again.ref, again.line, again.code) == (bad.message, bad.ref, 5, "broken_json")


def test_a_source_that_cannot_be_opened_lets_go_of_the_others(tmp_path: Path):
    good = registered(tmp_path, [chat_row()])
    gone = SourceSpec.of_file("gone", str(tmp_path / "gone"), good.shards[0].index_path, "chat", "")
    with pytest.raises(DataError, match="'gone' cannot be opened"):
        RowReader([good, gone])


def test_row_values_are_those_of_the_file(tmp_path: Path):
    row = chat_row("\u2028 ü ☔ \x00 \\ \"", answer="\n\t.")
    with RowReader([registered(tmp_path, [orjson.dumps(row)])]) as reader:
        assert reader.read(RowRef(0, 0)).value == row


def test_a_row_of_several_shards_names_its_file_and_line(tmp_path: Path):
    one = registered(tmp_path, [chat_row("a")], name="one")
    two = registered(tmp_path, [b"", chat_row("b"), b"{"], name="two")
    shards = tuple(replace(each.shards[0], name=f"{each.name}.jsonl") for each in (one, two))
    with RowReader([replace(one, name="both", shards=shards)]) as reader:
        assert reader.read(RowRef(0, 1)).value == chat_row("b")
        assert reader.where(RowRef(0, 1)) == ("two.jsonl", 2)
        with pytest.raises(BadRow, match=r"^two\.jsonl, line 3: "):
            reader.read(RowRef(0, 2))

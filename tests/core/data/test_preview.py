"""A preview shows rows token by token, from a process of its own, or says why it cannot."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.data.preview import measure_lengths, preview_rows
from core.errors import DataError
from tests.streams import chat_row, chat_rows, parquet_source, write_source
from tests.tiny import write_tokenizer


def request(folder: Path, rows: list[Any] | None = None, *, row_format: Any = "chat", **told: Any) -> dict[str, Any]:
    source = write_source(folder, "rows", rows or chat_rows(12), row_format=row_format)
    model = write_tokenizer(folder / "model")
    return {"source": dataclasses.asdict(source), "tokenizer_path": str(model), "max_length": 64, **told}


def test_a_row_is_shown_token_by_token_with_its_mask(tmp_path: Path) -> None:
    answer = preview_rows(request(tmp_path, first=1, count=1))
    (row,) = answer["rows"]
    assert answer["rows_total"] == 12
    assert (row["row"], row["line"], row["refused"], row["truncated"]) == (1, 2, None, False)
    assert row["text"] == "<|im_start|>user\nquestion 1<|im_end|>\n<|im_start|>assistant\n1 is<|im_end|>\n"
    assert "".join(token["text"] for token in row["tokens"]) == row["text"]
    assert "".join(token["text"] for token in row["tokens"] if token["trained"]) == "1 is<|im_end|>"
    assert (row["token_count"], row["trained_count"]) == (len(row["tokens"]), sum(token["trained"] for token in row["tokens"]))


def test_a_character_of_several_tokens_is_shown_whole_with_the_last_of_them(tmp_path: Path) -> None:
    answer = "Mühle ✓ \U0001f30a"
    chat = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": answer}]}
    (row,) = preview_rows(request(tmp_path, [chat], first=0, count=1))["rows"]
    assert "".join(token["text"] for token in row["tokens"]) == row["text"]
    assert "".join(token["text"] for token in row["tokens"] if token["trained"]) == f"{answer}<|im_end|>"


def test_a_row_that_cannot_be_trained_on_is_shown_with_the_reason(tmp_path: Path) -> None:
    answer = preview_rows(request(tmp_path, ["{", *chat_rows(2)], first=0, count=5))
    assert [bool(row["refused"]) for row in answer["rows"]] == [True, False, False]
    assert answer["rows"][0]["tokens"] == []


def test_a_long_row_is_shown_as_it_is_cut(tmp_path: Path) -> None:
    (row,) = preview_rows(request(tmp_path, first=3, count=1, max_length=24))["rows"]
    assert row["truncated"]
    assert row["token_count"] == 24



def test_a_preference_pair_is_shown_by_its_sides(tmp_path: Path) -> None:
    ask = {"role": "user", "content": "How high?"}
    pair = {"messages": [ask], "chosen": {"role": "assistant", "content": "Two metres."},
            "rejected": {"role": "assistant", "content": "No."}}
    rows = preview_rows(request(tmp_path, [pair], row_format="preference"))["rows"]
    assert [(row["row"], row["side"]) for row in rows] == [(0, "chosen"), (0, "rejected")]
    trained = ["".join(token["text"] for token in row["tokens"] if token["trained"]) for row in rows]
    assert trained == ["Two metres.<|im_end|>", "No.<|im_end|>"]
    assert rows[0]["text"].startswith("<|im_start|>user\nHow high?<|im_end|>")


def test_texts_of_a_preference_pair_are_shown_without_a_template(tmp_path: Path) -> None:
    pair = {"prompt": "How", "chosen": " high?", "rejected": " now?"}
    rows = preview_rows(request(tmp_path, [pair], row_format="preference"))["rows"]
    assert [row["text"] for row in rows] == ["How high?<|im_end|>", "How now?<|im_end|>"]


def test_every_length_is_measured_where_rows_are_few(tmp_path: Path) -> None:
    told = measure_lengths(request(tmp_path, sample=100, max_length=24))
    lengths = [row["token_count"] for row in preview_rows(request(tmp_path, count=12, max_length=999))["rows"]]
    assert (told["rows"], told["measured"], told["is_estimated"]) == (12, 12, False)
    assert (told["min"], told["max"], told["mean"]) == (min(lengths), max(lengths), pytest.approx(sum(lengths) / 12))
    assert sum(rows for _, rows in told["histogram"]) == 12
    over = {number + 1: length for number, length in enumerate(lengths) if length > 24}
    assert told["over"]["rows"] == len(over)
    assert {row["line"]: row["tokens"] for row in told["over"]["lines"]} == over


def test_the_longest_rows_are_measured_whatever_the_sample(tmp_path: Path) -> None:
    rows = [*chat_rows(900), chat_row(1, words=3) | {"id": 7}]
    rows[500]["messages"][1]["content"] = "The stone grinds. " * 200
    told = measure_lengths(request(tmp_path, rows, sample=5, max_length=256))
    assert told["is_estimated"]
    assert told["measured"] <= 256 + 5
    assert [row["line"] for row in told["over"]["lines"]] == [501]
    assert told["over"]["rows"] == 1
    assert sum(count for _, count in told["histogram"]) == pytest.approx(901, abs=3)


def test_rows_of_parquet_are_measured_by_the_sample_alone(tmp_path: Path) -> None:
    told = measure_lengths(request(tmp_path, sample=100) | {"source": dataclasses.asdict(parquet_source(tmp_path))})
    assert (told["rows"], told["measured"], told["is_estimated"]) == (12, 12, False)


def test_faulty_rows_have_no_length(tmp_path: Path) -> None:
    told = measure_lengths(request(tmp_path, ["{", *chat_rows(4), "[]"], sample=100, max_length=64))
    assert (told["rows"], told["measured"], told["refused"]) == (4, 4, 0)


def test_a_model_without_a_chat_template_is_told(tmp_path: Path) -> None:
    asked = request(tmp_path)
    (tmp_path / "model" / "chat_template.jinja").unlink()
    with pytest.raises(DataError, match="has no chat template"):
        preview_rows(asked)


def test_a_template_that_eats_memory_ends_the_preview_alone(tmp_path: Path) -> None:
    asked = request(tmp_path)
    (tmp_path / "model" / "chat_template.jinja").write_text("{% set x = 'x' * 3000000000 %}{{ x }}")
    with pytest.raises(DataError, match=r"memory"):
        preview_rows(asked)


def test_too_many_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="count is 101; use a number from 0 to 100"):
        preview_rows(request(tmp_path, count=101))


def test_who_asks_imports_no_tokenizer() -> None:
    program = "import sys; import core.data.preview; print([m for m in ('tokenizers', 'jinja2', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "[]"

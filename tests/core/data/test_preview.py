"""A preview shows rows token by token, from a process of its own, or says why it cannot."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.data.preview import preview_rows
from core.errors import DataError
from tests.streams import chat_rows, write_source
from tests.tiny import write_tokenizer


def request(folder: Path, rows: list[Any] | None = None, **told: Any) -> dict[str, Any]:
    source = write_source(folder, "rows", rows or chat_rows(12))
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


def test_a_row_that_cannot_be_trained_on_is_shown_with_the_reason(tmp_path: Path) -> None:
    answer = preview_rows(request(tmp_path, ["{", *chat_rows(2)], first=0, count=5))
    assert [bool(row["refused"]) for row in answer["rows"]] == [True, False, False]
    assert answer["rows"][0]["tokens"] == []


def test_a_long_row_is_shown_as_it_is_cut(tmp_path: Path) -> None:
    (row,) = preview_rows(request(tmp_path, first=3, count=1, max_length=24))["rows"]
    assert row["truncated"]
    assert row["token_count"] == 24


def test_lengths_are_measured_on_a_sample_before_any_is_cut(tmp_path: Path) -> None:
    statistics = preview_rows(request(tmp_path, count=0, sample=6, max_length=20))["statistics"]
    assert statistics["rows"] == 6
    assert 20 < statistics["min"] <= statistics["p50"] <= statistics["p95"] <= statistics["max"]
    assert statistics["over_length"] == 6


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

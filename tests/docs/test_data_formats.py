"""The rows that the page on data formats shows are of the shapes that it says, and nothing that it names is missing."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from core.data.index import build_index
from core.data.preview import preview_rows
from core.data.shapes import SHAPES, read_columns
from core.data.spec import Overlong, SourceSpec
from tests.tiny import write_tokenizer

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "data-formats.md").read_text()


def rows_of(shape: str) -> list[dict[str, Any]]:
    """The JSON documents of the first code block under the shape's heading."""
    found = re.search(rf"^### {shape}\n+```json\n(.*?)```", PAGE, flags=re.S | re.M)
    assert found, f"the page shows no row of shape {shape}"
    text, rows, decoder = found[1].strip(), [], json.JSONDecoder()
    while text:
        row, end = decoder.raw_decode(text)
        rows.append(row)
        text = text[end:].lstrip()
    return rows


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_of_the_page_register_as_the_shape_that_they_stand_under(shape: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows_of(shape)))
    report = build_index(path, tmp_path / "index")
    assert report.shape is not None
    assert (report.shape["name"], report.faulty) == (shape, 0)


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_of_the_page_can_be_seen_as_a_model_sees_them(shape: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows_of(shape)))
    report = build_index(path, tmp_path / "index")
    assert report.format is not None
    source = SourceSpec.of_file("rows", str(path), str(tmp_path / "index"), report.format)
    model = write_tokenizer(tmp_path / "model")
    told = preview_rows({"source": dataclasses.asdict(source), "tokenizer_path": str(model), "max_length": 512})["rows"]
    assert all(row["refused"] is None and 0 < row["trained_count"] < row["token_count"] + 1 for row in told)
    assert {row["side"] for row in told} == ({"chosen", "rejected"} if report.format == "preference" else {None})


@pytest.mark.parametrize("page", ["data-formats.md", "from-llamafactory.md"])
def test_mappings_of_the_pages_are_understood(page: str) -> None:
    told = re.findall(r"--columns '(\{.*?\})'$", (DOCS / page).read_text(), flags=re.M)
    assert told
    assert all(read_columns(json.loads(each)).parts for each in told)


def test_every_policy_for_long_rows_is_told() -> None:
    assert all(f"| `{policy}` |" in PAGE for policy in get_args(Overlong))

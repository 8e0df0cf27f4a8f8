"""From a row's bytes to its value, before any rule is asked: a JSON object, a bare line of text, a record of CSV."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Literal

import orjson

from core.data.index.lines import MAX_ROW_BYTES
from core.data.shapes import RowFault

Layout = Literal["jsonl", "lines", "csv", "tsv"]
"""How rows stand in the text of a file: one JSON object a line, one bare text a line, or records under a header."""
DELIMITERS: dict[str, str] = {"csv": ",", "tsv": "\t"}
MOST_COLUMNS = 1000

Parse = Callable[[bytes | memoryview], Any]
"""Raises ValueError or MemoryError for bytes that are no JSON or no text, RowFault for a record that is none."""


@lru_cache(maxsize=256)
def open_parser(layout: Layout, header: tuple[str, ...] = ()) -> Parse:
    """Give what reads one row of a layout; records take their names from the header."""
    if layout == "lines":
        return _text
    if layout == "jsonl":
        return orjson.loads
    return _record_parser(header, DELIMITERS[layout])


def read_header(raw: bytes, layout: Layout) -> tuple[str, ...]:
    """Give the names of the columns; one without a name gets its number. Raise RowFault for names that cannot be told apart."""
    try:
        fields = _fields(raw, DELIMITERS[layout])
    except UnicodeDecodeError:
        raise RowFault("invalid_utf8", "the header is not UTF-8", "convert the file to UTF-8") from None
    names = [name.strip() or f"column {number}" for number, name in enumerate(fields, 1)]
    if len(names) > MOST_COLUMNS:
        raise RowFault("wrong_header", f"the header names {len(names):,} columns", f"name at most {MOST_COLUMNS:,}")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise RowFault("wrong_header", f"the header names column {twice[:40]!a} twice", "give every column a name of its own")
    return tuple(names)


def _text(raw: bytes | memoryview) -> dict[str, str]:
    return {"text": str(raw, "utf-8")}


def _record_parser(header: Sequence[str], delimiter: str) -> Parse:
    def parse(raw: bytes | memoryview) -> dict[str, str]:
        fields = _fields(raw, delimiter)
        if len(fields) != len(header):
            raise RowFault(
                "wrong_number_of_fields",
                f"the record has {len(fields):,} fields and the header names {len(header):,} columns",
                "put a field that holds a delimiter, a quote or a line break in quotes, and double the quotes inside")
        return dict(zip(header, fields, strict=True))

    return parse


def _fields(raw: bytes | memoryview, delimiter: str) -> list[str]:
    """Read one record as the `csv` module does; raise RowFault for a quote that stays open."""
    text = str(raw, "utf-8")
    csv.field_size_limit(MAX_ROW_BYTES)
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise RowFault("unclosed_quote", "a quote that is opened in the record is never closed",
                           "close it, or double a quote that is part of the text") from None
    try:
        return next(csv.reader([text], delimiter=delimiter), [])
    except csv.Error as error:
        raise RowFault("broken_record", f"the record is no CSV ({error})", "put the field in quotes") from None

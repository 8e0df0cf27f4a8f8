"""A pair in an object that lies in a JSON document, whatever its key is.

PostgreSQL takes the key as it is. SQLite would write it into a path, where a quote or a backslash ends it; there the pairs are
gone through, which costs no more: the document is parsed either way.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, exists, func
from sqlalchemy.orm import InstrumentedAttribute, Session


def has_pair(session: Session, document: InstrumentedAttribute[dict[str, Any]], field: str, key: str, value: str
             ) -> ColumnElement[bool]:
    """That the object in the `field` of a document holds this key with this text."""
    if session.get_bind().dialect.name != "sqlite":
        return document[field][key].as_string() == value
    pairs = func.json_each(document, f"$.{field}").table_valued("key", "value")
    return exists().where(pairs.c.key == key, pairs.c.value == value)

"""How rows travel to Postgres: many as one JSON array, which a query unfolds with `jsonb_to_recordset`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Sequence

# Postgres text can't hold U+0000, and ids from outside may: an escape that is not itself escaped.
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


def as_json(rows: Sequence[dict[str, Any]]) -> str:
    """`rows` as one JSON array that jsonb takes, U+0000 replaced by U+FFFD."""
    text = orjson.dumps(rows)
    if b"\\u0000" in text:
        text = _NUL.sub(rb"\1\\ufffd", text)
    return text.decode()

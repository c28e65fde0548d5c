"""A document of the configuration as the TOML text that says it, to be read and changed by people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def as_toml(document: Mapping[str, Any]) -> str:
    """TOML that parses to this document: numbers, texts, truths, lists, tables and lists of tables.

    A float without a fraction is written as a whole number. Comments are no part of a document.
    """
    return "\n".join(_lines(document, ())).strip() + "\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    inner = {name: value for name, value in table.items() if _has_lines_of_its_own(value)}
    lines = [f"{_key(name)} = {_value(value)}" for name, value in table.items() if name not in inner]
    for name, value in inner.items():
        where = ".".join(map(_key, (*path, name)))
        if isinstance(value, Mapping):
            below = _lines(value, (*path, name))
            lines += below if below and not below[0] else ["", f"[{where}]", *below]
            continue
        for each in value:
            lines += ["", f"[[{where}]]"]
            lines += [f"{_key(key)} = {_value(said)}" for key, said in each.items()]
    return lines


def _has_lines_of_its_own(value: Any) -> bool:
    """A table has; so has a list of tables that have a name, type or id, while bands fit into a line."""
    if isinstance(value, Mapping):
        return True
    of_tables = isinstance(value, Sequence) and bool(value) and isinstance(value[0], Mapping)
    return of_tables and not {"name", "type", "id"}.isdisjoint(value[0])


def _key(name: str) -> str:
    return name if name.replace("_", "a").replace("-", "a").isalnum() and name.isascii() else json.dumps(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(name)} = {_value(each)}" for name, each in value.items()) + " }"
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(_value, value)) + "]"
    return repr(value)

"""The expressions of rules: named numbers and texts of a state, compared and joined by `and`, `or`, `not`.

    expression = comparison | name | "not" expression | expression ("and" | "or") expression | "(" expression ")"
    comparison = operand (("==" | "!=" | "<" | "<=" | ">" | ">=") operand)+
    operand    = name | number | text in quotes

It is Python's own syntax, read by Python's own parser; everything else that Python knows is refused.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

Kind = Literal["number", "text", "truth"]
LONGEST = 2_000
_ORDER = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
_EQUAL = (ast.Eq, ast.NotEq)
_WORDS = {"number": "a number", "text": "a text", "truth": "true or false"}


class ExpressionError(ValueError):
    """An expression can't be used; the message says where and what to write instead."""


@dataclass(frozen=True)
class Expression:
    """A checked expression: its text, and the names that it compares."""

    text: str
    names: frozenset[str]

    def source(self, values: Mapping[str, str]) -> str:
        """Python source of it, each name replaced by the source that `values` gives."""
        tree = _Replaced(values).visit(ast.parse(self.text, mode="eval"))
        return ast.unparse(tree)


class _Replaced(ast.NodeTransformer):
    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.parse(self._values[node.id], mode="eval").body


def parse(text: str, known: Mapping[str, Kind]) -> Expression:
    """Check an expression against the names that a state has. Raises `ExpressionError`."""
    if len(text) > LONGEST:
        raise ExpressionError(f"is longer than {LONGEST} characters")
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        place = f" at character {error.offset}" if isinstance(error, SyntaxError) and error.offset else ""
        raise ExpressionError(f"{text!r} can't be read{place}: compare names with and, or, not") from None
    names: set[str] = set()
    if _kind(tree.body, known, names) != "truth":
        raise ExpressionError(f"{text!r} is no comparison: write, for example, {_example(tree.body)}")
    return Expression(text, frozenset(names))


def _example(node: ast.expr) -> str:
    return f"{ast.unparse(node)} >= 1"


_CONSTANTS: dict[type, Kind] = {bool: "truth", int: "number", float: "number", str: "text"}


def _kind(node: ast.expr, known: Mapping[str, Kind], names: set[str]) -> Kind:
    match node:
        case ast.Name(id=name):
            if name not in known:
                near = get_close_matches(name, known, 3, 0.5) or sorted(known)
                raise ExpressionError(f"there is no {name!r}; did you mean {' or '.join(near)}?")
            names.add(name)
            return known[name]
        case (
            ast.Constant(value=bool() | int() | float() | str() as value)
            | ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value))
        ):
            return _CONSTANTS[type(value)]
        case ast.BoolOp(values=parts):
            _all_truths(parts, known, names)
            return "truth"
        case ast.UnaryOp(op=ast.Not(), operand=part):
            _all_truths([part], known, names)
            return "truth"
        case ast.Compare(left=left, ops=ops, comparators=rest):
            return _compared([left, *rest], ops, known, names)
    raise ExpressionError(f"{ast.unparse(node)!r} is not understood: compare names with and, or, not")


def _all_truths(parts: list[ast.expr], known: Mapping[str, Kind], names: set[str]) -> None:
    for part in parts:
        if _kind(part, known, names) != "truth":
            raise ExpressionError(
                f"{ast.unparse(part)!r} is no comparison: write, for example, {_example(part)}"
            )


def _compared(
    operands: list[ast.expr], ops: list[ast.cmpop], known: Mapping[str, Kind], names: set[str]
) -> Kind:
    kinds = [_kind(each, known, names) for each in operands]
    for left, right, op, node in zip(kinds, kinds[1:], ops, operands[1:], strict=False):
        if left != right:
            raise ExpressionError(
                f"{ast.unparse(node)!r} is {_WORDS[right]} and is compared with {_WORDS[left]}"
            )
        if not isinstance(op, _ORDER if left == "number" else _EQUAL) and not isinstance(op, _EQUAL):
            raise ExpressionError(f"{ast.unparse(node)!r}: only numbers have an order; compare with == or !=")
    return "truth"

"""What requests and answers have in common: camelCase on the wire, snake_case in code."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.alias_generators import to_camel

from api.gate import is_kept


class Answer(BaseModel):
    """Base of answers."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class Texts(BaseModel):
    """Base of bodies: no text in them, however deep, holds what neither Postgres nor JSON can keep."""

    @model_validator(mode="before")
    @classmethod
    def _are_kept(cls, value: Any) -> Any:
        waiting = [value]
        while waiting:
            one = waiting.pop()
            if isinstance(one, str) and not is_kept(one):
                raise ValueError("a text holds a NUL or half a character, which can't be kept")
            if isinstance(one, dict):
                waiting += [*one.keys(), *one.values()]
            elif isinstance(one, list):
                waiting += one
        return value


class Asked(Texts):
    """Base of requests: a key that nobody knows is an error, so that a misspelt one is not ignored."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")

"""Structs follow the models, or refuse to."""

from __future__ import annotations

from typing import Annotated

import msgspec
import pytest
from pydantic import BaseModel, Field

from topics.structs import struct_of


def test_a_constraint_of_the_model_is_one_of_the_struct():
    class Couple(BaseModel):
        guests: int = Field(ge=2, le=500)
        names: Annotated[list[str], Field(min_length=2, max_length=2)]

    couple = struct_of(Couple)
    assert msgspec.json.decode(b'{"guests": 2, "names": ["a", "b"]}', type=couple)
    for wrong in (b'{"guests": 1, "names": ["a", "b"]}', b'{"guests": 2, "names": ["a"]}', b'{"guests": 2}'):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(wrong, type=couple)


def test_what_has_no_counterpart_stops_the_import_instead_of_being_dropped():
    class Multiple(BaseModel):
        guests: int = Field(multiple_of=2)

    class Pair(BaseModel):
        names: tuple[str, str]

    for model in (Multiple, Pair):
        with pytest.raises(TypeError, match=r"teach topics/structs\.py"):
            struct_of(model)

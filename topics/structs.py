"""msgspec Structs derived from the pydantic models, so the fast decoder cannot drift from them."""

from __future__ import annotations

import re
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types as at
import msgspec
from pydantic import AfterValidator, BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from topics.envelope import CheckedByFastPath, OneOf


def struct_of(model: type[BaseModel]) -> type[msgspec.Struct]:
    """The Struct that decodes what `model` describes; one and the same for a model.

    A model with a field `type: Literal[x]` becomes a member of a union tagged by `type`. Model validators, NUL
    characters and what is `CheckedByFastPath` are left to the caller (`decoding.py`); a constraint it does not know
    raises TypeError.
    """
    return _struct_of(model, False)


def checking_struct_of(model: type[BaseModel]) -> type[msgspec.Struct]:
    """The same, but that it checks what is `CheckedByFastPath` itself, by its pattern."""
    return _struct_of(model, True)


@cache
def _struct_of(model: type[BaseModel], whole: bool) -> type[msgspec.Struct]:
    fields: list[tuple[str, Any, Any]] = []
    config: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if name == "type":
            config = {"tag_field": "type", "tag": get_args(field.annotation)[0]}
            continue
        kind = _narrowed(_type_of(field.annotation, whole), field.metadata, whole)
        fields.append((name, kind, msgspec.NODEFAULT if field.is_required() else field.default))
    return msgspec.defstruct(
        model.__name__, fields, module=__name__, kw_only=True, frozen=True, gc=False, **config
    )


def _type_of(annotation: Any, whole: bool) -> Any:
    """The msgspec type of a pydantic annotation."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _narrowed(_type_of(arguments[0], whole), arguments[1:], whole)
    if origin in {Union, UnionType}:
        return Union[tuple(_type_of(argument, whole) for argument in arguments)]  # noqa: UP007 - built at run time
    if origin in {list, dict}:
        return origin.__class_getitem__(tuple(_type_of(argument, whole) for argument in arguments))
    if origin is Literal or annotation in {str, int, float, bool, NoneType}:
        return annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _struct_of(annotation, whole)
    raise TypeError(f"no Struct field for {annotation!r}: teach topics/structs.py about it")


def _narrowed(kind: Any, metadata: Any, whole: bool) -> Any:
    """`kind` with pydantic's constraints turned into msgspec's."""
    flat = [
        inner for item in metadata for inner in (item.metadata if isinstance(item, FieldInfo) else [item])
    ]
    by_hand = next((item for item in flat if isinstance(item, CheckedByFastPath)), None)
    if by_hand is not None:
        return Annotated[kind, msgspec.Meta(pattern=by_hand.pattern)] if whole else kind
    limits: dict[str, Any] = {}
    for item in flat:
        limits |= _limit(item)
    return Annotated[kind, msgspec.Meta(**limits)] if limits else kind


def _limit(item: Any) -> dict[str, Any]:
    match item:
        case at.MinLen(min_length=length):
            return {"min_length": length}
        case at.MaxLen(max_length=length):
            return {"max_length": length}
        case at.Ge(ge=bound):
            return {"ge": bound}
        case at.Le(le=bound):
            return {"le": bound}
        case BeforeValidator() | AfterValidator() | OneOf():
            # What only the models take, the fast path may decline; _without_nul: decoding.py looks for NUL at once.
            return {}
    if pattern := getattr(item, "pattern", None):
        # Rust's `$`, by which pydantic goes, is the very end; Python's may have a line break behind it.
        return {"pattern": re.sub(r"\$$", r"\\Z", pattern)}
    raise TypeError(f"no Struct constraint for {item!r}: teach topics/structs.py about it")

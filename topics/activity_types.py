"""Per activity type: its model and the Structs derived from it; `Vocabulary`: all that may be said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal, get_args

import msgspec
from pydantic import BaseModel, Field, create_model
from pydantic.fields import FieldInfo

from topics.activity import ActivityModel, Import, NoData
from topics.envelope import CloudEvent, Model, OneOf, Text
from topics.structs import struct_of

_NOTHING = r"[^\s\S]"
"""A pattern that no text matches, in Rust's regular expressions as in Python's."""


class ClientIds(msgspec.Struct, frozen=True, gc=False):
    """Data of `client.imported` in the one form we use, whichever was sent."""

    client_ids: list[str]


class ActivityType(msgspec.Struct, frozen=True):
    """How events of one type are read."""

    name: str
    model: type[CloudEvent]
    event: type[msgspec.Struct]  # the whole structured CloudEvent
    data: type[msgspec.Struct] | None  # its data; None where nothing is read from it
    data_model: type[BaseModel]
    data_required: bool
    imports: bool  # data is brought into the form of ClientIds
    as_decoded: bool  # data that is there is used as it was decoded

    def finish(self, data: Any) -> Any:
        """The data of an ActivityEvent from decoded `data` (None when absent).

        Raises LookupError when an import names no client or required data is absent.
        """
        if data is None:
            if self.data_required:
                raise LookupError("data")
            return self.data() if self.data else None
        if self.imports:
            return ClientIds(_union(data.client_id, data.client_ids))
        return data if self.data else None


def _union(client_id: str | None, client_ids: list[str] | None) -> list[str]:
    if client_ids is None:
        if client_id is None:
            raise LookupError("client_id")
        return [client_id]
    first = [] if client_id is None else [client_id]
    return list(dict.fromkeys(first + client_ids))


def _activity_type(model: type[CloudEvent]) -> ActivityType:
    field = model.model_fields["data"]
    data_model = next(
        kind for kind in get_args(field.annotation) or (field.annotation,) if issubclass(kind, BaseModel)
    )
    return ActivityType(
        name=get_args(model.model_fields["type"].annotation)[0],
        model=model,
        event=struct_of(model),
        data=None if data_model is NoData else struct_of(data_model),
        data_model=data_model,
        data_required=field.is_required(),
        imports=data_model is Import,
        as_decoded=data_model not in {NoData, Import},
    )


class Vocabulary:
    """What events may say under the rules in force: their types, and the names of plans and milestones.

    `declared`: type -> its data fields, texts all (`?` behind one that may be absent). `plans`, `milestones`: the names
    there are; None takes any. Made once for a process's rules: the decoders in it are compiled.
    """

    def __init__(
        self,
        declared: Mapping[str, Sequence[str]] | None = None,
        plans: Iterable[str] | None = None,
        milestones: Iterable[str] | None = None,
    ) -> None:
        self.plans = None if plans is None else frozenset(plans)
        names = {"plan": plans, "milestone": milestones}
        known = {kind: None if each is None else tuple(each) for kind, each in names.items()}
        models = [_narrowed(model, known) for model in get_args(get_args(ActivityModel)[0])]
        models += [_declared(kind, fields) for kind, fields in (declared or {}).items()]
        kinds = [_activity_type(model) for model in models]
        self.types: dict[str, ActivityType] = {kind.name: kind for kind in kinds}
        """Activity types by the CloudEvents `type`."""
        self.type_of_struct: dict[type, ActivityType] = {kind.event: kind for kind in kinds}
        """Activity types by the Struct that a structured CloudEvent decodes to."""
        self.decode_structured = msgspec.json.Decoder(reduce(or_, [kind.event for kind in kinds])).decode
        """A whole structured CloudEvent."""
        self.decode_data = {
            kind.name: msgspec.json.Decoder(kind.data | None).decode for kind in kinds if kind.data
        }
        """Type -> its data alone."""
        self.fields_of_data = {kind.name: _field_decoder(kind.data_model) for kind in kinds}
        """Type -> the names of its data's fields, and what takes them apart without looking at them."""


def _narrowed(model: type[CloudEvent], known: Mapping[str, tuple[str, ...] | None]) -> type[CloudEvent]:
    """The model, but that its data takes only those names that there are."""
    field = model.model_fields["data"]
    of_union = get_args(field.annotation)
    data_model = next(kind for kind in of_union or (field.annotation,) if issubclass(kind, BaseModel))
    changes: dict[str, Any] = {}
    for name, inner in data_model.model_fields.items():
        kind = _names_of(inner)
        names = known.get(kind) if kind else None
        if names is not None:
            one = Literal[names] if names else Annotated[str, Field(pattern=_NOTHING)]
            said = Field(description=inner.description)
            changes[name] = (one, said) if inner.is_required() else (one | None, None)
    if not changes:
        return model
    data: Any = create_model(data_model.__name__, __base__=data_model, **changes)
    optional = (data | None, None) if of_union else (data, ...)
    return create_model(model.__name__, __base__=model, data=optional)


def _names_of(field: FieldInfo) -> str | None:
    """Of what the field's text is a name; None of nothing."""
    parts = [*field.metadata, *(part for kind in get_args(field.annotation) for part in get_args(kind)[1:])]
    return next((part.kind for part in parts if isinstance(part, OneOf)), None)


def _declared(kind: str, fields: Sequence[str]) -> type[CloudEvent]:
    """The model of a type of one's own."""
    shape: dict[str, Any] = {
        field.removesuffix("?"): (Text | None, None) if field.endswith("?") else (Text, ...)
        for field in fields
    }
    data: Any = create_model("Data", __base__=Model, **shape) if shape else NoData
    required = any(not field.endswith("?") for field in fields)
    return create_model(
        "Declared",
        __base__=CloudEvent,
        type=(Literal[kind], ...),
        data=(data, ...) if required else (data | None, None),
    )


def _field_decoder(model: type[BaseModel]) -> tuple[tuple[str, ...], msgspec.json.Decoder[Any]]:
    names = tuple(model.model_fields)
    shape = msgspec.defstruct("_Data", [(name, msgspec.Raw, msgspec.Raw(b"")) for name in names])
    return names, msgspec.json.Decoder(shape)


PLAIN = Vocabulary()
"""The types that the product knows by itself, with any names of plans and milestones."""

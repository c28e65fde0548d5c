"""Per activity type: its model and the Structs derived from it, the one table both ways of reading use."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any, get_args

import msgspec
from pydantic import BaseModel

from topics.activity import ActivityModel, Import, NoData
from topics.envelope import CloudEvent
from topics.structs import struct_of


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


_all = [_activity_type(model) for model in get_args(get_args(ActivityModel)[0])]

ACTIVITY_TYPES: dict[str, ActivityType] = {kind.name: kind for kind in _all}
"""Activity types by the CloudEvents `type`."""

TYPE_OF_STRUCT: dict[type, ActivityType] = {kind.event: kind for kind in _all}
"""Activity types by the Struct that a structured CloudEvent decodes to."""

AnyEvent: Any = reduce(or_, [kind.event for kind in _all])
"""Tagged union of all structured CloudEvents, for msgspec."""

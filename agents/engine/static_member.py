"""Leaving a consumer group as a static member, which aiokafka 0.14 has no request for (KIP-345)."""

from __future__ import annotations

import logging
from typing import Any

from aiokafka.errors import IncompatibleBrokerVersion, KafkaError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int16, Int32, Schema, String

LEAVE_GROUP = 13
LEAVE_TIMEOUT_S = 2.0

logger = logging.getLogger(__name__)

_MEMBER = (("member_id", String("utf-8")), ("group_instance_id", String("utf-8")))


class LeaveGroupResponseV3(Response):  # type: ignore[misc]
    """Answer to `LeaveGroupRequestV3`."""

    API_KEY = LEAVE_GROUP
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("members", Array(*_MEMBER, ("error_code", Int16))),
    )


class LeaveGroupRequestV3(RequestStruct):  # type: ignore[misc]
    """Says which members leave, by instance id."""

    API_KEY = LEAVE_GROUP
    API_VERSION = 3
    RESPONSE_TYPE = LeaveGroupResponseV3
    SCHEMA = Schema(("group", String("utf-8")), ("members", Array(*_MEMBER)))


class LeaveAsStaticMember(Request[LeaveGroupRequestV3]):  # type: ignore[misc]
    """One static member leaves."""

    API_KEY = LEAVE_GROUP

    def __init__(self, group: str, member_id: str, instance_id: str) -> None:
        self._group = group
        self._members = [(member_id, instance_id)]

    def build(self, request_struct_class: type[LeaveGroupRequestV3]) -> LeaveGroupRequestV3:
        """The request as it goes over the wire."""
        return request_struct_class(self._group, self._members)


async def leave_as_static_member(coordinator: Any) -> None:
    """Tell the group that this member is gone; without an answer the session timeout says so later."""
    if coordinator.generation <= 0:
        return
    request = LeaveAsStaticMember(
        coordinator.group_id,
        coordinator.member_id,
        coordinator._group_instance_id,  # noqa: SLF001 - aiokafka keeps it private
    )
    try:
        response = await coordinator._send_req(request)  # noqa: SLF001 - as above
    except (KafkaError, IncompatibleBrokerVersion, NotImplementedError) as error:
        logger.warning("could not leave the group, others take over after the session timeout: %r", error)
        return
    codes = [response.error_code, *(member[-1] for member in response.members)]
    for code in filter(None, codes):
        logger.warning("could not leave the group: %s", for_code(code).__name__)

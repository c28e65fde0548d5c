"""A worker that stops tells its group, so that others need not wait for the session to run out."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace

import pytest
from aiokafka.errors import KafkaConnectionError, UnknownMemberIdError

from agents.engine.faust_app import SESSION_S
from agents.engine.static_member import leave_as_static_member
from runtime.settings import Settings
from tests.agents.engine.test_traps import both_have
from tests.agents.workers import running, until


@pytest.mark.stack
async def test_when_a_static_member_stops_the_other_has_all_partitions_before_the_session_ends(
    settings: Settings,
) -> None:
    loop = asyncio.get_running_loop()
    async with running(settings, instance_id="lasting") as lasting:
        async with running(settings, instance_id="leaving") as leaving:
            await until(lambda: both_have(lasting, leaving, 2))
            stopping = loop.time()
        await until(lambda: both_have(lasting, lasting, 4))
        assert loop.time() - stopping < SESSION_S


class Unreachable:
    """A coordinator without a broker."""

    generation, group_id, member_id, _group_instance_id = 1, "group", "member", "instance"
    asked = False

    async def _send_req(self, _request: object) -> None:
        self.asked = True
        raise KafkaConnectionError


async def test_without_an_answer_the_worker_stops_all_the_same_and_says_what_follows(
    caplog: pytest.LogCaptureFixture,
) -> None:
    coordinator = Unreachable()
    with caplog.at_level(logging.WARNING):
        await leave_as_static_member(coordinator)
    assert coordinator.asked
    assert "others take over after the session timeout" in caplog.text


class Refusing(Unreachable):
    """A coordinator whose group knows no such member."""

    async def _send_req(self, _request: object) -> object:
        return SimpleNamespace(error_code=0, members=[("member", "instance", UnknownMemberIdError.errno)])


async def test_a_group_that_does_not_know_the_member_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        await leave_as_static_member(Refusing())
    assert "UnknownMemberIdError" in caplog.text


async def test_who_never_joined_need_not_leave() -> None:
    coordinator = Unreachable()
    coordinator.generation = -1
    await leave_as_static_member(coordinator)
    assert not coordinator.asked

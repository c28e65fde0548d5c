"""Putting a configuration into force: stored in Postgres first, then said on the topic, then noted as in force.

What dies in between is made good by whoever looks next (`reconcile`): a version that the topic has is in force.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agents.cluster import rules_log
from agents.cluster.describing import ClusterError, asking
from agents.engine.connection import CLIENT_ID
from runtime.versions import SHIPPED, version_of, words_of
from scoring.decisions.forecast import digest_of
from store import audit
from store import versions as store
from topics.time import format_time

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool

    from agents.cluster.rules_log import RulesLog
    from runtime.configuration import Configuration
    from runtime.settings import Settings
    from scoring.decisions.forecast import Forecast
    from store.audit import Actor

ACTIVATED, ROLLED_BACK = "config.activated", "config.rolled_back"
SENT_WITHIN_S = 30.0


class VersionError(ClusterError):
    """A version can't be put into force; the message says why and what to do."""


class OldWorkersError(VersionError):
    """Workers run that know no versions."""


class MeanwhileError(VersionError):
    """Another version came while this one was decided on."""


@dataclass(frozen=True)
class Act:
    """Who puts something into force, when and why."""

    actor: Actor
    author: str
    note: str
    now_ms: int
    seen: int | None = None
    """The newest version they knew of when they decided; another by now is refused. None: whatever there is."""


async def activate(
    settings: Settings,
    pool: AsyncConnectionPool[AsyncConnection],
    configuration: Configuration,
    before: Configuration,
    act: Act,
    partitions: tuple[int, ...] | None = None,
    limits: dict[str, int] | None = None,
    forecast: Forecast | None = None,
) -> store.Stored:
    """Put a configuration that was checked into force, on these partitions or on all.

    `before`: what services run by as long as nothing was activated. `limits`: with more of these (`store.LIMITED`) of
    its messages it is taken back. `forecast`: what a replay expects of it. Raises VersionError.
    """
    _check_forecast(configuration, forecast)
    await refuse_old_workers(settings)
    _check_partitions(settings, partitions)
    version = version_of(configuration, SHIPPED, format_time(act.now_ms))
    stored = store.Stored(
        replace(version, partitions=partitions),
        words_of(configuration),
        configuration.source_digest,
        act.author,
        act.note,
        limits=limits,
        forecast=forecast,
    )
    return await _put(settings, pool, stored, before, act, ACTIVATED)


async def rollback(
    settings: Settings,
    pool: AsyncConnectionPool[AsyncConnection],
    number: int,
    before: Configuration,
    act: Act,
) -> store.Stored:
    """Put an earlier version into force again, as a new one. Raises VersionError where there is none of that number."""
    await refuse_old_workers(settings)
    async with pool.connection() as conn:
        earlier = await store.one(conn, number)
        known = [entry.number for entry in await store.history(conn)]
    if earlier is None:
        there_are = (
            f"there are {', '.join(map(str, reversed(known)))}" if known else "nothing was activated yet"
        )
        raise VersionError(f"there is no version {number}: {there_are} (`success config history`)")
    version = replace(earlier.version, partitions=None, at=format_time(act.now_ms))
    again = store.Stored(version, earlier.words, earlier.source_digest, act.author, act.note, copy_of=number)
    return await _put(settings, pool, again, before, act, ROLLED_BACK)


async def take_back(
    settings: Settings,
    pool: AsyncConnectionPool[AsyncConnection],
    number: int,
    before: Configuration,
    act: Act,
) -> store.Stored:
    """Put into force again, everywhere, what was before version `number`; `before`, if that was none.

    Raises VersionError.
    """
    async with pool.connection() as conn:
        earlier = await store.before(conn, number)
    if earlier is None:
        return await activate(settings, pool, before, before, act)
    return await rollback(settings, pool, earlier, before, act)


async def reconcile(settings: Settings, pool: AsyncConnectionPool[AsyncConnection], now_ms: int) -> RulesLog:
    """Note as in force what the topic has, should its activation have died before it did; all that the topic says."""
    log = await rules_log.read(settings)
    numbers = [number for number in log.versions if number > 0]
    if numbers:
        async with pool.connection() as conn:
            await store.put_into_force(conn, numbers, now_ms)
    return log


async def _put(
    settings: Settings,
    pool: AsyncConnectionPool[AsyncConnection],
    stored: store.Stored,
    before: Configuration,
    act: Act,
    action: str,
) -> store.Stored:
    log = await reconcile(settings, pool, act.now_ms)
    async with pool.connection() as conn:
        number = await store.next_number(conn, max(log.versions, default=SHIPPED))
        await _refuse_if_another_came(conn, act)
        version = replace(stored.version, number=number)
        stored = replace(stored, version=version)
        await store.add(conn, stored, act.now_ms)
        await audit.log(
            conn,
            act.actor,
            action,
            None,
            act.now_ms,
            version=number,
            digest=version.digest,
            note=act.note,
            author=act.author,
            copy_of=stored.copy_of,
        )
    # What was in force before the first is told once, so that whoever replays the log knows it.
    told = [] if SHIPPED in log.versions else [version_of(before, SHIPPED, version.at)]
    async with asyncio.timeout(SENT_WITHIN_S):
        await rules_log.write_version(settings, *told, version)
    async with pool.connection() as conn:
        await store.put_into_force(conn, [number], act.now_ms)
    return stored


async def _refuse_if_another_came(conn: AsyncConnection, act: Act) -> None:
    newest = await store.newest_number(conn)
    if act.seen is not None and newest != act.seen:
        raise MeanwhileError(
            f"version {newest} came while this page was open: look at it, and decide again on top of it"
        )


def _check_forecast(configuration: Configuration, forecast: Forecast | None) -> None:
    if forecast is not None and forecast.digest != digest_of(configuration.policy):
        raise VersionError(
            "the forecast is of another draft, or of an earlier state of this one: write it again with "
            "`success replay --config DIR --json`"
        )


def _check_partitions(settings: Settings, partitions: tuple[int, ...] | None) -> None:
    wrong = [one for one in partitions or () if not 0 <= one < settings.partitions]
    if wrong:
        raise VersionError(f"there is no partition {wrong[0]}: there are 0 to {settings.partitions - 1}")


async def refuse_old_workers(settings: Settings) -> None:
    """OldWorkersError while a worker runs whose program knows no versions: it would score by rules of its own."""
    group = f"{settings.topic_prefix}success-worker"
    async with asking(settings) as admin:
        answers = await admin.describe_consumer_groups([group])
    members = [
        member for answer in answers for each in answer.to_object()["groups"] for member in each["members"]
    ]
    old = [member for member in members if not str(member.get("client_id", "")).startswith(CLIENT_ID)]
    if old:
        raise OldWorkersError(
            f"{len(old)} of {len(members)} workers run a program that knows no versions: stop them, or bring them up "
            "to this one, then activate"
        )

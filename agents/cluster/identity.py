"""Whether the logs are still those that are known, with as many partitions: looked at before anything counts.

A topic that was deleted and made anew has the same name and offsets that mean something else. So a worker knows its
topics by their ids: those of its ledger at the start, and then before each batch is handled by a look that began after
it was fetched. What came of another log, or under another number of partitions, is never handled.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from agents.cluster import ledger as ledgers
from agents.cluster.describing import NO_ID, Described, asking, describe
from agents.cluster.provisioning import STATE, wanted_topics
from agents.engine.connection import client_options
from agents.engine.failure import RefusedError, WorkerFailedError
from topics.catalog import ACTIVITY, CONDITIONS, HEALTH, MILESTONES, PROFILES, RISK_CHANGES, full_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agents.cluster.ledger import Ledger
    from runtime.settings import Settings

READ = (ACTIVITY, PROFILES, HEALTH, RISK_CHANGES, MILESTONES, CONDITIONS)
"""What workers read, and so know by id; catalogue names."""
LOOK_S = 1.0
"""How often a worker looks where nothing comes."""
RETRY_S = 0.1
GONE_AFTER_S = 3.0
"""A topic that is not there for so long is gone; a broker that just started may not know it yet."""


class TopicsNotReadyError(Exception):
    """Topics are missing; the message says which and what to do."""


def made_anew(ledger: Ledger, found: Mapping[str, Described], prefix: str) -> list[str]:
    """Those of the topics that workers read (catalogue names) whose log is another than the ledger knows."""
    changed = []
    for name in READ:
        topic = found.get(full_name(prefix, name))
        if (
            topic is not None
            and NO_ID not in (topic.id, known := ledger.ids.get(name, NO_ID))
            and topic.id != known
        ):
            changed.append(name)
    return changed


async def check_topics(settings: Settings) -> tuple[Ledger, dict[str, Described]]:
    """The ledger and all topics by full name, if a worker may read them; ids that are new are noted.

    Raises `TopicsNotReadyError` where topics are missing, `RefusedError` where one has another number of partitions or
    was made anew.
    """
    wanted = wanted_topics(settings.topic_prefix)
    async with asking(settings) as admin:
        found = await describe(admin, wanted)
    missing = sorted(wanted.keys() - found)
    if missing:
        raise TopicsNotReadyError(f"no topic {', '.join(missing)}: run `success migrate`")
    ledger = await ledgers.read(settings)
    if ledger.growing is not None:
        raise RefusedError(
            f"the topics are growing from {ledger.growing.partitions} to {ledger.growing.to} partitions: run "
            f"`success topics grow {ledger.growing.to}` to its end first"
        )
    for name, topic in found.items():
        if topic.partitions != settings.partitions:
            raise RefusedError(_other_count(name, topic.partitions, settings.partitions, found, ledger))
    if changed := made_anew(ledger, found, settings.topic_prefix):
        raise RefusedError(_anew(full_name(settings.topic_prefix, name) for name in changed))
    state = found[full_name(settings.topic_prefix, STATE)].id
    if ledger.grown and NO_ID not in (state, ledger.ids.get(STATE, NO_ID)) and state != ledger.ids[STATE]:
        raise RefusedError(
            f"topic {full_name(settings.topic_prefix, STATE)} was made anew, and the topics have grown since the log's "
            f"beginning: `success topics grow {settings.partitions}` builds the state again, each event by the count "
            "in force where it lies"
        )
    ids = {name: found[full_name(settings.topic_prefix, name)].id for name in (*READ, STATE)}
    if ids != ledger.ids:
        ledger.ids = ids
        await ledgers.write(settings, ledger)
    return ledger, found


class Watch:
    """Looks whether the topics are still those that the worker started with (`expected`, by full name)."""

    def __init__(self, settings: Settings, expected: Mapping[str, Described]) -> None:
        self._admin = AIOKafkaAdminClient(**client_options(settings))
        self._expected = expected
        self._state = full_name(settings.topic_prefix, STATE)
        self._activity = full_name(settings.topic_prefix, ACTIVITY)
        self._known_by_id = {full_name(settings.topic_prefix, name) for name in (*READ, STATE)}
        self._looked_at = dict.fromkeys(expected, 0.0)
        """When (`time.monotonic`) the last look began that found the topic as it was."""
        self._missing_since: dict[str, float] = {}
        self._wanted: set[str] = set()
        self._looking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect."""
        await self._admin.start()

    async def close(self) -> None:
        """Disconnect."""
        if self._looking is not None:
            self._looking.cancel()
        await self._admin.close()

    async def keep_looking(self) -> None:
        """Look every second; raises as `confirm` when something is not as it was."""
        while True:
            await self.confirm(self._expected, time.monotonic())
            await asyncio.sleep(LOOK_S)

    async def confirm_lane(self, topic: str | None, since: float) -> None:
        """`confirm` what a lane that reads this topic goes by; None for all."""
        if topic is None:
            await self.confirm(self._expected, since)
        else:
            await self.confirm((topic, self._state) if topic == self._activity else (topic,), since)

    async def confirm(self, topics: Iterable[str], since: float) -> None:
        """Return once a look that began at `since` (`time.monotonic`) or later found these topics as they were.

        Raises `RefusedError` for one that was made anew or has more partitions, `WorkerFailedError` for one that is
        gone. Kafka is waited for. Looks that are wanted at the same time are one.
        """
        wanted = set(topics)
        while any(self._looked_at[topic] < since for topic in wanted):
            self._wanted |= wanted
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look())
            await asyncio.shield(self._looking)

    async def _look(self) -> None:
        wanted, self._wanted = self._wanted, set()
        began = time.monotonic()
        try:
            found = await describe(self._admin, wanted)
        except (KafkaError, OSError, TimeoutError):
            found = {}
            self._missing_since.clear()
        else:
            for name, topic in found.items():
                self._compare(name, topic)
                self._looked_at[name] = began
                self._missing_since.pop(name, None)
            for name in wanted - found.keys():
                if began - self._missing_since.setdefault(name, began) >= GONE_AFTER_S:
                    raise WorkerFailedError(
                        f"topic {name} is gone: `success migrate` makes it anew, `success topics accept` then says "
                        "what is given up"
                    )
        if wanted - found.keys():
            await asyncio.sleep(RETRY_S)

    def _compare(self, name: str, topic: Described) -> None:
        expected = self._expected[name]
        if name in self._known_by_id and topic.id != expected.id:
            if name == self._state:
                raise WorkerFailedError(f"topic {name} was deleted and made anew: its state is built again")
            raise RefusedError(_anew([name]))
        if topic.partitions != expected.partitions:
            raise RefusedError(_grown(name, topic.partitions, expected.partitions))


def _anew(names: Iterable[str]) -> str:
    return (
        f"topic {', '.join(names)} was deleted and made anew: nothing of the new log is taken until "
        "`success topics accept`, which says what is given up"
    )


def _other_count(name: str, count: int, wanted: int, found: Mapping[str, Described], ledger: Ledger) -> str:
    words = f"topic {name} has {count} partitions and SUCCESS_PARTITIONS is {wanted}"
    if all(topic.partitions == count for topic in found.values()):
        if ledger.grown and ledger.grown[-1].to == count:
            return f"{words}: the topics were taken to {count}, set SUCCESS_PARTITIONS={count}"
        return (
            f"{words}: set SUCCESS_PARTITIONS={count}; all topics must have the same number, or a supplier's records "
            "end up with different workers"
        )
    most = max(topic.partitions for topic in found.values())
    return (
        f"{words}: all topics must have the same number, or a supplier's records end up with different workers; stop "
        f"all workers, run `success topics grow {most}`, and start them with SUCCESS_PARTITIONS={most}"
    )


def _grown(name: str, found: int, expected: int) -> str:
    return (
        f"topic {name} has {found} partitions by now, this worker was started for {expected}: stop all workers, run "
        f"`success topics grow {found}`, and start them with SUCCESS_PARTITIONS={found}; nothing was judged by either"
    )

"""The shadow of another policy: decides on the live signals as delivery would, and writes down what it would do.

It can't send: nothing here imports mail or delivery (a contract of the import linter), and it works in the role
`success_reader`, which may write into the shadow's own tables and nowhere else.
"""

from __future__ import annotations

import asyncio
import logging
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import orjson

from agents.interventions.received import SignalRecord, read_signal
from agents.interventions.rows import rows_of
from scoring.decisions.decide import Decision, decide
from scoring.time import DAY
from store.messages import shadow as store
from topics.outcome import unreadable_by_kafka

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool

    from agents.interventions.received import Record
    from runtime.clock import Clock
    from runtime.keys import Keys
    from scoring.decisions.policy import Policy

logger = logging.getLogger(__name__)

LIVE_AGENTS_WAIT_S = 60.0
"""How long a signal waits for the live agents to store its supplier."""
POLL_S = 0.25
DIGEST_CHARS = 12


def policy_digest(policy: Policy) -> str:
    """What a policy is known by: the start of a hash of all that it says."""
    said = orjson.dumps(policy.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)
    return sha256(said).hexdigest()[:DIGEST_CHARS]


class Shadow:
    """Takes signals and decides what is due, for one policy.

    `pool`: connections in the role `success_reader`. `name`: what people call the policy file. `keys`: the
    setting, under which erased suppliers and suppressed addresses are remembered. `policy_of`: the policy with the
    rules that are in force for a supplier; by default those that it was read against.
    """

    def __init__(
        self,
        pool: AsyncConnectionPool[AsyncConnection],
        clock: Clock,
        policy: Policy,
        name: str,
        keys: Keys,
        *,
        wait_s: float = LIVE_AGENTS_WAIT_S,
        policy_of: Callable[[str], Policy] | None = None,
    ) -> None:
        self.digest = policy_digest(policy)
        self._pool = pool
        self._clock = clock
        self._policy = policy
        self._name = name
        self._keys = keys
        self._wait_s = wait_s
        self._policy_of = policy_of or (lambda _: policy)

    async def be_seen(self) -> None:
        """Note that this policy is being tried; reports compare up to the last time this was called."""
        said = self._policy.model_dump(mode="json", by_alias=True)
        async with self._pool.connection() as conn:
            await store.register(conn, self.digest, self._name, said, self._clock.now_ms())

    async def topic_ids(self) -> dict[str, str]:
        """Which logs it has read: ids by topic (full names)."""
        async with self._pool.connection() as conn:
            return await store.topic_ids(conn, self.digest)

    async def note_topic_ids(self, ids: dict[str, str]) -> None:
        """Remember which logs it reads."""
        async with self._pool.connection() as conn:
            await store.note_topic_ids(conn, self.digest, ids)

    async def take(self, topic: str, records: Sequence[Record]) -> None:
        """Write what the policy makes of a batch of signals; returns when it is committed.

        `topic` is the catalogue's name. What is not of its model is a dead letter of the live agents', not ours.
        """
        readable = [record for record in records if not unreadable_by_kafka(record.headers)]
        signals = [read for each in readable if isinstance(read := read_signal(topic, each), SignalRecord)]
        rows = list(rows_of(signals, lambda _version: self._policy, self._clock.now_ms()).values())
        await self._wait_for_suppliers({row["supplier_id"] for row in rows})
        async with self._pool.connection() as conn:
            await store.add(conn, self.digest, rows)

    async def decide_due(self) -> int:
        """Decide everything that is due at the clock's time; how many rows were looked at."""
        looked_at = 0
        while True:
            now = self._clock.now_ms()
            async with self._pool.connection() as conn:
                supplier_id = await store.due_supplier(conn, self.digest, now)
                if supplier_id is None:
                    return looked_at
                looked_at += await self._decide(conn, supplier_id, now)

    async def next_due_ms(self) -> int | None:
        """When a row next wants to be decided, in ms; None if none does."""
        async with self._pool.connection() as conn:
            return await store.next_due_ms(conn, self.digest)

    async def _wait_for_suppliers(self, wanted: set[str]) -> None:
        """Wait until the live agents, who read the same signals, have stored those whom they are about."""
        deadline = asyncio.get_running_loop().time() + self._wait_s
        while wanted:
            async with self._pool.connection() as conn:
                wanted = await store.unknown(conn, wanted, self._keys)
            if wanted and asyncio.get_running_loop().time() >= deadline:
                logger.warning(
                    "%d suppliers are not stored after %.0f s: is a worker running? Their signals are left out",
                    len(wanted),
                    self._wait_s,
                )
                return
            if wanted:
                await asyncio.sleep(POLL_S)

    async def _decide(self, conn: AsyncConnection, supplier_id: str, now: int) -> int:
        policy = self._policy_of(supplier_id)
        due = await store.ready_rows(conn, self.digest, supplier_id, now)
        oldest = min((row.signal_at for row in due), default=now)
        spans = (policy.caps.window_ms, policy.spacing.after_rescue_ms)
        since = min(now, oldest) - max(spans) - DAY
        history = await store.counted_rows(conn, self.digest, supplier_id, since)
        facts = await store.facts(conn, supplier_id, now, self._keys)
        decisions = decide(facts, due, history, now, policy)
        await store.settle(conn, self.digest, [_verdict(decision, now) for decision in decisions])
        return len(decisions)


def _verdict(decision: Decision, now: int) -> store.Verdict:
    metadata: dict[str, Any] = dict(decision.inputs)
    if decision.action == "wait":
        metadata["waiting"] = decision.waiting
        return store.Verdict(decision.row_id, "scheduled", decision.why, metadata, not_before=decision.until)
    status = "would_send" if decision.action == "send" else "suppressed"
    return store.Verdict(decision.row_id, status, decision.why, metadata, decision.reason, decided_at=now)

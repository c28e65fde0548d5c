"""First forms of some suppliers, at a steady rate beside a load: when their signal, row and celebration are there."""

from __future__ import annotations

import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import psycopg
from confluent_kafka import Consumer, Producer

from api.auth import sign
from runtime.settings import Settings
from topics.catalog import ACTIVITY, MILESTONES, full_name
from topics.partitioner import partition_of
from topics.time import format_time

SIGNAL, ROW, CELEBRATION = "signal", "row", "celebration"
WAITED_FOR = (SIGNAL, ROW, CELEBRATION)
THERE_S = 120.0
LOOK_S = 0.05
LINE_S = 300.0
TOKEN_S = 3_600
CELEBRATED = b"event: milestone"


class Probes:
    """So many suppliers who are known, have a coach open each, and make their first form when told to."""

    def __init__(self, settings: Settings, count: int) -> None:
        self._settings = settings
        self._suppliers = [str(uuid.uuid4()) for _ in range(count)]
        self._producer = Producer({"bootstrap.servers": settings.kafka, "linger.ms": 0, "log_level": 4})
        self._sent: dict[str, float] = {}
        self._heard: dict[str, dict[str, float]] = {what: {} for what in WAITED_FOR}
        self._listening = threading.Semaphore(0)
        self._over = threading.Event()

    @contextmanager
    def open(self) -> Iterator[None]:
        """They are signed up, and everything listens, while the body runs."""
        for supplier in self._suppliers:
            self._publish(supplier, "supplier.signed_up", '"plan":"free"')
        self._producer.flush(30)
        _until(self._all_known)
        listeners: list[Callable[[], None]] = [self._hear_signals, self._hear_rows]
        listeners += [lambda supplier=each: self._hear_celebration(supplier) for each in self._suppliers]  # type: ignore[misc]
        with ThreadPoolExecutor(len(listeners)) as pool:
            try:
                running = [pool.submit(listen) for listen in listeners]
                for _ in listeners:
                    if not self._listening.acquire(timeout=THERE_S):
                        raise TimeoutError("not everything listens")
                yield
            finally:
                self._over.set()
            for each in running:
                each.result()

    def send(self, seconds: float) -> None:
        """Have them make their first forms, spread over so long."""
        with psycopg.connect(self._settings.database_url) as conn:
            if early := self._with_rows(conn, self._suppliers):
                raise RuntimeError(f"rows of first forms that nobody made: {early}")
        began = time.time()
        for number, supplier in enumerate(self._suppliers):
            time.sleep(max(0.0, began + seconds * number / len(self._suppliers) - time.time()))
            self._sent[supplier] = time.time()
            self._publish(supplier, "form.created", '"form_id":"f"')
            self._producer.flush(30)

    def wait_for_all(self, seconds: float) -> None:
        """Until all is there, at most so long."""
        with suppress(TimeoutError):
            _until(lambda: not any(self.lost().values()), seconds)

    def lost(self) -> dict[str, int]:
        """How many have not been heard of."""
        return {what: len(self._sent) - len(heard) for what, heard in self._heard.items()}

    def waits(self, what: str) -> list[float]:
        """Of each that was heard of how many ms it took, ascending."""
        return sorted((at - self._sent[who]) * 1000 for who, at in self._heard[what].items())

    def _publish(self, supplier: str, kind: str, data: str) -> None:
        key, now = supplier.encode(), format_time(time.time_ns() // 1_000_000)
        event = (
            f'{{"specversion":"1.0","id":"{kind}-{supplier}","source":"/bench","type":"{kind}",'
            f'"subject":"{supplier}","time":"{now}","data":{{{data}}}}}'
        )
        topic = full_name(self._settings.topic_prefix, ACTIVITY)
        partition = partition_of(key, self._settings.partitions)
        self._producer.produce(topic, event.encode(), key=key, partition=partition)

    def _all_known(self) -> bool:
        with psycopg.connect(self._settings.database_url) as conn:
            found = conn.execute(
                "SELECT count(*) FROM customer_health WHERE supplier_id = ANY(%s::uuid[])", (self._suppliers,)
            ).fetchone()
        return found is not None and found[0] == len(self._suppliers)

    def _note(self, what: str, supplier: str) -> None:
        if supplier in self._sent:
            self._heard[what].setdefault(supplier, time.time())

    def _hear_signals(self) -> None:
        """As a consumer of the milestones does."""
        consumer = Consumer(
            {
                "bootstrap.servers": self._settings.kafka,
                "group.id": f"{self._settings.topic_prefix}probes",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 5,
                "log_level": 4,
            }
        )
        topic = full_name(self._settings.topic_prefix, MILESTONES)
        consumer.subscribe([topic], on_assign=lambda *_: self._listening.release())
        try:
            while not self._over.is_set():
                message = consumer.poll(LOOK_S)
                if message is not None and message.error() is None:
                    self._note(SIGNAL, (message.key() or b"").decode())
        finally:
            consumer.close()

    def _hear_rows(self) -> None:
        """Look for rows of whoever waits, each time that Postgres tells of new ones."""
        with psycopg.connect(self._settings.database_url, autocommit=True) as conn:
            conn.execute("LISTEN success_delivery")
            self._listening.release()
            while not self._over.is_set():
                for _ in conn.notifies(timeout=LOOK_S, stop_after=1):
                    pass
                waiting = [each for each in self._sent if each not in self._heard[ROW]]
                for supplier in self._with_rows(conn, waiting):
                    self._note(ROW, supplier)

    @staticmethod
    def _with_rows(conn: psycopg.Connection, suppliers: list[str]) -> list[str]:
        """Whose first form has a row."""
        rows = conn.execute(
            "SELECT DISTINCT supplier_id::text FROM success_interventions "
            "WHERE supplier_id = ANY(%s::uuid[]) AND metadata #>> '{signal,milestone}' = 'first_form'",
            (suppliers,),
        )
        return [row[0] for row in rows]

    def _hear_celebration(self, supplier: str) -> None:
        """As the coach's page does: server-sent events."""
        settings = self._settings
        token = sign(settings, "supplier", supplier, TOKEN_S, int(time.time()))
        asked = urllib.request.Request(
            f"http://127.0.0.1:{settings.api_port}/api/coach/{supplier}/events",
            headers={"Authorization": f"Bearer {token}"},
        )
        with urllib.request.urlopen(asked, timeout=LINE_S) as lines:  # noqa: S310
            self._listening.release()
            for line in lines:
                if line.startswith(CELEBRATED):
                    self._note(CELEBRATION, supplier)
                    return
                if self._over.is_set():
                    return


def _until(true: Callable[[], bool], seconds: float = THERE_S) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not there after {seconds:.0f} s")
        time.sleep(LOOK_S)

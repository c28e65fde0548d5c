"""Every metric of the services, in one table; `docs/metrics.md` is generated from it.

Instruments are the process's own; each service shows those that it fills. What is counted while work is done is counted
a batch at a time; gauges are set when somebody asks (`runtime.inside`). No label holds anything personal, and none has
more values than a configuration has names: what comes from outside goes through `Names`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client.metrics import MetricWrapperBase

WORKER, DELIVER, API, SHADOW = SERVICES = ("worker", "deliver", "api", "shadow")
OTHER, NONE = "other", "none"
MOST_NAMES = 40
WORK_S = (0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)
DELAY_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 90.0, 300.0, 1800.0, 7200.0, 43200.0, 172800.0)
_HARMLESS = re.compile(r"[A-Za-z][A-Za-z0-9_.\-]{0,63}")
_Made = TypeVar("_Made", bound="MetricWrapperBase")


class Metric(NamedTuple):
    """A row of the table."""

    instrument: MetricWrapperBase
    services: tuple[str, ...]


METRICS: list[Metric] = []


def _for(*services: str) -> _Row:
    return _Row(services)


class _Row:
    """Puts what it makes into the table, for some services."""

    def __init__(self, services: tuple[str, ...]) -> None:
        self._services = services

    def counter(self, name: str, says: str, *labels: str) -> Counter:
        return self._add(Counter(name, says, labels, registry=None))

    def gauge(self, name: str, says: str, *labels: str) -> Gauge:
        return self._add(Gauge(name, says, labels, registry=None))

    def histogram(self, name: str, says: str, *labels: str, buckets: Iterable[float]) -> Histogram:
        return self._add(Histogram(name, says, labels, buckets=tuple(buckets), registry=None))

    def _add(self, instrument: _Made) -> _Made:
        METRICS.append(Metric(instrument, self._services))
        return instrument


_all, _worker, _deliver = _for(*SERVICES), _for(WORKER), _for(DELIVER)
_waits = _for(DELIVER, API)

# Every service
READY = _for(WORKER, DELIVER, SHADOW).gauge(
    "success_ready", "1 if this part of `/readyz` is there, else 0.", "part"
)
POOL = _all.gauge("success_pool_connections", "Connections to Postgres.", "pool", "state")
TRANSACTIONS = _all.counter(
    "success_transactions", "Connections taken from the pool, one a transaction.", "pool"
)
WAITED = _all.counter("success_pool_wait_seconds", "Time that transactions waited for a connection.", "pool")

# Scoring
EVENTS = _worker.counter(
    "success_events",
    "Records read of `supplier.activity`: `read` by type, `unknown` by the type's name, `refused`.",
    "type",
    "outcome",
)
DEAD_LETTERS = _worker.counter(
    "success_dead_letters", "Records refused, by the reason's code.", "topic", "reason"
)
SIGNALS = _worker.counter("success_signals", "Signals acked by Kafka.", "topic")
TO_SIGNAL = _worker.histogram(
    "success_event_to_signal_seconds",
    "From an event's time to its signal's ack; `time`: from a due time, the grace of 60 s included.",
    "cause",
    buckets=DELAY_S,
)
FOLD = _worker.histogram(
    "success_fold_seconds", "Handling one batch of a partition.", "topic", buckets=WORK_S
)
FLUSH = _worker.histogram(
    "success_flush_seconds", "Making durable what was handled.", "topic", buckets=WORK_S
)
LAG = _worker.gauge(
    "success_lag_records", "Records of a partition that are not handled yet.", "topic", "partition"
)
DELAY = _worker.gauge(
    "success_stream_delay_seconds",
    "How far a partition's stream time is behind the brokers' clock; a silent partition's grows, with no lag.",
    "partition",
)
PROCESSED = _worker.gauge(
    "success_last_processed_timestamp_seconds", "When a partition last made progress.", "topic", "partition"
)
TIMERS = _worker.gauge("success_timers", "Due times ahead or due, one a supplier at most.", "partition")
TIMERS_DUE = _worker.gauge(
    "success_timers_due", "Those that the brokers' clock has reached, counted up to 10,000.", "partition"
)
RECOVERY = _worker.gauge(
    "success_recovery_records_left",
    "Records of the state left to read; none when it is recovered.",
    "partition",
)
UNREADABLE = _worker.gauge(
    "success_partition_unreadable", "1: nothing of it can be read, it stands still.", "topic", "partition"
)
PARTITIONS = _worker.gauge(
    "success_partitions", "Partitions of `supplier.activity` that this process scores."
)
CONFIG_VERSION = _worker.gauge("success_config_version", "Version of the rules in force; 0: as shipped.")
SKEW = _worker.gauge("success_clock_skew_seconds", "How far this machine's clock is ahead of the brokers'.")

# Rows and messages
TO_ROW = _worker.histogram(
    "success_event_to_row_seconds", "From an event's time to its row's commit.", "topic", buckets=DELAY_S
)
INTERVENTIONS = _for(WORKER, DELIVER).counter(
    "success_interventions",
    "Messages by what became of them; one that waits or is tried again counts again.",
    "status",
    "reason",
    "template",
)
TO_EMAIL = _deliver.histogram(
    "success_event_to_email_seconds",
    "From a signal's time to the mail server's yes.",
    "template",
    buckets=DELAY_S,
)
DUE_TO_EMAIL = _deliver.histogram(
    "success_due_to_email_seconds",
    "From when an email might leave at first to the mail server's yes; caps, quiet hours and retries included.",
    buckets=DELAY_S,
)
SMTP = _for(DELIVER).counter(
    "success_smtp_replies", "What the mail server said of messages: `2xx`, `4xx`, `5xx`, or `none`.", "class"
)
for _reply in ("2xx", "4xx", "5xx", NONE):
    SMTP.labels(_reply)  # at 0 from the start: what is born with a number, no alert sees grow
SUPPLIERS = _deliver.gauge(
    "success_suppliers", "Suppliers by level, newcomers apart, looked at once a minute.", "level"
)
DATABASE_UP = _waits.gauge("success_database_up", "Whether Postgres answered.")
OUTBOX = _waits.gauge("success_outbox_waiting", "Events not yet published.")
OUTBOX_AGE = _waits.gauge("success_outbox_oldest_seconds", "Age of the oldest of them.")
DUE = _waits.gauge("success_interventions_due", "Interventions to decide now.")
NOTES = _deliver.counter(
    "success_agent_notes", "Notes to agents' webhook: told, to be told later, failed for good.", "outcome"
)
for _outcome in ("told", "later", "failed"):
    NOTES.labels(_outcome)

# The shadow
SHADOWED = _for(SHADOW).counter("success_shadow_decisions", "What the other policy decided; nothing is sent.")


class Names:
    """Names from outside as a label's values: the first `most` of them, if harmless, then `other`."""

    def __init__(self, most: int = MOST_NAMES) -> None:
        self._most = most
        self._known: set[str] = set()

    def __call__(self, name: str | None) -> str:
        """The label's value; `none` for no name."""
        if not name:
            return NONE
        if name not in self._known:
            if len(self._known) >= self._most or not _HARMLESS.fullmatch(name):
                return OTHER
            self._known.add(name)
        return name


unknown_types, templates, reasons = Names(), Names(100), Names(100)


def registry_of(service: str) -> CollectorRegistry:
    """What a service shows, with `process_*`."""
    registry = CollectorRegistry()
    show(service, registry)
    return registry


def show(service: str, registry: CollectorRegistry) -> None:
    """Have a registry show what a service fills."""
    for metric in METRICS:
        if service in metric.services:
            registry.register(metric.instrument)
    ProcessCollector(registry=registry)


def count_dead_letters(topic: str, letters: Iterable[tuple[object, object, list[tuple[str, bytes]]]]) -> None:
    """Count dead letters of a topic (catalogue name) by the code that their reason begins with."""
    for _, _, headers in letters:
        said = dict(headers).get("error", b"").partition(b":")[0]
        DEAD_LETTERS.labels(topic, reasons(said.decode(errors="replace"))).inc()


def count_intervention(status: str, reason: str | None, template: str | None) -> None:
    """Count what became of a message."""
    INTERVENTIONS.labels(status, reasons(reason), templates(template)).inc()


def count_reply(said: str, *, accepted: bool, by_server: bool) -> None:
    """Count what became of a message at the mail server: the first digit of its reply."""
    SMTP.labels(
        "2xx" if accepted else f"{said[:1]}xx" if by_server and said[:1] in {"4", "5"} else NONE
    ).inc()

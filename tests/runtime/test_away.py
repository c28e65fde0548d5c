"""What is away is told from what is wrong, waited for with back-off, and said once each 30 s."""

from __future__ import annotations

import asyncio
import logging

import aiokafka.errors
import psycopg
import pytest
from psycopg_pool import PoolTimeout

from runtime.away import BackOff, Wait, passing, set_within, waiting
from runtime.background import Background
from runtime.logs import OncePerTrouble
from scoring.backoff import doubled

PASSING_STATES = {"08", "25", "40", "53", "57", "58"}
EVERY_SQLSTATE = sorted(
    kind.sqlstate
    for kind in vars(psycopg.errors).values()
    if isinstance(kind, type) and issubclass(kind, psycopg.Error) and kind.sqlstate
)
EVERY_KAFKA_ERROR = [
    kind
    for kind in vars(aiokafka.errors).values()
    if isinstance(kind, type) and issubclass(kind, aiokafka.errors.KafkaError)
]


def test_every_error_of_postgres_is_judged_by_the_class_of_its_state() -> None:
    judged = {state: passing(psycopg.errors.lookup(state)("said")) for state in EVERY_SQLSTATE}
    assert {state[:2] for state, found in judged.items() if found} == PASSING_STATES
    assert all((found is not None) == (state[:2] in PASSING_STATES) for state, found in judged.items())


def test_every_error_of_kafka_is_judged_by_its_own_word() -> None:
    passes = {kind for kind in EVERY_KAFKA_ERROR if passing(kind())}
    assert passes == {kind for kind in EVERY_KAFKA_ERROR if kind.retriable} | {
        aiokafka.errors.KafkaTimeoutError
    }


def test_a_broken_connection_is_postgres_away_and_our_own_pool_is_not() -> None:
    assert passing(psycopg.OperationalError("the connection is lost")) == (
        "Postgres",
        "the connection is lost",
    )
    found = passing(PoolTimeout("couldn't get a connection after 30.00 sec"))
    assert found is not None
    assert found.what == "a connection of our own pool"


def test_where_no_broker_lets_us_in_the_doctor_is_named() -> None:
    found = passing(aiokafka.errors.KafkaConnectionError("Unable to bootstrap from [('localhost', 9092, 0)]"))
    assert found == ("Kafka", "no broker of SUCCESS_KAFKA lets us in: `success doctor` says why")


@pytest.mark.parametrize(
    "error", [psycopg.ProgrammingError("no such thing"), TypeError("a bug"), psycopg.DataError("a value")]
)
def test_what_waiting_does_not_mend_does_not_pass(error: Exception) -> None:
    assert passing(error) is None


def test_of_a_group_all_must_pass() -> None:
    away = psycopg.OperationalError("gone")
    assert passing(ExceptionGroup("two", [away, aiokafka.errors.NodeNotReadyError()]))
    assert passing(ExceptionGroup("two", [away, TypeError()])) is None


def test_a_wait_doubles_up_to_the_longest_and_begins_anew_when_it_worked() -> None:
    assert [doubled(1, 30, attempt) for attempt in (1, 2, 3, 6, 1000)] == [1, 2, 4, 30, 30]
    back_off = BackOff(1.0, 30.0, jitter=False)
    assert [back_off.next() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    back_off.reset()
    assert back_off.next() == 1


def test_a_wait_says_for_what_once_each_30_s_with_a_count(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    wait = Wait("the outbox", now=lambda: now)
    away = passing(psycopg.OperationalError("refused"))
    assert away is not None
    for second in range(61):
        now = float(second)
        wait.failed(away)
    assert waiting([wait]) == {"the outbox": "Postgres"}
    wait.worked()
    wait.worked()
    assert waiting([wait]) == {}
    assert [record.getMessage() for record in caplog.records] == [
        "the outbox waits for Postgres (refused)",
        "the outbox waits for Postgres (refused), 30 attempts since the last line",
        "the outbox waits for Postgres (refused), 30 attempts since the last line",
        "the outbox goes on: waited 60 s for Postgres",
    ]


async def test_work_is_tried_until_nothing_is_away_and_other_errors_are_raised() -> None:
    answers = [psycopg.OperationalError("gone"), aiokafka.errors.RequestTimedOutError(), None]
    wait = Wait("work", back_off=BackOff(0.001, 0.001))

    async def work() -> str:
        if error := answers.pop(0):
            raise error
        return "done"

    assert await wait.until(work) == "done"
    answers[:] = [psycopg.DataError("a value")]
    with pytest.raises(psycopg.DataError):
        await wait.until(work)
    answers[:] = [psycopg.OperationalError("gone")]
    with pytest.raises(psycopg.OperationalError):
        await wait.until(work, wait=False)


async def test_a_wait_ends_when_it_is_told_to_stop() -> None:
    stop = asyncio.Event()
    wait = Wait("work", back_off=BackOff(3600.0, 3600.0))
    attempts = 0

    async def work() -> None:
        nonlocal attempts
        attempts += 1
        stop.set()
        raise psycopg.OperationalError("gone")

    with pytest.raises(psycopg.OperationalError):
        await wait.until(work, stop)
    assert attempts == 1


async def test_a_background_task_that_ends_is_down_until_it_runs_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pauses: list[float] = []
    background, runs = Background(), 0
    monkeypatch.setattr(BackOff, "next", lambda _self: 0.0)
    running = asyncio.Event()

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise TypeError("a bug")
        pauses.append(len(background.down))
        running.set()
        await asyncio.Event().wait()

    background.start("the publisher", work)
    await running.wait()
    assert pauses == [0]
    assert "the publisher ended unexpectedly; starting it again" in caplog.text
    await background.aclose()


async def test_a_background_task_that_is_not_to_be_started_again_ends_its_service() -> None:
    told: list[tuple[str, Exception]] = []
    background = Background(ended=lambda name, error: told.append((name, error)))

    async def work() -> None:
        raise TypeError("a bug")

    await background.start("the publisher", work)
    assert [(name, str(error)) for name, error in told] == [("the publisher", "a bug")]
    assert background.down == {"the publisher": "TypeError: a bug"}


def logged(messages: list[tuple[str, str, Exception | None]]) -> list[str]:
    """What is written of (logger, message, error), one a second."""
    now, lines = 0.0, []
    once = OncePerTrouble(now=lambda: now)
    for name, message, error in messages:
        info = (type(error), error, None) if error else None
        record = logging.LogRecord(name, logging.ERROR, "", 1, message, (), info)  # type: ignore[arg-type]
        if once.filter(record):
            assert record.exc_info is None or not isinstance(error, psycopg.Error)
            lines.append(record.getMessage())
        now += 1
    return lines


def test_a_librarys_many_lines_about_one_trouble_are_one_each_30_s_with_a_count() -> None:
    said = logged([("aiokafka.cluster", f"unable to reach node {number}", None) for number in range(62)])
    assert said == [
        "unable to reach node 0",
        "unable to reach node 30 (29 more like this in the 30 s after the last)",
        "unable to reach node 60 (29 more like this in the 30 s after the last)",
    ]


def test_an_error_that_passes_is_a_line_without_a_traceback() -> None:
    gone = psycopg.OperationalError("server closed\nthe connection")
    assert logged([("agents.engine", "a batch failed", gone)]) == [
        "a batch failed (server closed the connection)"
    ]


async def test_an_event_is_waited_for_as_long_as_said() -> None:
    event = asyncio.Event()
    assert not await set_within(event, 0)
    assert not await set_within(event, -1)
    asyncio.get_running_loop().call_soon(event.set)
    assert await set_within(event, 60)


@pytest.mark.parametrize("turns", range(4))
async def test_a_cancellation_that_meets_the_event_is_not_forgotten(turns: int) -> None:
    event = asyncio.Event()
    task = asyncio.create_task(set_within(event, 60))
    await asyncio.sleep(0)
    event.set()
    for _ in range(turns):  # of the loop, in which the news reaches whoever waits
        await asyncio.sleep(0)
    is_accepted = task.cancel()
    await asyncio.wait({task})
    assert task.cancelled() == is_accepted

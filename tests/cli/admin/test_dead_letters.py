"""`success dead-letters`: refused records are found, and published again once, under their own key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from aiokafka import AIOKafkaProducer

from agents.engine.connection import client_options
from runtime.settings import Settings
from tests.cli.admin.operator import Operator
from tests.cli.admin.test_publish import records
from tests.conftest import in_own_loop
from topics.catalog import ACTIVITY, DEAD_LETTERS, PROFILES, full_name
from topics.outcome import dead_letter_headers
from topics.partitioner import partition_of

pytestmark = pytest.mark.stack

SOON_SOUND = "2026-01-19T08:00:00Z"


@pytest.fixture
def operator(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Operator:
    return Operator(settings, monkeypatch)


def event(supplier: str, **given: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": "/forms",
        "type": "form.created",
        "subject": supplier,
        "time": SOON_SOUND,
        "data": {"form_id": "f1"},
    } | given


def buried(
    settings: Settings,
    value: Any,
    reason: str,
    topic: str = ACTIVITY,
    key: str | None = None,
    **headers: bytes,
) -> str:
    """Publish a dead letter as the worker does; its id."""
    raw = json.dumps(value).encode() if isinstance(value, dict) else value

    async def bury() -> str:
        async with AIOKafkaProducer(**client_options(settings)) as producer:
            sent = await producer.send_and_wait(
                full_name(settings.topic_prefix, DEAD_LETTERS),
                raw,
                key.encode() if key is not None else None,
                headers=dead_letter_headers(
                    reason, full_name(settings.topic_prefix, topic), 0, 7, list(headers.items())
                ),
            )
            return f"{sent.partition}:{sent.offset}"

    return str(in_own_loop(bury()))


def on(settings: Settings, topic: str) -> list[Any]:
    return list(in_own_loop(records(settings, topic)))


def test_letters_are_listed_by_reason_topic_and_time(operator: Operator) -> None:
    supplier = str(uuid4())
    first = buried(operator.settings, event(supplier), "future_time: too early", key=supplier)
    second = buried(operator.settings, b"{", "not_json: x", key=supplier)
    third = buried(operator.settings, None, "wrong_field: id", topic=PROFILES, key=supplier)
    listed = operator.json("dead-letters", "list")
    assert listed["total"] == 3
    assert listed["reasons"] == {"future_time": 1, "not_json": 1, "wrong_field": 1}
    assert {each["id"] for each in listed["dead_letters"]} == {first, second, third}

    def ids(*options: str) -> list[str]:
        return [each["id"] for each in operator.json("dead-letters", "list", *options)["dead_letters"]]

    assert ids("--reason", "not_json") == [second]
    assert ids("--topic", PROFILES) == [third]
    assert ids("--since", "2100-01-01") == []
    assert ids("--until", "2020-01-01T00:00:00Z") == []
    assert set(ids("--since", "2020-01-01")) == {first, second, third}
    assert len(ids("--most", "1")) == 1
    shown = operator.json("dead-letters", "show", second)
    assert (shown["reason"], shown["value"], shown["key"]) == ("not_json", "{", supplier)
    assert "not_json: x" in operator.run("dead-letters", "list").output
    assert "not_json: x" in operator.run("dead-letters", "show", second).output


def test_a_letter_goes_again_as_it_was_once_with_its_key_and_is_audited(operator: Operator) -> None:
    supplier, settings = str(uuid4()), operator.settings
    whole = event(supplier)
    name = buried(settings, whole, "future_time: too early", key=supplier)
    tried = operator.json("dead-letters", "publish", name, "--dry-run")
    assert (tried["would_publish"], tried["published"]) == (1, 0)
    assert on(settings, ACTIVITY) == []
    assert operator.json("dead-letters", "publish", name, "--by", "kim")["published"] == 1
    again = operator.run("dead-letters", "publish", name)
    assert again.exit_code == 1
    assert "only once" in again.output

    [record] = on(settings, ACTIVITY)
    assert json.loads(record.value) == whole
    assert record.key == supplier.encode()
    assert record.partition == partition_of(supplier.encode(), settings.partitions)
    with psycopg.connect(settings.database_url) as conn:
        rows = conn.execute("SELECT actor, actor_role, action, supplier_id::text FROM audit_log").fetchall()
    assert rows == [("kim", "cli", "dead_letter.published", supplier)]
    [line] = operator.json("dead-letters", "list")["dead_letters"]
    assert line["published_by"] == "kim"


@pytest.mark.parametrize("way", ["file", "stdin"])
def test_a_mended_letter_is_judged_and_published(operator: Operator, tmp_path: Path, way: str) -> None:
    supplier, settings = str(uuid4()), operator.settings
    broken, whole = event(supplier, data={}), event(supplier)
    name = buried(settings, broken, "missing_field: data.form_id", key=supplier)

    def publish(value: Any) -> Any:
        raw = json.dumps(value).encode()
        if way == "stdin":
            return operator.run("dead-letters", "publish", name, "--file", "-", "--json", stdin=raw)
        file = tmp_path / "mended.json"
        file.write_bytes(raw)
        return operator.run("dead-letters", "publish", name, "--file", str(file), "--json")

    assert publish(broken).exit_code == 1
    assert publish(event(str(uuid4()))).exit_code == 1  # nobody else can be spoken about
    assert on(settings, ACTIVITY) == []
    assert publish(whole).exit_code == 0
    assert [json.loads(record.value) for record in on(settings, ACTIVITY)] == [whole]


def test_all_of_a_reason_go_again_and_what_is_still_wrong_is_said(operator: Operator) -> None:
    settings = operator.settings
    suppliers = [str(uuid4()) for _ in range(3)]
    for supplier in suppliers:
        buried(settings, event(supplier), "wrong_partition: x", key=supplier)
    binary = buried(
        settings,
        b'{"form_id": "f1"}',
        "wrong_partition: x",
        key=suppliers[0],
        **{f"ce_{name}": value.encode() for name, value in event(suppliers[0]).items() if name != "data"},
    )
    bad = buried(settings, event(suppliers[0], data={}), "wrong_partition: x", key=suppliers[0])
    other = buried(settings, event(suppliers[0]), "future_time: x", key=suppliers[0])
    found = operator.run("dead-letters", "publish", "--reason", "wrong_partition", "--json")
    assert found.exit_code == 1
    outcome = json.loads(found.stdout.splitlines()[0])
    assert outcome["published"] == 4
    assert list(outcome["refused"]) == [bad]
    assert outcome["refused_by_reason"] == {"missing_field": 1}
    assert sorted(record.key.decode() for record in on(settings, ACTIVITY)) == sorted(
        [*suppliers, suppliers[0]]
    )
    states = {
        each["id"]: each["published_at"] for each in operator.json("dead-letters", "list")["dead_letters"]
    }
    assert states[binary] is not None
    assert states[bad] is None
    assert states[other] is None


def test_a_profile_goes_again_mended_only_and_never_as_an_erasure(operator: Operator) -> None:
    supplier, settings = str(uuid4()), operator.settings
    name = buried(settings, None, "wrong_field: timezone: x", topic=PROFILES, key=supplier)
    assert operator.run("dead-letters", "publish", name).exit_code == 1
    assert operator.run("dead-letters", "publish", name, "--file", "-", stdin=b"").exit_code == 1
    assert on(settings, PROFILES) == []
    profile = {"id": supplier, "timezone": "Europe/London"}
    operator.json("dead-letters", "publish", name, "--file", "-", stdin=json.dumps(profile).encode())
    assert [json.loads(record.value) for record in on(settings, PROFILES)] == [profile]


@pytest.mark.parametrize(
    "wrong", [[], ["1:1", "--reason", "not_json"], ["nonsense"], ["1:1", "1:2", "--file", "-"]]
)
def test_wrong_usage_says_what_to_give(operator: Operator, wrong: list[str]) -> None:
    assert operator.run("dead-letters", "publish", *wrong).exit_code == 2


def test_a_letter_that_is_not_there_is_said(operator: Operator) -> None:
    found = operator.run("dead-letters", "show", "0:99")
    assert found.exit_code == 1

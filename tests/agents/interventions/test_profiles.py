from __future__ import annotations

import orjson
import pytest

from store.suppliers import erasure_hash
from tests.agents.interventions.conftest import ERASURE_KEY
from tests.agents.interventions.factory import (
    DAY,
    EMMA,
    MONDAY,
    SARAH,
    Record,
    condition,
    consent,
    erasure,
    milestone,
    profile,
    snapshot,
)
from topics.catalog import CONDITIONS, HEALTH, MILESTONES, PROFILES

pytestmark = pytest.mark.stack

THEIRS = ("customer_health", "health_history", "success_milestones", "success_interventions")


async def test_a_profile_replaces_the_one_before_it_wholly(writer, select):
    await writer.write(PROFILES, [profile(business_name="Sarah's Photos", plan="free")])
    await writer.write(PROFILES, [profile(offset=1, first_name="Sally", timezone="Europe/London")])
    [row] = select("SELECT * FROM suppliers")
    assert (row["first_name"], row["timezone"]) == ("Sally", "Europe/London")
    assert (row["business_name"], row["plan"]) == (None, None)


async def test_the_last_of_several_in_a_batch_holds(writer, select):
    await writer.write(PROFILES, [profile(first_name="One"), profile(first_name="Two", offset=1)])
    assert [row["first_name"] for row in select("SELECT first_name FROM suppliers")] == ["Two"]


async def test_unknown_keys_are_ignored(writer, select):
    await writer.write(PROFILES, [profile(favourite_colour="green")])
    assert select("SELECT email FROM suppliers") == [{"email": "sarah@example.com"}]
    assert writer.dead_letters == []


async def test_a_profile_does_not_touch_consent(writer, select):
    await writer.write(HEALTH, [snapshot(consent=consent(email=True, email_at=MONDAY))])
    await writer.write(PROFILES, [profile()])
    assert select("SELECT email_opt_out FROM suppliers") == [{"email_opt_out": True}]


@pytest.mark.parametrize(
    "bad",
    [
        Record(SARAH.encode(), b"{private"),
        Record(SARAH.encode(), b'["private"]'),
        Record(EMMA.encode(), profile().value),
        Record(b"sarah", orjson.dumps({"id": "sarah", "first_name": "private"})),
    ],
)
async def test_a_bad_profile_is_a_dead_letter_without_its_value(writer, select, bad):
    bad.topic, bad.partition, bad.offset = "prefix.supplier.profiles", 3, 7
    bad.headers = [("trace", b"t1")]
    await writer.write(PROFILES, [profile(), bad])
    [(key, value, headers)] = writer.dead_letters
    assert (key, value) == (bad.key, None)
    named = dict(headers)
    assert (named["topic"], named["partition"], named["offset"]) == (bad.topic.encode(), b"3", b"7")
    assert named["trace"] == b"t1"
    assert b"private" not in named["error"]
    assert [row["first_name"] for row in select("SELECT first_name FROM suppliers")] == ["Sarah"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("email", "private at example.com"), ("email", 17), ("timezone", "GMT+2"), ("plan", "private")],
)
async def test_a_bad_optional_field_costs_only_itself_and_is_named_in_a_dead_letter(
    writer, select, field, value
):
    await writer.write(PROFILES, [profile(plan="free", timezone="Europe/London")])
    await writer.write(PROFILES, [profile(offset=1, first_name="Sally", **{field: value})])
    [row] = select("SELECT email, first_name, timezone, plan FROM suppliers")
    wanted = {"email": "sarah@example.com", "first_name": "Sally", "timezone": None, "plan": None}
    assert row == wanted | {field: None}  # and never what it was before
    [(key, kept, headers)] = writer.dead_letters
    assert (key, kept) == (SARAH.encode(), None)
    assert dict(headers)["error"].startswith(f"wrong_field: {field}: ".encode())
    assert str(value).encode() not in dict(headers)["error"]


async def test_one_that_a_frozen_process_writes_late_stays_out(writer, select):
    await writer.write(PROFILES, [profile(first_name="New", offset=8, timestamp=MONDAY + 2)])
    await writer.write(PROFILES, [profile(first_name="Old", offset=7, timestamp=MONDAY + 1)])
    assert select("SELECT first_name FROM suppliers") == [{"first_name": "New"}]


async def test_a_topic_made_anew_may_start_its_offsets_again(writer, select):
    await writer.write(PROFILES, [profile(first_name="Old", offset=8, timestamp=MONDAY)])
    await writer.write(PROFILES, [profile(first_name="New", offset=0, timestamp=MONDAY + DAY)])
    assert select("SELECT first_name FROM suppliers") == [{"first_name": "New"}]


async def everything_of(writer, supplier: str) -> None:
    await writer.write(PROFILES, [profile(supplier)])
    await writer.write(HEALTH, [snapshot(supplier)])
    await writer.write(MILESTONES, [milestone(supplier=supplier)])
    await writer.write(CONDITIONS, [condition(supplier=supplier)])


async def test_an_empty_value_erases_everything_of_that_supplier_only(writer, select):
    await everything_of(writer, SARAH)
    await everything_of(writer, EMMA)
    await writer.write(PROFILES, [erasure(SARAH)])
    for table in THEIRS:
        owners = {row["id"] for row in select(f"SELECT DISTINCT supplier_id::text AS id FROM {table}")}  # noqa: S608
        assert owners == {EMMA}, table
    assert [row["id"] for row in select("SELECT id::text FROM suppliers")] == [EMMA]


async def test_an_erasure_keeps_a_keyed_hash_and_nothing_else(writer, select):
    await writer.write(PROFILES, [profile(), erasure()])
    [row] = select("SELECT * FROM erased_suppliers")
    assert bytes(row["id_hash"]) == erasure_hash(SARAH, ERASURE_KEY)
    assert SARAH.replace("-", "") not in bytes(row["id_hash"]).hex()


async def test_after_an_erasure_nothing_of_that_id_is_written(writer, select):
    await writer.write(PROFILES, [erasure(SARAH)])
    await everything_of(writer, SARAH)
    await everything_of(writer, EMMA)
    assert [row["id"] for row in select("SELECT id::text FROM suppliers")] == [EMMA]
    assert {row["key"] for row in select("SELECT key FROM outbox")} == {EMMA}
    assert writer.dead_letters == []


async def test_an_empty_text_erases_like_no_value(writer, select):
    await writer.write(PROFILES, [profile()])
    await writer.write(PROFILES, [Record(SARAH.encode(), b"")])
    assert select("SELECT id FROM suppliers") == []

"""What we send is what the public models promise."""

from __future__ import annotations

import json
import tracemalloc
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from scoring.health import machine
from scoring.health.snapshot import snapshot
from scoring.health.state import State
from scoring.identity import signal_id
from tests.forms import examples
from tests.topics.events import APPEND_MS, AT_MS, DATA, KEY, SUPPLIER, as_bytes, event
from topics.catalog import CONDITIONS, HEALTH, INTERVENTIONS, MILESTONES, RISK_CHANGES, TOPICS
from topics.decoding import decode
from topics.encoding import SOURCE, encode_event
from topics.signals import HealthUpdated, InterventionChanged

DAY_MS = 86_400_000
TOPIC_OF_TYPE = {
    "success.risk.changed": RISK_CHANGES,
    "success.milestone.achieved": MILESTONES,
    "success.condition.met": CONDITIONS,
}


def model_of(topic: str) -> type[BaseModel]:
    model: type[BaseModel] = TOPICS[topic].model
    return model


def validated(topic: str, value: bytes) -> Any:
    """The model of what was encoded; every key that was written must be one that the model knows."""
    model = model_of(topic).model_validate_json(value)
    written = json.loads(value)
    del written["datacontenttype"]
    assert model.model_dump(mode="json", by_alias=True, exclude_unset=True) == written
    return model


def test_a_structured_event_has_its_attributes_in_utc_milliseconds():
    value = encode_event(
        "success.milestone.achieved", "m1", SOURCE, SUPPLIER, AT_MS + 7, {"milestone": "first_form"}
    )
    assert json.loads(value) == {
        "specversion": "1.0",
        "type": "success.milestone.achieved",
        "id": "m1",
        "source": "/wedsync/success",
        "subject": SUPPLIER,
        "time": "2026-01-05T09:00:00.007Z",
        "datacontenttype": "application/json",
        "data": {"milestone": "first_form"},
    }


@pytest.mark.parametrize("kind", DATA)
def test_an_activity_event_that_we_encode_is_one_that_we_read(kind):
    """The API and the simulator publish with the same function."""
    value = encode_event(kind, "e1", "/tests", SUPPLIER, AT_MS, DATA[kind])
    assert decode(KEY, value, (), APPEND_MS) == decode(KEY, as_bytes(event(kind)), (), APPEND_MS)


steps = st.lists(
    st.tuples(st.sampled_from(sorted(DATA)), st.integers(0, 9 * DAY_MS)), min_size=1, max_size=25
)


@settings(max_examples=examples(150))
@given(steps)
def test_every_signal_and_snapshot_of_the_scoring_rules_is_valid(history):
    state, at = State(), AT_MS
    for number, (kind, gap) in enumerate(history):
        at += gap
        data = DATA[kind] and SimpleNamespace(
            **{"plan": None, "reason": None, "client_id": None} | DATA[kind]
        )
        happened = SimpleNamespace(type=kind, at=at, id=f"e{number}", source="/tests", data=data)
        for signal in machine.apply(state, SUPPLIER, happened):
            value = encode_event(signal.type, signal.id, SOURCE, SUPPLIER, signal.at, signal.data)
            assert validated(TOPIC_OF_TYPE[signal.type], value).type == signal.type
        health = snapshot(state)
        identity = signal_id(SUPPLIER, "health", "", str(health["seq"]))
        value = encode_event("success.health.updated", identity, SOURCE, SUPPLIER, at, health)
        assert isinstance(validated(HEALTH, value), HealthUpdated)


@pytest.mark.parametrize("status", ["scheduled", "sent", "suppressed", "failed", "unknown"])
def test_an_intervention_event_names_the_row_the_signal_and_the_reason(status):
    data = {
        "intervention_id": str(uuid4()),
        "trigger": "no_login_7_days",
        "channel": "email",
        "template": "we_miss_you",
        "status": status,
        "reason": None,
        "signal_id": str(uuid4()),
    }
    value = encode_event(f"success.intervention.{status}", "i1", SOURCE, SUPPLIER, AT_MS, data)
    assert isinstance(validated(INTERVENTIONS, value), InterventionChanged)


def test_the_models_refuse_what_they_do_not_promise():
    value = encode_event(
        "success.condition.met", "c1", SOURCE, SUPPLIER, AT_MS, {"condition": "It rains", "occurrence": 0}
    )
    with pytest.raises(ValidationError) as failure:
        model_of(CONDITIONS).model_validate_json(value)
    assert {error["loc"][-1] for error in failure.value.errors()} == {
        "condition",
        "occurrence",
        "seq",
        "level",
    }


def test_a_kept_event_takes_hardly_more_memory_than_its_bytes() -> None:
    """A flush keeps very many at once; a JSON library's spare room would be most of a worker's memory."""
    tracemalloc.start()
    try:
        kept = [encode_event("t", str(n), SOURCE, SUPPLIER, 0, {"score": n}) for n in range(1_000)]
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 1.5 * sum(map(len, kept))

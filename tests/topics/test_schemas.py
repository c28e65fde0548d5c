"""The generated schemas are fresh, valid, and say what the code does."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft7Validator, Draft202012Validator

from tests.forms import examples
from tests.topics.events import DATA, SUPPLIER, event, events
from topics.activity_types import PLAIN
from topics.catalog import ACTIVITY, PROFILES, TOPICS
from topics.decoding import ActivityEvent
from topics.judging import judge_structured
from topics.schemas.generate import SCHEMAS, render

# The AsyncAPI initiative's own schema of the document (npm @asyncapi/specs 6.11.1, Apache-2.0).
OFFICIAL = Path(__file__).with_name("asyncapi-3.0.0.schema.json.gz")


@pytest.fixture(scope="module")
def document() -> Any:
    return json.loads((SCHEMAS / "asyncapi.json").read_text())


def schema_of(topic: str) -> Any:
    return json.loads((SCHEMAS / f"{topic}.schema.json").read_text())


def test_the_generated_files_are_fresh():
    """Otherwise: `python -m topics.schemas.generate`."""
    there = {path.name: path.read_text() for path in SCHEMAS.glob("*.json")}
    assert there == render()


def test_there_is_a_schema_for_every_topic_with_a_model():
    assert {f"{name}.schema.json" for name, topic in TOPICS.items() if topic.model} < set(render())


@pytest.mark.parametrize("name", [name for name, topic in TOPICS.items() if topic.model])
def test_every_schema_is_json_schema_2020_12(name):
    Draft202012Validator.check_schema(schema_of(name))


def test_the_asyncapi_document_is_valid_by_the_official_schema(document):
    official = json.loads(gzip.decompress(OFFICIAL.read_bytes()))
    assert [error.message for error in Draft7Validator(official).iter_errors(document)] == []


def test_the_asyncapi_document_has_every_topic_and_every_event(document):
    assert {channel["address"] for channel in document["channels"].values()} == set(TOPICS)
    names = {message["name"] for message in document["components"]["messages"].values()}
    assert set(PLAIN.types) < names
    received = [
        operation for operation in document["operations"].values() if operation["action"] == "receive"
    ]
    assert len(received) == 2


def test_every_reference_in_the_asyncapi_document_leads_somewhere(document):
    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [found for value in node.values() for found in references(value)]
        return [found for item in node for found in references(item)] if isinstance(node, list) else []

    for reference in references(document):
        target = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]


@pytest.mark.parametrize("kind", DATA)
def test_the_schema_accepts_a_good_event_of_every_type(kind):
    Draft202012Validator(schema_of(ACTIVITY)).validate(event(kind))


@settings(max_examples=examples(200))
@given(events())
def test_what_we_accept_the_schema_accepts(made):
    """A producer who checks against the schema is never surprised by an event of ours it calls wrong."""
    verdict = judge_structured(SUPPLIER.encode(), json.dumps(made).encode(), 1 << 60)
    if isinstance(verdict, ActivityEvent) and made.get("data", {}) is not None:
        assert Draft202012Validator(schema_of(ACTIVITY)).is_valid(made)


def test_the_profile_schema_wants_an_id_only():
    validator = Draft202012Validator(schema_of(PROFILES))
    assert validator.is_valid({"id": SUPPLIER})
    assert not validator.is_valid({"email": "sarah@example.com"})

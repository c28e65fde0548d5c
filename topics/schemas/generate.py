"""Writes `topics/schemas/`: a JSON Schema per topic and one AsyncAPI 3 document, all from the models.

    python -m topics.schemas.generate

`render` gives the files without writing them, `events_page` the part of `docs/events.md` between its marks; tests
compare them with what is there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, TypeAdapter

from topics.activity_types import PLAIN, ActivityType
from topics.catalog import ACTIVITY, PROFILES, TOPICS, Topic

SCHEMAS = Path(__file__).parent
DIALECT = "https://json-schema.org/draft/2020-12/schema"
SCHEMA_FORMAT = "application/schema+json;version=draft-2020-12"
ASYNCAPI = "asyncapi.json"
OURS_TO_READ = (ACTIVITY, PROFILES)
EVENTS_PAGE = Path(__file__).parents[2] / "docs" / "events.md"
BEGIN, END = "<!-- types: begin, written by `python -m topics.schemas.generate` -->\n", "<!-- types: end -->"
EXAMPLES: dict[str, Any] = {
    # field of data: a value to show
    "plan": "starter",
    "reason": "too expensive",
    "form_id": "enquiry",
    "client_id": "c-1048",
    "client_ids": ["c-1048", "c-1049"],
    "journey_id": "welcome",
    "message_id": "m-77",
    "template_id": "contract",
    "payment_id": "p-3",
    "amount_minor": 45000,
    "currency": "GBP",
    "milestone": "first_form",
    "scope": "email",
}


def render() -> dict[str, str]:
    """The text of every file in `topics/schemas/` by file name."""
    documents = {
        f"{name}.schema.json": schema(topic) for name, topic in TOPICS.items() if topic.model is not None
    }
    documents[ASYNCAPI] = asyncapi()
    return {
        name: json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        for name, document in documents.items()
    }


def schema(topic: Topic) -> dict[str, Any]:
    """The JSON Schema of a topic's values."""
    generated = TypeAdapter(topic.model).json_schema(mode="validation")
    return {"$schema": DIALECT, "title": topic.name, **_opened(generated)}


def _opened(generated: dict[str, Any]) -> dict[str, Any]:
    """Without OpenAPI's `discriminator`, which is no part of JSON Schema."""
    return {key: value for key, value in generated.items() if key != "discriminator"}


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3 document: a channel per topic, a message per event, what we send and what we receive."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "WedSync success",
            "version": "1.0.0",
            "description": (
                "What the customer success engine reads and writes. Values are CloudEvents 1.0 (structured or "
                "binary mode of the Kafka protocol binding), profiles plain JSON. A record's key is the supplier "
                "id, its partition Java's murmur2 of the key. Topic names take the prefix SUCCESS_TOPIC_PREFIX."
            ),
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": {_id(name): _channel(topic) for name, topic in TOPICS.items()},
        "operations": {_operation_id(name): _operation(name) for name in TOPICS},
        "components": {
            "messages": {
                message_id: message
                for topic in TOPICS.values()
                for message_id, message in _messages(topic).items()
            }
        },
    }


def _id(name: str) -> str:
    """`supplier.activity` as an identifier: `supplierActivity`."""
    first, *others = name.replace(".", "-").split("-")
    return first + "".join(part.capitalize() for part in others)


def _channel(topic: Topic) -> dict[str, Any]:
    messages = {name: {"$ref": f"#/components/messages/{name}"} for name in _messages(topic)}
    return {
        "address": topic.name,
        "title": topic.name,
        "description": topic.about,
        "messages": messages,
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "topicConfiguration": _topic_configuration(topic.config),
                "bindingVersion": "0.5.0",
            }
        },
    }


def _topic_configuration(config: dict[str, str]) -> dict[str, Any]:
    """The settings that the Kafka binding has a place for."""
    names = ("retention.ms", "delete.retention.ms", "max.message.bytes")
    numbers = {name: int(config[name]) for name in names if name in config}
    return {"cleanup.policy": [config["cleanup.policy"]], **numbers}


def _operation_id(name: str) -> str:
    verb = "receive" if name in OURS_TO_READ else "send"
    identifier = _id(name)
    return verb + identifier[0].upper() + identifier[1:]


def _operation(name: str) -> dict[str, Any]:
    return {
        "action": "receive" if name in OURS_TO_READ else "send",
        "channel": {"$ref": f"#/channels/{_id(name)}"},
        "summary": TOPICS[name].about,
    }


def _messages(topic: Topic) -> dict[str, dict[str, Any]]:
    """The messages of a topic by identifier."""
    if topic.model is None:
        return {"DeadLetter": _dead_letter()}
    models = _models(topic.model)
    return {model.__name__: _message(topic, model) for model in models}


def _models(model: Any) -> tuple[type[BaseModel], ...]:
    """The members of a union of models, or the one model."""
    return get_args(get_args(model)[0]) if get_args(model) else (model,)


def _message(topic: Topic, model: type[BaseModel]) -> dict[str, Any]:
    is_event = "specversion" in model.model_fields
    kind = get_args(model.model_fields["type"].annotation) if is_event else ()
    return {
        "name": kind[0] if kind else model.__name__,
        "summary": (model.__doc__ or "").strip().splitlines()[0],
        "contentType": "application/cloudevents+json" if is_event else "application/json",
        "payload": {"schemaFormat": SCHEMA_FORMAT, "schema": {"$schema": DIALECT, **_inlined(model)}},
        "bindings": {
            "kafka": {"key": {"type": "string", "description": topic.key}, "bindingVersion": "0.5.0"}
        },
    }


def _inlined(model: type[BaseModel]) -> dict[str, Any]:
    """The model's JSON Schema without `$defs`: a document's `$ref`s count from its own root."""
    generated = model.model_json_schema(mode="validation")
    definitions = generated.pop("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, list):
            return [resolve(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            target = resolve(definitions[node["$ref"].rpartition("/")[2]])
            return target | {key: resolve(value) for key, value in node.items() if key != "$ref"}
        return {key: resolve(value) for key, value in node.items()}

    resolved: dict[str, Any] = resolve(generated)
    return resolved


def events_page() -> str:
    """Every type of event: when to send it, its data, an example."""
    return "\n".join(_event_section(kind) for kind in PLAIN.types.values())


def example(kind: ActivityType) -> dict[str, Any]:
    """An event of a type, with all that its data may hold (of an import the form for many)."""
    names = [name for name in kind.data_model.model_fields if not (kind.imports and name == "client_id")]
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": "4711",
        "source": "/wedsync/" + kind.name.partition(".")[0],
        "type": kind.name,
        "subject": "7d0f4c1e-5a0b-4a8e-9b57-0c6f6a1f2d10",
        "time": "2026-01-05T09:00:00Z",
    }
    return event | ({"data": {name: EXAMPLES[name] for name in names}} if names else {})


def _event_section(kind: ActivityType) -> str:
    said = " ".join((kind.model.__doc__ or "").split())
    lines = [f"### `{kind.name}`", "", said, ""]
    schema = _inlined(kind.data_model)
    required = schema.get("required", []) if kind.data_required else []
    fields = schema.get("properties", {})
    if fields:
        lines += ["| data | needed | type | what it is |", "|---|---|---|---|"]
        lines += [_field_line(name, fields[name], needed=name in required) for name in fields]
    else:
        lines.append("No data.")
    example_text = json.dumps(example(kind), ensure_ascii=False)
    return "\n".join([*lines, "", "```json", example_text, "```", ""])


def _field_line(name: str, field: dict[str, Any], *, needed: bool) -> str:
    choices = [one for one in field.get("anyOf", [field]) if one.get("type") != "null"]
    kinds = " or ".join(_kind_of(one) for one in choices)
    said = field.get("description") or next(
        (one["description"] for one in choices if "description" in one), ""
    )
    return f"| `{name}` | {'yes' if needed else 'no'} | {kinds} | {said} |"


def _kind_of(field: dict[str, Any]) -> str:
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field.get("type") == "array":
        return "list of texts"
    return {"string": "text", "integer": "whole number"}.get(str(field.get("type")), str(field.get("type")))


def _dead_letter() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "name": "DeadLetter",
        "summary": "A refused record: key and value as they came (a profile's value is left out).",
        "headers": {
            "type": "object",
            "required": ["error", "topic", "partition", "offset"],
            "properties": {
                "error": text | {"description": "Why: a stable code, `: ` and words for people."},
                "topic": text | {"description": "Where the record was."},
                "partition": text,
                "offset": text,
            },
        },
        "payload": {},
    }


def write(folder: Path = SCHEMAS) -> list[Path]:
    """Write all files, remove those that are no longer generated; the paths written."""
    folder.mkdir(exist_ok=True)
    rendered = render()
    for stale in folder.glob("*.json"):
        if stale.name not in rendered:
            stale.unlink()
    paths = [folder / name for name in rendered]
    for path in paths:
        path.write_text(rendered[path.name], encoding="utf-8")
    return paths


def write_events_page(page: Path = EVENTS_PAGE) -> None:
    """Write the generated part of the page, where the page is (it is no part of an installation)."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}{events_page()}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    if EVENTS_PAGE.is_file():
        write_events_page()
    for written in write():
        print(written)  # noqa: T201 - this is the command's output

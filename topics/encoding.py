"""Writing the CloudEvents we send. `signals.py` says what they look like; a test holds both together."""

from __future__ import annotations

from typing import Any

import orjson

from topics.time import format_time

SOURCE = "/wedsync/success"
"""CloudEvents `source` of every event we send."""

CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"
"""Value of the `content-type` header of a structured CloudEvent."""

STRUCTURED_HEADERS: tuple[tuple[str, bytes], ...] = (("content-type", CONTENT_TYPE.encode()),)
"""Headers of every structured CloudEvent we send."""


def encode_event(
    type: str,  # noqa: A002 - the attribute's name
    id: str,  # noqa: A002 - the attribute's name
    source: str,
    subject: str,
    at_ms: int,
    data: dict[str, Any] | None,
) -> bytes:
    """A structured CloudEvent as JSON bytes.

    `at_ms` is in milliseconds since the epoch, `data` a JSON-ready dict (left out when None).
    """
    event: dict[str, Any] = {
        "specversion": "1.0",
        "type": type,
        "id": id,
        "source": source,
        "subject": subject,
        "time": format_time(at_ms),
    }
    if data is not None:
        event["datacontenttype"] = "application/json"
        event["data"] = data
    # orjson gives small results 4 to 16 KiB of memory and never trims them; a flush holds very many at once. Joining
    # copies (home-assistant/core#181522).
    return b"".join((orjson.dumps(event), b""))

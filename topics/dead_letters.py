"""What a dead letter carries beside the record as it came."""

from __future__ import annotations

from topics.outcome import REASON_CODES

__all__ = ["REASON_CODES", "dead_letter_headers"]


def dead_letter_headers(
    reason: str,
    topic: str,
    partition: int,
    offset: int,
    original_headers: list[tuple[str, bytes]] | tuple[tuple[str, bytes], ...],
) -> list[tuple[str, bytes]]:
    """The original headers as they came, then `error`, `topic`, `partition`, `offset` as UTF-8 text.

    Kafka clients take a header's last value, so a dead letter that was sent again and refused again reports
    its newest refusal. Key and value of a dead letter are the record's own (a profile's value is left out).
    """
    ours = {"error": reason, "topic": topic, "partition": str(partition), "offset": str(offset)}
    return [*original_headers, *((name, text.encode()) for name, text in ours.items())]

"""How a note to agents looks: as Standard Webhooks, Slack or Teams have it. It links, and names nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from store.outbox import DueNote

WORDS = {
    "risk.changed": "A supplier is {level} now (score {score}), before: {previous}.",
    "task.opened": "A supplier needs a call: {trigger}.",
    "call.requested": "A supplier asks for a call, and no time fits yet ({interactionType}).",
    "call.scheduled": "A call was booked for {scheduledAt} ({interactionType}).",
    "call.rescheduled": "A call was moved to {scheduledAt} ({interactionType}).",
    "call.cancelled": "A call was cancelled ({interactionType}).",
}
TEST = "This is a test: notes to agents arrive here."
_SLACK = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def shaped(shape: str, note: DueNote, public_url: str) -> dict[str, Any]:
    """The body of a note, JSON-ready. `shape`: standard, slack or teams."""
    url = f"{public_url}/dashboard/suppliers/{note.supplier_id}"
    match shape:
        case "slack":
            return _slack(sentence(note), url)
        case "teams":
            return _teams(sentence(note), url)
        case _:
            facts = {"supplierId": note.supplier_id, **note.facts, "url": url}
            return {"type": note.kind, "timestamp": note.at, "data": facts}


def sentence(note: DueNote) -> str:
    """A note in words."""
    return WORDS.get(note.kind, TEST).format_map({name: _said(value) for name, value in note.facts.items()})


def _said(value: object) -> str:
    text = "" if value is None else str(value)
    return f"{text[:10]} {text[11:16]} UTC" if text.endswith("Z") else text.replace("_", " ")


def _slack(text: str, url: str) -> dict[str, Any]:
    words = text.translate(_SLACK)
    shown = {"type": "section", "text": {"type": "mrkdwn", "text": f"{words} <{url}|Open>"}}
    return {"text": words, "blocks": [shown]}


def _teams(text: str, url: str) -> dict[str, Any]:
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [{"type": "TextBlock", "text": text, "wrap": True}],
        "actions": [{"type": "Action.OpenUrl", "title": "Open", "url": url}],
    }
    kind = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": kind, "contentUrl": None, "content": card}]}

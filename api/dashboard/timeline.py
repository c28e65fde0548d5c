"""One supplier's timeline: everything that happened, from all sources, in one column, the newest first. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from api.dashboard import words
from api.dashboard.rendering import day_name, points
from store.dashboard.supplier import Happened

SMALL = 4.0
"""Points below which a change of the score is told together with its neighbours."""
SHOWN = ("scheduled", "sending", "sent", "unknown")
"""The statuses of messages that went out, may have, or will."""
Kind = Literal["level", "score", "milestone", "message", "call", "note", "act"]
_ACTS = {
    "messages.held": "Messages held",
    "messages.released": "Messages released",
    "consent.change": "Consent changed",
    "data.export": "Data exported",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that happened. `level` colours it, `details` are further lines, `score` is the score after it."""

    at: datetime
    kind: Kind
    title: str
    details: tuple[str, ...] = ()
    level: str | None = None
    score: int | None = None
    by: str | None = None
    causes: tuple[tuple[str, float, str], ...] = ()
    """Of a change of the score: component, points, how."""
    message: str | None = None
    """The id of a message whose words can be shown."""


def messages_of(entries: Iterable[Entry]) -> list[str]:
    """The messages among them whose words can be shown."""
    return [entry.message for entry in entries if entry.message]


def timeline(happened: Happened, most: int, names: words.Names) -> tuple[list[Entry], datetime | None]:
    """The newest `most` entries (a few more where times are equal), and before which time the older ones lie.

    Small changes of the score that follow each other are one entry. None: there is nothing older.
    """
    entries = sorted(_entries(happened, names), key=lambda entry: entry.at, reverse=True)
    shown = entries[:most]
    shown += [entry for entry in entries[most:] if shown and entry.at == shown[-1].at]
    older = shown[-1].at if len(entries) > len(shown) else None
    return list(_together(shown)), older


def _entries(happened: Happened, names: words.Names) -> Iterator[Entry]:
    for change in happened.changes:
        yield _of_change(change, names)
    yield from map(_of_milestone, happened.milestones)
    for message in happened.messages:
        yield from _of_message(message)
    yield from map(_of_call, happened.calls)
    for note in happened.notes:
        yield Entry(note["at"], "note", "Note", (note["note"],), by=note["noted_by"])
    for act in happened.acts:
        details = act["details"]
        said = [details["note"]] if details.get("note") else []
        if "until" in details:
            said.append(f"until {day_name(datetime.fromisoformat(details['until']).date())}")
        title = _ACTS.get(act["action"], words.phrase(act["action"].replace(".", " ")))
        by = "the supplier" if act["actor_role"] == "supplier" else act["actor"]
        yield Entry(act["at"], "act", title, tuple(said), by=by)


def _of_change(change: Mapping[str, Any], names: words.Names) -> Entry:
    causes = tuple(words.causes(change["causes"], names))
    why = tuple(f"{component} {points(delta)}{f' {how}' if how else ''}" for component, delta, how in causes)
    level = words.LEVELS[change["level"]].name
    if not change["new_level"]:
        return Entry(
            change["at"],
            "score",
            f"Score {change['score']}",
            why,
            change["level"],
            change["score"],
            causes=causes,
        )
    before = words.LEVELS.get(change["previous"])
    if change["previous"] == "new" and change["level"] != "healthy":
        why = ("their first 14 days are over",)
    title = f"{before.name} → {level}" if before else f"First score: {level.lower()}"
    return Entry(change["at"], "level", title, why, change["level"], change["score"])


def _of_milestone(milestone: Mapping[str, Any]) -> Entry:
    name = words.phrase(milestone["milestone"])
    details = ("celebrated",) if milestone["celebrated"] else ()
    return Entry(milestone["at"], "milestone", f"Milestone: {name.lower()}", details)


def _of_message(message: Mapping[str, Any]) -> Iterator[Entry]:
    name = words.template_name(message["template"] or message["trigger_condition"])
    channel = words.CHANNELS.get(message["channel"], message["channel"])
    status = message["status"]
    why = [f"{channel} · {words.phrase(message['trigger_condition']).lower()}"]
    if message["asked_by"]:
        why = [f"{channel} · asked for by {message['asked_by']}"]
    if message["taken_back_by"]:
        why.append(f"taken back by {message['taken_back_by']} before it left")
    elif status == "suppressed":
        why.append(words.REASONS.get(message["reason"], message["reason"]))
    elif message["why"] and status == "scheduled":
        why.append(message["why"])
    if message["last_error"]:
        why.append(message["last_error"])
    title = f"{name}: {words.STATUSES[status].lower()}"
    shown = message["id"] if status in SHOWN else None
    yield Entry(message["sent_at"] or message["due_at"], "message", title, tuple(why), message=shown)
    for column, said in (
        ("opened_at", "opened"),
        ("clicked_at", "clicked"),
        ("converted_at", "goal reached"),
        ("unsubscribed_at", "unsubscribed"),
        ("bounced_at", "bounced"),
        ("complained_at", "marked as spam"),
    ):
        if message[column]:
            yield Entry(message[column], "message", f"{name}: {said}")


def _of_call(call: Mapping[str, Any]) -> Entry:
    name = words.CALLS.get(call["interaction_type"], words.phrase(call["interaction_type"]))
    status = "waits for a time" if call["status"] == "scheduled" and call["scheduled_at"] is None else None
    if call["interaction_type"] == "churn_prevention" and call["scheduled_at"] is None:
        status = "to be called" if call["status"] == "scheduled" else words.CALL_STATUSES[call["status"]]
    details = [call["notes"]] if call["notes"] else []
    if call["scheduled_at"]:
        starts = call["scheduled_at"].astimezone(UTC)
        details.insert(0, f"{starts:%a} {starts.day} {starts:%b, %H:%M} UTC")
    if call["outcome"]:
        details.append(words.OUTCOMES.get(call["outcome"], call["outcome"]))
    at = call["completed_at"] or call["created_at"]
    return Entry(at, "call", f"{name}: {status or words.CALL_STATUSES[call['status']]}", tuple(details))


def _together(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Entries (newest first) with neighbouring small changes of the score made one."""
    run: list[Entry] = []
    for entry in entries:
        if entry.kind == "score" and abs(sum(delta for _, delta, _ in entry.causes)) < SMALL:
            run.append(entry)
            continue
        yield from _as_one(run)
        run = []
        yield entry
    yield from _as_one(run)


def _as_one(run: list[Entry]) -> Iterator[Entry]:
    """Small changes, newest first, as one entry that says what they come to."""
    if len(run) < 2:  # noqa: PLR2004 - one is what it is
        yield from run
        return
    come_to: dict[str, float] = {}
    for component, delta, _ in (cause for entry in run for cause in entry.causes):
        come_to[component] = come_to.get(component, 0.0) + delta
    moved = [(name, delta) for name, delta in come_to.items() if round(delta, 1)]
    details = [f"{name} {points(delta)}" for name, delta in sorted(moved, key=lambda one: -abs(one[1]))]
    first, last = run[-1].at.date(), run[0].at.date()
    span = f"since {day_name(first)}" if first != last else "that day"
    title = f"Score {run[-1].score} → {run[0].score}" if run[-1].score != run[0].score else run[0].title
    yield replace(run[0], title=title, details=(*details, f"{len(run)} small changes {span}"), causes=())

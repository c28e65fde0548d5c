"""What agents read: levels, causes, reasons, channels in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from agents.letters.locales import BASE

if TYPE_CHECKING:
    from agents.letters.render import Letters


class LevelWord(NamedTuple):
    """A level's name and the shape that goes with its colour."""

    name: str
    shape: str


LEVELS = {
    "critical": LevelWord("Critical", "▲"),
    "at_risk": LevelWord("At risk", "◆"),
    "new": LevelWord("New", "○"),
    "healthy": LevelWord("Healthy", "●"),
}
NAMES = "dashboard.toml"
"""What components, signals and days are called: words as data, since what they count is up to the rules."""
STATUSES = {
    "scheduled": "Waiting",
    "sending": "Being sent",
    "sent": "Sent",
    "suppressed": "Held back",
    "failed": "Failed",
    "unknown": "Unknown",
}
REASONS = {
    "weekly_cap": "weekly cap reached",
    "trigger_cap": "this kind was sent lately",
    "opted_out": "they opted out",
    "paused": "messages are paused",
    "held": "held by an agent",
    "healthy": "they are healthy again",
    "resolved": "no longer true",
    "cancelled_supplier": "they have cancelled",
    "onboarding": "still onboarding",
    "no_address": "no address",
    "bounced": "their address bounces",
    "complained": "they marked us as spam",
    "erased": "erased",
    "superseded": "another rescue email went first",
    "nothing_to_say": "no advice would have been worth a letter",
    "holdout": "in the group for comparison",
    "stale": "the signal came too late",
    "expired": "could not leave in time",
}
CHANNELS = {"email": "Email", "in_app_notification": "In app", "support_call": "Call task"}
CALLS = {
    "onboarding_call": "Onboarding call",
    "technical_support": "Technical support",
    "check_in": "Check-in",
    "churn_prevention": "Call offer",
}
CALL_STATUSES = {
    "scheduled": "booked",
    "completed": "completed",
    "cancelled": "cancelled",
    "no_show": "missed",
}
TASK_OUTCOMES = {
    "resolved": "It helped",
    "follow_up_needed": "Follow up in a week",
    "no_answer": "No answer",
    "escalated": "Passed on",
    "not_needed": "Not needed",
}
"""How a call that was to be made went."""
OUTCOMES = {"resolved": "resolved", "escalated": "escalated", "follow_up_needed": "follow-up needed"}
SAID = {
    "held": "Messages to them are held. What falls due meanwhile is not sent later.",
    "released": "Messages to their go again.",
    "noted": "Your note is kept.",
    "asked": "The message is in the queue, and can be taken back until it leaves.",
    "undone": "It is taken back: nothing was sent.",
    "left": "It could not be taken back: it had left already.",
    "decided": "There was nothing to take back: it was not sent. The timeline says why.",
    "opted_out": "They get nothing from us any more.",
    "opted_in": "Messages to them are on again.",
    "booked": "The call is booked; they get an invitation by email.",
    "requested": "None of these times fits: the call waits for a time.",
    "call_changed": "The call is changed.",
    "task_done": "Done, and noted.",
    "follow_up": "Done, and noted. A call to follow it up is a task in a week.",
    "not_answered": "Noted that nobody answered: it comes back on the next working day.",
    "put_off": "Put off: it comes back on that day.",
    "taken": "They are in your book now, with whatever is to be done for them.",
    "given_back": "They are the team's again.",
    "task_added": "The call is on the list.",
    "activated": "It is in force: everything goes over to it within 10 seconds.",
    "dropped": "The draft is dropped: nothing of it is left.",
    "rolled_back": "It is in force again, as a new version: everything goes over to it within 10 seconds.",
    "selection": "It is done for everybody in the selection whom it changes.",
    "tagged": "The tag is on; lists can be narrowed by it.",
    "untagged": "The tag is off.",
    "view_kept": "The view is kept; it stands above the list.",
    "view_dropped": "The view is forgotten.",
    "published": "The letter is published again, to the topic it came from.",
}
"""What a page says after something was done, by the `said` in its address."""


def phrase(name: str | None) -> str:
    """A name of the policy in words: `gone_quiet` -> `Gone quiet`."""
    return (name or "").replace("_", " ").capitalize()


def template_name(name: str | None) -> str:
    """A template's name in words."""
    return phrase(name)


class Names(NamedTuple):
    """What the components of the score, and the signals of churn, are called here, by their names in the API."""

    components: Mapping[str, str]
    signals: Mapping[str, str]
    busy_days: Mapping[str, str]
    """Days (`mon` to `sun`) on which suppliers are at their work and not to be called, and what to say of them."""

    @classmethod
    def of(cls, letters: Letters) -> Names:
        """Those of the words in force."""
        said = letters.data(NAMES, BASE)
        busy = {day: words for day, words in said["busy_days"].items() if words}
        return cls(said["components"], said["churn_signals"], busy)


def causes(found: Iterable[Mapping[str, Any]] | None, names: Names) -> list[tuple[str, float, str]]:
    """What moved a score: (component, points, `by time` or `by what happened`), the greatest first."""
    changes: dict[tuple[str, str], float] = {}
    for cause in found or ():
        how = "with time" if cause["event"] == "time" else ""
        key = (names.components.get(cause["component"], cause["component"]), how)
        changes[key] = changes.get(key, 0.0) + cause["after"] - cause["before"]
    moved = [(component, delta, how) for (component, how), delta in changes.items() if round(delta, 1)]
    return sorted(moved, key=lambda one: -abs(one[1]))

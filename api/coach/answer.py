"""What the coach says: chosen from what is known of them, pure.

The words are in data files (`scoring/*.toml`, `templates/in_app`); the risk level decides
what is offered and is never named.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Collection
from typing import Any
from uuid import UUID

from jinja2 import TemplateError

from agents.letters.names import first_name
from agents.letters.render import FOLDERS, Letters, ours
from agents.letters.words import in_app_words
from api.coach.models import (
    Action,
    Call,
    CallOffer,
    Celebration,
    Coach,
    Message,
    MilestoneProgress,
    QuickAction,
    Setup,
    State,
    Step,
    Tip,
)
from api.coach.speech import Speech
from scoring.advice.book import Words, book_of
from scoring.advice.coaching import is_setting_up, tips
from scoring.advice.milestones import milestones
from scoring.advice.recommend import Recommendation, recommend
from scoring.decisions.policy import Calls
from scoring.health.rules import Rules
from scoring.time import DAY
from store.people.coach import Look, Reached
from store.people.coach import Message as StoredMessage
from topics.time import format_time, parse_time

logger = logging.getLogger(__name__)

NOT_NOW_MS, NOT_AGAIN_MS = 7 * DAY, 30 * DAY
"""How long a tip stays away after the first "not now", and after each further one."""
CELEBRATED_SINCE_MS = 7 * DAY
"""A milestone whose email has been sent is celebrated in the coach as well if it is younger than this."""
NEWS_MS = 30 * DAY
"""A milestone that we have known of for longer is nothing to celebrate any more, whoever missed it."""
QUICK_ACTIONS = 4
BASICS_BEFORE_ADVANCED = 2
"""Key features to be used before anything but the basics is offered."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_BUTTON = re.compile(r"(?P<text>[^\n:]+): (?P<url>/\S*)\s*\Z")


def coach_of(
    look: Look, page: str | None, now_ms: int, calls: Calls, letters: Letters | None = None
) -> Coach:
    """All that the coach shows on a page of the host (`/forms/new`; None: any), with its cursor."""
    state = _state(look, now_ms)
    is_speaking = state == "ready"
    speech = Speech.to(letters or ours(), look.locale)
    sets_up = _sets_up(look, now_ms, speech)
    tip = _tip(look, page, now_ms, speech) if is_speaking else None
    said = Coach(
        state=state,
        lang=speech.voice.tag,
        paused_until=format_time(look.paused_until)
        if state == "paused" and look.paused_until is not None
        else None,
        first_name=first_name(look.first_name) or None,
        timezone=look.zone,
        tip=tip,
        quick_actions=_quick_actions(look, tip, page, now_ms, speech) if is_speaking else [],
        setup=_setup(look.snapshot, speech),
        milestones=_milestones(look, speech),
        celebrations=_celebrations(look, now_ms, speech) if is_speaking else [],
        messages=_messages(look, speech) if is_speaking else [],
        call_offer=_offer(look, calls, speech) if is_speaking and not sets_up else None,
        help=_offer(look, calls, speech) if is_speaking and sets_up else None,
        call=_call(look),
    )
    if is_speaking and not (said.tip or said.quick_actions or said.messages or said.celebrations):
        said = said.model_copy(update={"state": "ready" if said.call_offer else "quiet"})
    digest = hashlib.sha256(said.model_dump_json().encode()).hexdigest()[:16]
    known = [each.type for each in said.milestones if each.achieved]
    return said.model_copy(update={"cursor": cursor_of(digest, known)})


def cursor_of(digest: str, milestones_told: Collection[str]) -> str:
    """Name a state of the coach: the digest of its content, and the milestones that have been told."""
    return f"{digest}.{'+'.join(sorted(milestones_told))}"


def told_by(cursor: str | None) -> tuple[str, frozenset[str]]:
    """Read a cursor; one that nobody knows has told nothing."""
    digest, _, told = (cursor or "").partition(".")
    return digest, frozenset(filter(_NAME.fullmatch, told.split("+")))


def _state(look: Look, now_ms: int) -> State:
    if look.all_opt_out:
        return "opted_out"
    if look.paused_until is not None and now_ms < look.paused_until:
        return "paused"
    if look.snapshot is not None and look.snapshot.get("cancelled"):
        return "quiet"
    return "ready"


# tips ------------------------------------------------------------------------------------------------


def tip_ids(rules: Rules) -> frozenset[str]:
    """The ids of all that the coach can show as a tip or an action."""
    book = book_of(rules)
    return book.action_ids | {tip.id for tip in book.tips}


def is_put_away(look: Look, tip_id: str, now_ms: int) -> bool:
    """Whether they said "not now" to a tip or action, not long ago."""
    memory = look.remembered(f"tip:{tip_id}", "dismissed")
    if memory is None:
        return False
    return now_ms < memory.at + (NOT_NOW_MS if memory.times == 1 else NOT_AGAIN_MS)


def _tip(look: Look, page: str | None, now_ms: int, speech: Speech) -> Tip | None:
    """The page's tip that is worth most; without one the recommendation worth most."""
    if look.snapshot is None:
        return None
    for each in tips(look.snapshot, page, look.vendor_type, speech.letters.rules):
        if not is_put_away(look, each.id, now_ms):
            advice = each.recommendation and speech.advice(each.recommendation)
            return Tip(
                id=each.id,
                text=speech.tip(each, look.vendor_type),
                category=each.category,
                action=_action(advice, page) if advice else None,
                minutes=advice.minutes if advice else None,
                video_url=each.video_url,
            )
    for best in sorted(_offered(look, now_ms, speech), key=lambda one: (-one.points, one.minutes)):
        advice = speech.advice(best)
        return Tip(
            id=advice.id,
            text=advice.description,
            category="onboarding" if advice.type == "feature_tip" else "engagement",
            action=_action(advice, page),
            minutes=advice.minutes,
            video_url=None,
        )
    return None


def _quick_actions(
    look: Look, tip: Tip | None, page: str | None, now_ms: int, speech: Speech
) -> list[QuickAction]:
    """What else helps, without what the tip says already."""
    return [
        QuickAction(
            id=advice.id,
            title=advice.title,
            description=advice.description,
            action=action,
            minutes=advice.minutes,
            priority=advice.priority,
        )
        for advice in map(speech.advice, _offered(look, now_ms, speech))
        if (action := _action(advice, page)) is not None
        and not (tip and (tip.id == advice.id or (tip.action and tip.action.url == action.url)))
    ][:QUICK_ACTIONS]


def _offered(look: Look, now_ms: int, speech: Speech) -> list[Recommendation]:
    """Recommendations for them; the advanced ones once the basics are familiar."""
    snapshot = look.snapshot
    if snapshot is None:
        return []
    rules = speech.letters.rules
    used = len({name for name, _ in rules.features} & set(snapshot["features"]))
    return [
        each
        for each in recommend(snapshot, rules)
        if (used >= BASICS_BEFORE_ADVANCED or each.basic) and not is_put_away(look, each.id, now_ms)
    ]


def _action(advice: Recommendation, page: str | None) -> Action | None:
    """The button of a recommendation; none on the page that it leads to."""
    if page is not None and page.split("?")[0].rstrip("/") == advice.action_path.rstrip("/"):
        return None
    return Action(text=advice.action_text, url=advice.action_path)


# progress --------------------------------------------------------------------------------------------


def _setup(snapshot: dict[str, Any] | None, speech: Speech) -> Setup:
    found = recommend(snapshot, speech.letters.rules) if snapshot else []
    advice = {each.id: speech.advice(each) for each in found}
    known = speech.book.facts(snapshot) if snapshot else None
    steps = []
    for entry in speech.steps():
        waits = entry.open_while
        is_open = waits is not None and (known is None or speech.book.hold((waits,), known))
        does = advice.get(entry.action or "")
        action = Action(text=does.action_text, url=does.action_path) if is_open and does else None
        steps.append(Step(id=entry.id, title=entry.title, done=not is_open, action=action))
    done = sum(step.done for step in steps)
    percent = done * 100 // len(steps) if steps else 100
    return Setup(percent=percent, done=done, total=len(steps), steps=steps)


def _milestones(look: Look, speech: Speech) -> list[MilestoneProgress]:
    reached = {each.type: each for each in look.milestones}
    return [
        MilestoneProgress(
            type=each.type,
            title=each.title,
            achieved=each.achieved,
            achieved_at=format_time(reached[each.type].at) if each.achieved else None,
            progress=each.progress,
            next_step=each.next_step,
            action=Action(text=each.action_text, url=each.action_path),
        )
        for each in milestones(look.snapshot, reached, speech.milestones(), speech.letters.rules)
    ]


def _celebrations(look: Look, now_ms: int, speech: Speech) -> list[Celebration]:
    """What they have reached and the coach has not shown: news, or what no email has told them either; newest first.

    Of a milestone that has no words nothing is said.
    """
    said = speech.milestones()
    return [
        _celebration(each, said[each.type])
        for each in reversed(look.milestones)
        if each.type in said
        and look.remembered(f"milestone:{each.type}", "celebrated") is None
        and (not each.celebrated or now_ms - each.at < CELEBRATED_SINCE_MS)
        and (each.known_at is None or now_ms - each.known_at < NEWS_MS)
    ]


def _celebration(reached: Reached, words: Words) -> Celebration:
    return Celebration(
        type=reached.type,
        message=words.congratulations,
        achieved_at=format_time(reached.at),
        next_step=words.then,
        action=Action(text=words.then_text, url=words.then_path),
        share_text=words.share,
    )


# messages and calls ----------------------------------------------------------------------------------


def _messages(look: Look, speech: Speech) -> list[Message]:
    shown = []
    for stored in look.messages:
        item = f"message:{stored.id}"
        is_done = look.remembered(item, "dismissed") or look.remembered(item, "clicked")
        if stored.channel == "in_app_notification" and not is_done:
            message = _message(look, stored, speech)
            shown += [message] if message else []
    return shown


def _message(look: Look, stored: StoredMessage, speech: Speech) -> Message | None:
    """An in-app template in words: its last line, `Label: /path`, is the button."""
    file, letters = f"{FOLDERS[stored.channel]}/{stored.template}", speech.letters
    voice = letters.voice(f"{file}.txt", look.locale)
    words = in_app_words(look.first_name, look.vendor_type, look.snapshot, letters, voice)
    try:
        rendered = letters.text(file, words)
    except TemplateError as error:
        logger.error("message %s can't be shown: %s: %s", stored.id, type(error).__name__, error)  # noqa: TRY400
        return None
    text = rendered.text.strip()
    button = _BUTTON.search(text)
    return Message(
        id=UUID(stored.id),
        subject=rendered.subject,
        text=text[: button.start()].strip() if button else text,
        action=Action(text=button["text"].strip(), url=button["url"]) if button else None,
    )


def _offer(look: Look, calls: Calls, speech: Speech) -> CallOffer | None:
    if look.level in {None, "healthy"} or _call(look) is not None:
        return None
    text, detail = speech.offer(calls.minutes)
    offered = next((each.id for each in look.messages if each.channel == "support_call"), None)
    return CallOffer(
        text=text,
        detail=detail,
        message_id=UUID(offered) if offered else None,
    )


def _sets_up(look: Look, now_ms: int, speech: Speech) -> bool:
    """Whether they are in their first 14 days, and nothing yet says that they are stuck."""
    snapshot = look.snapshot
    if snapshot is None or not snapshot.get("signed_up_at"):
        return False
    return is_setting_up(snapshot, now_ms - parse_time(snapshot["signed_up_at"]), speech.letters.rules)


def _call(look: Look) -> Call | None:
    if look.call_id is not None and look.call_at is not None:
        return Call(id=UUID(look.call_id), starts_at=format_time(look.call_at))
    return Call(id=None, starts_at=None) if look.waits_for_a_time else None

"""Why to call somebody and what to say, in sentences made of facts. Pure; nothing is said that is not known.

Facts are counts and dates that every snapshot has, whatever the rules in force; conditions and triggers are not named.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

from agents.letters.locales import BASE, Voice, is_same
from agents.letters.words import WHAT_TO_SAY, Spoken, Topic, spoken_words
from scoring.advice.recommend import best, is_absence
from scoring.health.rules import CLIENT_IMPORTED
from store.times import to_ms, to_optional_ms

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agents.letters.render import Letters
    from scoring.advice.recommend import Recommendation
    from scoring.health.rules import Rules

REASONS = 3
AWAY = timedelta(days=7)
FEW_CLIENTS = 10


@dataclass(frozen=True, slots=True)
class Life:
    """What sentences are made of; None or 0 for what is not known, `known` false where nobody has heard of them yet."""

    known: bool = False
    first_name: str | None = None
    business: str | None = None
    signed_up: datetime | None = None
    last_login: datetime | None = None
    asked: datetime | None = None
    """Since when they wait for a call that they asked for."""
    clients: int = 0
    active: int = 0
    """Clients who did something in the last 30 days."""
    imported: datetime | None = None
    """When they last imported a client."""
    has_imported: bool = False
    forms: int = 0
    forms_sent: int = 0
    forms_back: int = 0
    journeys: int = 0
    """Journeys that run."""
    mails: int = 0
    mails_opened: int = 0
    """Journey emails of the last 30 days, and how many of them were opened."""
    tries: int = 0
    step: Recommendation | None = None
    """What would help most."""
    away: bool = False
    """Nothing would help more than that they come back."""


def life_of(facts: Mapping[str, Any], snapshot: Mapping[str, Any], rules: Rules, tries: int = 0) -> Life:
    """A row of the query `call_facts` and its snapshot (empty without one) as what sentences are made of."""
    names = {"first_name": facts["first_name"], "business": facts["business_name"]}
    about = names | {"asked": facts["asked"], "tries": tries}
    if not snapshot:
        return Life(**about)
    clients, forms, journeys = snapshot["clients"], snapshot["forms"], snapshot["journeys"]
    return Life(
        known=True,
        signed_up=_time(snapshot.get("signed_up_at")),
        last_login=facts["last_login"],
        clients=clients["known"],
        active=clients["active"],
        imported=_time((snapshot.get("last_goals") or {}).get(CLIENT_IMPORTED)),
        has_imported=not rules.shown_by(CLIENT_IMPORTED).isdisjoint(snapshot["features"]),
        forms=forms["created"],
        forms_sent=forms["sent"],
        forms_back=forms["completed"],
        journeys=journeys["active"],
        mails=journeys["sent"],
        mails_opened=journeys["opened"],
        step=best(snapshot, rules),
        away=is_absence(snapshot, rules),
        **about,
    )


# why -------------------------------------------------------------------------------------------------


def why(life: Life, now: datetime, zone: tzinfo, otherwise: str = "") -> str:
    """The facts that speak for a call, those first that weigh most; `otherwise` where none stands out."""
    found = [*_first(life, now, zone), *_troubles(life, now, zone)][:REASONS]
    if not found:
        found = [otherwise or ("doing what they always do" if life.known else "nothing is known of them yet")]
    text = "; ".join(found)
    return text[:1].upper() + text[1:]


def _first(life: Life, now: datetime, zone: tzinfo) -> Iterator[str]:
    if life.asked:
        yield f"asked for a call on {day(life.asked, now, zone)}"
    if life.tries:
        yield f"did not pick up {_times(life.tries)}"


def _troubles(life: Life, now: datetime, zone: tzinfo) -> Iterator[str]:
    if not life.known:
        return
    if life.last_login is None:
        signed_up = f" since they signed up on {day(life.signed_up, now, zone)}" if life.signed_up else ""
        yield f"never logged in{signed_up}"
    yield from _about_clients(life, now, zone)
    yield from _about_forms(life)
    if life.last_login is not None and now - life.last_login >= AWAY:
        yield f"last logged in on {day(life.last_login, now, zone)}"
    yield from _about_journeys(life)


def _about_clients(life: Life, now: datetime, zone: tzinfo) -> Iterator[str]:
    if life.clients == 0:
        yield "no clients yet"
    elif life.clients < FEW_CLIENTS:
        if life.imported:
            yield f"{of(life.clients, 'client')}, none imported since {day(life.imported, now, zone)}"
        else:
            yield f"{of(life.clients, 'client')}{'' if life.has_imported else ', none imported'}"
    elif life.active == 0:
        yield f"{of(life.clients, 'client')}, none active for 30 days"
    elif life.active * 2 < life.clients:
        yield f"{of(life.clients, 'client')}, {life.active:,} of them active in 30 days"


def _about_forms(life: Life) -> Iterator[str]:
    if life.forms == 0 and life.forms_sent == 0:
        yield "no form made yet"
    elif life.forms_sent == 0:
        yield "the first form was never sent" if life.forms == 1 else f"{life.forms:,} forms made, none sent"
    elif life.forms_back == 0:
        yield f"{of(life.forms_sent, 'form')} sent, none came back"
    elif life.forms_back * 2 < life.forms_sent:
        yield f"{life.forms_sent:,} forms sent, {life.forms_back:,} came back"


def _about_journeys(life: Life) -> Iterator[str]:
    if life.mails and not life.mails_opened:
        yield f"{of(life.mails, 'journey email')} sent in 30 days, none opened"
    elif life.journeys == 0 and life.clients and life.forms:
        yield "no journey runs"


def help_of(life: Life) -> str:
    """What would help most, in words and minutes; empty where nothing would add to what they have."""
    if life.step is None:
        return "to come back and look in" if life.away else ""
    first = "coming back, and then: " if life.away else ""
    title = _lower(life.step.title) if first else life.step.title
    return f"{first}{title} ({life.step.minutes} min)"


# what to say -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Said:
    """The first sentences of a call, to be read aloud in the language that is called so and has this tag."""

    tag: str
    called: str
    sentences: tuple[str, ...]


def opening(
    life: Life, now: datetime, zone: str, letters: Letters, locale: str | None = None
) -> tuple[Said, ...]:
    """How to open the call: who calls, what it is about, what to offer.

    In the language of a supplier with the tag `locale`, and after that in English, where theirs is another.
    """
    theirs = letters.voice(f"{WHAT_TO_SAY}.txt", locale)
    voices = (theirs,) if is_same(theirs.tag, BASE) else (theirs, Voice())
    spoken = Spoken(
        topic=topic(life, now),
        zone=zone,
        first_name=life.first_name,
        business=life.business,
        asked=to_optional_ms(life.asked),
        signed_up=to_optional_ms(life.signed_up),
        last_login=to_optional_ms(life.last_login),
        clients=life.clients,
        forms=life.forms,
        forms_sent=life.forms_sent,
        step=life.step,
    )
    return tuple(_said(letters, voice, spoken, to_ms(now)) for voice in voices)


def topic(life: Life, now: datetime) -> Topic:
    """What the call is about: what stands in the way, the nearest first."""
    found: tuple[tuple[Topic, object], ...] = (
        ("asked", life.asked),
        ("unknown", not life.known),
        ("never", life.last_login is None),
        ("unsent", life.forms and not life.forms_sent),
        ("unanswered", life.forms_sent and not life.forms_back),
        ("none", life.clients == 0),
        ("few", life.clients < FEW_CLIENTS),
        ("away", life.last_login is not None and now - life.last_login >= AWAY),
    )
    return next((name for name, holds in found if holds), "many")


def _said(letters: Letters, voice: Voice, spoken: Spoken, now_ms: int) -> Said:
    text = letters.text(WHAT_TO_SAY, spoken_words(letters, voice, spoken, now_ms)).text
    sentences = tuple(" ".join(part.split()) for part in text.split("\n\n") if part.strip())
    return Said(voice.tag, voice.called, sentences)


# words -----------------------------------------------------------------------------------------------


def day(at: datetime, now: datetime, zone: tzinfo) -> str:
    """`6 January` where they live; with the year if it is another one."""
    local = at.astimezone(zone)
    year = f" {local.year}" if local.year != now.astimezone(zone).year else ""
    return f"{local.day} {local:%B}{year}"


def of(count: int, thing: str) -> str:
    """`1 client`, `1,200 clients`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _lower(title: str) -> str:
    return title[:1].lower() + title[1:]


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None

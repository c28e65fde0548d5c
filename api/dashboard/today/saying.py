"""Why to call somebody and what to say, in sentences made of facts. Pure; nothing is said that is not known.

Facts are counts and dates that every snapshot has, whatever the rules in force; conditions and triggers are not named.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

from scoring.advice.recommend import best, is_absence
from scoring.health.rules import CLIENT_IMPORTED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scoring.advice.recommend import Recommendation
    from scoring.health.rules import Rules

REASONS = 3
AWAY = timedelta(days=7)
FEW_CLIENTS = 10
MINUTES = 5
"""What a call without a step to take is said to need."""


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


def opening(life: Life, now: datetime, zone: tzinfo, brand: str) -> tuple[str, str, str]:
    """Three sentences to open the call with: who calls, for which `brand`, what it is about, what to offer."""
    return _hello(life, now, zone, brand), next(_questions(life, now, zone, brand)), _offer(life)


def _hello(life: Life, now: datetime, zone: tzinfo, brand: str) -> str:
    hello = f"Hello {life.first_name}" if life.first_name else "Hello"
    if life.asked:
        asked = day(life.asked, now, zone)
        return f"{hello}, this is {brand}: you asked us for a call on {asked}, thank you for waiting."
    about = f", calling about {life.business}" if life.business else ""
    minutes = max(MINUTES, life.step.minutes) if life.step else MINUTES
    return f"{hello}, this is {brand}{about}: do you have {minutes} minutes?"


def _questions(life: Life, now: datetime, zone: tzinfo, brand: str) -> Iterator[str]:
    """What fits, in the order of what stands in the way: the first is asked."""
    if life.asked:
        yield "What would you like to get done?"
    if not life.known:
        yield f"How do you get on with {brand} so far?"
    if life.last_login is None:
        signed_up = f" on {day(life.signed_up, now, zone)}" if life.signed_up else ""
        yield f"You signed up{signed_up}: what did you hope it would do for you?"
    if life.forms and not life.forms_sent:
        made = "a form, and it has" if life.forms == 1 else f"{life.forms:,} forms, and none has"
        yield f"You made {made} not gone out yet: which client could get the first one?"
    if life.forms_sent and not life.forms_back:
        sent = "a form, and it has" if life.forms_sent == 1 else f"{life.forms_sent:,} forms, and none has"
        yield f"You sent {sent} not come back yet: what do your clients say?"
    if life.clients == 0:
        yield f"Your client list is not in {brand} yet: where do you keep it now?"
    if life.clients < FEW_CLIENTS:
        yield f"You have {of(life.clients, 'client')} in {brand}: where does the rest of your list live?"
    if life.last_login is not None and now - life.last_login >= AWAY:
        yield f"You were last here on {day(life.last_login, now, zone)}: how do you work at the moment?"
    yield f"You have {of(life.clients, 'client')} in {brand}: which work around them costs you most time?"


def _offer(life: Life) -> str:
    if life.step is None:
        return "What should it do for you that it does not do yet?"
    minutes = of(life.step.minutes, "minute")
    return f"If you like, we do one thing together now, it takes {minutes}: {_lower(life.step.title)}."


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

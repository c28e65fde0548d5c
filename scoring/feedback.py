"""What came back of a message: who opened or clicked, and what a refusal means. Pure.

Times are int milliseconds (UTC). The lists of known machines and refusals are data: `feedback.toml`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from scoring.policy import Duration

DEFAULT = Path(__file__).with_name("feedback.toml")
CLOCK_SKEW_MS = 60_000
"""A hit this long before our note of the sending came between the mail server's yes and the note."""

HitKind = Literal["open", "click", "view"]
"""The pixel, a link to the product, or the page of an unsubscribe or preferences link."""
Class = Literal["human", "machine", "bot"]
BounceClass = Literal["hard", "soft"]

_ADDRESS = re.compile(r"\S+@\S+")
_ENHANCED = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b")


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Speed(_Table):
    """Less than this after sending is no person."""

    open_ms: Duration = Field(alias="open")
    click_ms: Duration = Field(alias="click")


class Burst(_Table):
    """`links` different links of one message within `window_ms` are fetched by a machine."""

    window_ms: Duration = Field(alias="window")
    links: int = Field(ge=2)


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


Pattern = Annotated[str, BeforeValidator(_lower), Field(min_length=3)]
Patterns = dict[str, tuple[Pattern, ...]]


class Bounces(_Table):
    """What refusals mean: RFC 3463 codes and words."""

    hard: tuple[str, ...]
    never_hard: tuple[str, ...]
    """Beginnings of codes."""
    about_us: tuple[str, ...]
    """Beginnings of codes."""
    about_us_words: tuple[Pattern, ...]
    hard_words: tuple[Pattern, ...]
    soft_words: tuple[Pattern, ...]


class Rules(_Table):
    """The whole file, validated."""

    speed: Speed
    burst: Burst
    bots: Patterns
    proxies: Patterns
    proxies_exactly: Patterns
    bounces: Bounces

    @classmethod
    @cache
    def load(cls) -> Rules:
        """Read `feedback.toml`."""
        return cls.model_validate(tomllib.loads(DEFAULT.read_text("utf-8")))


@dataclass(frozen=True, slots=True)
class Hit:
    """One request for something of a message; `link` tells the links of a message apart."""

    kind: HitKind
    at: int
    user_agent: str = ""
    method: str = "GET"
    link: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Who it was, and how we know."""

    classification: Class
    why: str


def judge(hit: Hit, sent_at: int | None, recent: Sequence[Hit], rules: Rules) -> Judgement:
    """Say who a hit comes from.

    `sent_at`: when its message left, None if that is not noted yet. `recent`: the other hits of the message
    within the burst window. The first rule that applies is the answer.
    """
    agent = hit.user_agent.strip().lower()
    proxy = _find(agent, rules.proxies) or _find_exactly(agent, rules.proxies_exactly)
    bot = _find(agent, rules.bots)
    grounds: tuple[tuple[bool, Class, str], ...] = (
        (hit.method == "HEAD", "bot", "head"),
        (not agent, "bot", "no_agent"),
        (bot is not None, "bot", f"agent:{bot}"),
        # A proxy loads pictures for its user, at any time; nobody clicks through one.
        (proxy is not None, "machine" if hit.kind == "open" else "bot", f"proxy:{proxy}"),
        (_is_too_fast(hit, sent_at, rules.speed), "bot", "too_fast"),
        (is_burst([hit, *recent], rules.burst), "bot", "burst"),
    )
    return next(
        (Judgement(who, why) for applies, who, why in grounds if applies),
        Judgement("human", "nothing speaks against it"),
    )


def is_burst(hits: Iterable[Hit], burst: Burst) -> bool:
    """Whether hits of one message, all within the burst window, ask for more links than a person can click."""
    return len({hit.link for hit in hits if hit.kind != "open"}) >= burst.links


def bounce_class(
    claimed: BounceClass | None, code: str | None, diagnostic: str | None, rules: Rules
) -> BounceClass:
    """Say whether an address is dead (`hard`) or mail to it did not arrive this time (`soft`).

    `claimed`: what the provider calls it; `code`: SMTP or RFC 3463; `diagnostic`: the server's words. In doubt it
    is soft: a person whose provider dislikes us today must hear from us next month.
    """
    words, enhanced = _words(diagnostic), _enhanced(code) or _enhanced(diagnostic)
    bounces = rules.bounces
    is_temporary = (enhanced or code or "").startswith("4")
    never = (enhanced or "").startswith(bounces.never_hard) or _says(words, bounces.soft_words)
    if claimed == "soft" or is_temporary or never or is_about_us(code, diagnostic, rules):
        return "soft"
    is_dead = enhanced in bounces.hard or _says(words, bounces.hard_words)
    return "hard" if is_dead or claimed == "hard" else "soft"


def is_about_us(code: str | None, diagnostic: str | None, rules: Rules) -> bool:
    """Whether a refusal is a verdict on us or our content (policy, reputation): it must not end emails to anybody."""
    enhanced = _enhanced(code) or _enhanced(diagnostic) or ""
    return enhanced.startswith(rules.bounces.about_us) or _says(
        _words(diagnostic), rules.bounces.about_us_words
    )


def _words(diagnostic: str | None) -> str:
    return _ADDRESS.sub("", diagnostic or "").lower()


def _says(words: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns begins a word; inside one it would be chance ("rbl" in "marble")."""
    return any(re.search(rf"\b{re.escape(pattern)}", words) for pattern in patterns)


def _enhanced(text: str | None) -> str | None:
    found = _ENHANCED.search(text or "")
    return found[1] if found else None


def _find(agent: str, named: Patterns) -> str | None:
    return next((name for name, patterns in named.items() if any(each in agent for each in patterns)), None)


def _find_exactly(agent: str, named: Patterns) -> str | None:
    return next((name for name, texts in named.items() if agent in texts), None)


def _is_too_fast(hit: Hit, sent_at: int | None, speed: Speed) -> bool:
    if sent_at is None:
        return True  # not even noted as sent: a machine on its way to her
    limit = speed.open_ms if hit.kind == "open" else speed.click_ms
    return -CLOCK_SKEW_MS <= hit.at - sent_at < limit

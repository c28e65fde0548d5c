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
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from scoring.decisions.policy import Duration

DEFAULT = Path(__file__).parents[1] / "feedback.toml"
CLOCK_SKEW_MS = 60_000
"""A hit this long before our note of the sending came between the mail server's yes and the note."""

HitKind = Literal["open", "click", "view"]
"""The pixel, a link to the product, or the page of an unsubscribe or preferences link."""
Class = Literal["human", "machine", "bot"]
BounceClass = Literal["hard", "soft"]

Meaning = Literal["hard", "soft", "about_us"]
"""Of a refusal: `about_us` is a soft bounce that does not count against the address."""

LONGEST_REPLY = 2000
"""Characters of a mail server's words that are looked at; what it means stands at their beginning."""
LONGEST_CODE = 64
_SHORTEST = 3
_ENHANCED = re.compile(r"(?<![\d.])[245]\.\d{1,3}\.\d{1,3}(?!\.?\d)")
"""Not a part of an IP address."""
_BASIC = re.compile(r"(?<![\d.])[245]\d\d(?![\d.])")
_CODE = re.compile(r"#?[245]\d\d(?:[- ][245]\.\d{1,3}\.\d{1,3})?|[(#]{0,2}[245]\.\d{1,3}\.\d{1,3}[):]{0,2}")
_PUNCTUATION = {ord(char): " " for char in '!"#$%&()*+,-./:;<=>?[\\]^_`{|}~'} | {ord("'"): None}


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


def _plain(text: str) -> str:
    """Lower-case words between single blanks, without codes, addresses, links and punctuation."""
    kept = [token for token in text.lower().replace("\u2019", "'").split() if not _is_noise(token)]
    return f" {' '.join(' '.join(kept).translate(_PUNCTUATION).split())} "


def _is_noise(token: str) -> bool:
    return "@" in token or "://" in token or _CODE.fullmatch(token) is not None


def _beginning(value: Any) -> Any:
    return _plain(value).rstrip() if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class Reply:
    """What is looked at of a refusal: its code, whether it is temporary, and its plain words (see `_plain`)."""

    enhanced: str
    """RFC 3463; empty if it has none."""
    is_temporary: bool
    words: str

    @classmethod
    def read(cls, code: str | None, diagnostic: str | None) -> Self:
        """Read a refusal; only the first `LONGEST_REPLY` characters of its words count."""
        given, said = (code or "")[:LONGEST_CODE], (diagnostic or "")[:LONGEST_REPLY]
        enhanced = _ENHANCED.search(given) or _ENHANCED.search(said)
        basic = _BASIC.search(given) or _BASIC.search(said)
        first = enhanced or basic
        return cls(
            enhanced[0] if enhanced else "", first is not None and first[0].startswith("4"), _plain(said)
        )


class Refused(_Table):
    """One row of the table of refusals: what they mean if code and words are like this."""

    means: Meaning
    codes: tuple[str, ...] = ()
    """RFC 3463 codes; one that ends in a dot is a beginning."""
    words: tuple[Annotated[str, BeforeValidator(_beginning)], ...] = ()

    @model_validator(mode="after")
    def _says_when(self) -> Self:
        if not (self.codes or self.words):
            raise ValueError("a row needs codes or words")
        if any(len(words.strip()) < _SHORTEST for words in self.words):
            raise ValueError(f"words of fewer than {_SHORTEST} letters begin too many others")
        return self

    def applies(self, reply: Reply) -> bool:
        """Whether the reply has one of the codes and one of the words, as far as the row wants them."""
        if self.means == "hard" and reply.is_temporary:
            return False
        code = reply.enhanced
        by_code = any(code == each or (each.endswith(".") and code.startswith(each)) for each in self.codes)
        by_words = any(words in reply.words for words in self.words)
        return (by_code or not self.codes) and (by_words or not self.words)


class Rules(_Table):
    """The whole file, validated."""

    speed: Speed
    burst: Burst
    bots: Patterns
    proxies: Patterns
    proxies_exactly: Patterns
    bounces: tuple[Refused, ...]
    """The first that applies decides."""

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


def bounce_meaning(
    claimed: Meaning | None, code: str | None, diagnostic: str | None, rules: Rules
) -> Meaning:
    """Say whether an address is dead (`hard`), mail to it did not arrive this time (`soft`), or we are refused.

    `claimed`: what the provider calls it, and is believed; `code`: SMTP or RFC 3463; `diagnostic`: the server's words,
    however long. In doubt it is soft: a person whose provider dislikes us today must hear from us next month.
    """
    if claimed in {"hard", "about_us"}:
        return claimed
    reply = Reply.read(code, diagnostic)
    found: Meaning = next((row.means for row in rules.bounces if row.applies(reply)), "soft")
    return "soft" if claimed == "soft" and found == "hard" else found


def without_addresses(text: str) -> str:
    """A mail server's words for logs and tables: bounded, on one line, each word with an email address replaced."""
    kept = text[:LONGEST_REPLY].replace("\0", "").split()
    if len(text) > LONGEST_REPLY:
        kept = kept[:-1]  # cut off perhaps within an address, whose beginning would stay
    return " ".join("<address>" if "@" in word else word for word in kept)


def _find(agent: str, named: Patterns) -> str | None:
    return next((name for name, patterns in named.items() if any(each in agent for each in patterns)), None)


def _find_exactly(agent: str, named: Patterns) -> str | None:
    return next((name for name, texts in named.items() if agent in texts), None)


def _is_too_fast(hit: Hit, sent_at: int | None, speed: Speed) -> bool:
    if sent_at is None:
        return True  # not even noted as sent: a machine on its way to them
    limit = speed.open_ms if hit.kind == "open" else speed.click_ms
    return -CLOCK_SKEW_MS <= hit.at - sent_at < limit

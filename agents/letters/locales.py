"""Which language a reader gets, and how days, times, numbers and money are written in it.

Languages are matched as BCP 47 lookup does (RFC 4647, 3.4): the tag, then ever less of it. What lies outside the
folders `templates/<tag>/` is English. Days and numbers follow the reader's own tag as far as it is the language that is
written.
Times are int ms since the epoch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from babel import Locale, UnknownLocaleError
from babel.dates import (
    format_skeleton,
    get_date_format,
    get_time_format,
    get_timezone_location,
    parse_pattern,
)
from babel.numbers import format_currency, format_decimal

from scoring.zones import zone_or
from store.times import to_time

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

BASE = "en-GB"
"""The language outside the folders of languages."""
NO_BREAK = "\N{NO-BREAK SPACE}"
_TAG = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
NO_BREAK_HYPHEN = "\N{NON-BREAKING HYPHEN}"
_COUNTED = re.compile(r"(?<=\d) (?=[^\W\d_]|[%€£$])")
_DAY = re.compile(r"(?<=, )(\d{1,2}\.|[^\W\d_]{3,}) (?=(?<=\. )[^\W\d_]|(?<!\. )\d{1,2}\b)")
_AFTER_A_LETTER = re.compile(r"(?<=\b[^\W\d_])-(?=[^\W\d_])")
# What is copied, or read by no line, stays as it is written.
_MARKUP = re.compile(r"(<(?:style|title|textarea)\b.*?</(?:style|title|textarea)>|<[^>]*>)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Voice:
    """The language that a text is written in (`written`, a folder's tag), as one reader reads it (`tag`)."""

    written: str = BASE
    tag: str = BASE

    @property
    def called(self) -> str:
        """What the language is called in English: `German`."""
        return str(self._locale.get_language_name("en"))

    @property
    def _locale(self) -> Locale:
        return _conventions(self.tag)

    def day(self, at_ms: int, zone: str | None) -> str:
        """A day where they live: `Wednesday 7 January`, `Mittwoch, 7. Januar`."""
        return parse_pattern(_day_of_the_week(self._locale)).apply(_local(at_ms, zone), self._locale)

    def short_day(self, at_ms: int, zone: str | None) -> str:
        """The same in short: `Wed 7 Jan`."""
        short = _day_of_the_week(self._locale).replace("EEEE", "EEE").replace("MMMM", "MMM")
        return parse_pattern(short).apply(_local(at_ms, zone), self._locale)

    def date(self, at_ms: int, zone: str | None, now_ms: int) -> str:
        """A date where they live: `7 January`, `7. Januar`; with the year if it is another one than now."""
        at, now = _local(at_ms, zone), _local(now_ms, zone)
        return format_skeleton("MMMMd" if at.year == now.year else "yMMMMd", at, locale=self._locale)

    def time(self, at_ms: int, zone: str | None) -> str:
        """A time of the day where they live: `15:00`, `3:00 pm`."""
        return parse_pattern(get_time_format("short", locale=self._locale)).apply(
            _local(at_ms, zone), self._locale
        )

    def place(self, zone: str) -> str:
        """The town that an IANA zone is named after: `Vienna`, `Wien`."""
        return str(get_timezone_location(zone, locale=self._locale, return_city=True))

    def number(self, value: float) -> str:
        """`1,200`, `1.200`."""
        return format_decimal(value, locale=self._locale)

    def money(self, minor: int, currency: str) -> str:
        """An amount in hundredths, whole ones without: `£19`, `19 €`."""
        whole, rest = divmod(minor, 100)
        return format_currency(
            whole if not rest else minor / 100,
            currency,
            locale=self._locale,
            currency_digits=bool(rest),
            format=None if rest else _without_decimals(self._locale),
        )


def kept_together(text: str) -> str:
    """The same text, its numbers on one line with what they count, and `E-Mail` on one: `5 clients`, `1. Dezember`."""
    of_days = _DAY.sub(rf"\1{NO_BREAK}", _COUNTED.sub(NO_BREAK, text))
    return _AFTER_A_LETTER.sub(NO_BREAK_HYPHEN, of_days)


def kept_together_in(html: str) -> str:
    """The same page, what people read in it `kept_together`."""
    return "".join(
        part if number % 2 else kept_together(part) for number, part in enumerate(_MARKUP.split(html))
    )


def lookup(tag: str | None) -> tuple[str, ...]:
    """The tags to look under, the most particular first: `de-CH-1996` -> `de-CH-1996`, `de-CH`, `de`."""
    if tag is None or not _TAG.fullmatch(tag):
        return ()
    found, parts = [], tag.split("-")
    while parts:
        found.append("-".join(parts))
        parts.pop()
        if parts and len(parts[-1]) == 1:  # a singleton begins an extension and means nothing alone
            parts.pop()
    return tuple(found)


def is_installed(tag: str) -> bool:
    """Whether days and numbers can be written in a language: Babel has it, and nobody took its data away."""
    return _installed(tag) is not None


def _installed(tag: str) -> Locale | None:
    try:
        return Locale.parse(tag, sep="-")
    except (UnknownLocaleError, ValueError):
        return None


def voice_in(written: str, tag: str | None) -> Voice:
    """How a text in the language `written` is read by somebody with this tag: in their own way, if it is theirs."""
    is_theirs = bool(lookup(tag)) and is_same(str(tag), written)
    return Voice(written, str(tag) if is_theirs and "-" in str(tag) else written)


def is_same(tag: str, other: str) -> bool:
    """Whether two tags are of the same language: `en-US` and `en-GB` are."""
    return tag.partition("-")[0].lower() == other.partition("-")[0].lower()


@cache
def _conventions(tag: str) -> Locale:
    return next(found for each in (*lookup(tag), BASE) if (found := _installed(each)) is not None)


@cache
def _day_of_the_week(locale: Locale) -> str:
    """The pattern of a whole date, the year left out, and British ones without the comma that nobody writes."""
    pattern = re.sub(r"[\s,]*y+.*$", "", get_date_format("full", locale=locale).pattern)
    return pattern.replace("EEEE, d MMMM", "EEEE d MMMM")


@cache
def _without_decimals(locale: Locale) -> str:
    return re.sub(r"\.0+", "", locale.currency_formats["standard"].pattern)


def _local(at_ms: int, zone: str | None) -> datetime:
    place: tzinfo = zone_or(zone, "UTC")
    return to_time(at_ms).astimezone(place)

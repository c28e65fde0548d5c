"""What people call themselves, made fit for a sentence and a header; what is no name is not used as one.

A letter that bears our name must say nothing that somebody typed into a form: no address that mail programs make a
link of, no sentence, nothing that can't be seen or that turns the rest of a line round.
"""

from __future__ import annotations

import re
import unicodedata

LONGEST_NAME = 60
"""Characters of a name that a sentence can bear."""
MOST_WORDS = 5
"""Of a first name; more of them are a sentence. A business may have a longer one, which is cut."""
_LONGEST_READ = 1_000
"""Of a longer text the rest is not looked at, and not used either."""
_MOST_MARKS = 3
"""Above or below one letter: Vietnamese, Arabic and Hebrew need up to three."""

_VIRAMA = 9
"""The combining class of signs that bind an Indic letter to the next one."""
_LINE_ENDS = {"Cc", "Zl", "Zp", "Cs", "Zs"}
_JOINERS = "\u200c\u200d"
"""Between two letters of Persian and Indian names, and the parts of an emoji."""
_BLANK_LETTERS = dict.fromkeys((0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0), " ")
"""Letters and signs by their category that no font draws."""
_LOOSE_JOINER = re.compile(rf"(?<![^\s])[{_JOINERS}]+|[{_JOINERS}]+(?![^\s])")

_DOT = "[.\u3002\uff0e\uff61\u2024\ufe52]"
"""What browsers and mail programs take for the dot of a domain."""
_ADDRESS = re.compile(
    rf"""
    :// | @ | =\? | \bwww\b
    | \b(?:https?|ftp|mailto|tel|sms|javascript|data):
    | (?<![\w-]) [\w-]{{2,}} (?: \s?[\[({{]\s?(?:{_DOT}|dot)\s?[\])}}]\s? | \s{_DOT}\s? | {_DOT} ) [^\W\d_]{{2,}}
    | \b\d{{1,3}}(?:\.\d{{1,3}}){{3}}\b
    """,
    re.VERBOSE | re.IGNORECASE,
)
_NUMBER = re.compile(r"(?:\d[\s()./+-]*){7}")
"""As many digits as a telephone number has."""
_SENTENCE = re.compile(r"[!?;:\u00a1\u00bf\u061f\u203c\u2049\u3001\u3002\uff01\uff0c\uff1f]|[^\W\d_]{4,}\.\s")
"""Of a first name."""
_SENTENCES = re.compile(r"(?:[!?\u203c\u2049\u3002\uff01\uff1f]+|(?<=[^\W\d_]{4})\.)\s*\w")
"""Of a business, which may end with a mark: one that goes on behind it."""


def readable(name: str | None) -> str:
    """Make a name fit for a sentence and a header: one line, all of it seen, not endless. Empty for what is no name."""
    line = visible_line(name)
    if not any(unicodedata.category(char)[0] in "LN" for char in line):
        return ""
    if _ADDRESS.search(line) or _ADDRESS.search(unicodedata.normalize("NFKC", line)):
        return ""
    if _NUMBER.search(line) or _SENTENCES.search(line):
        return ""
    return _cut(line)


def first_name(name: str | None) -> str:
    """Like `readable`, of what somebody is greeted with: a name of few words, without a sentence's marks."""
    line = readable(name)
    return "" if _SENTENCE.search(line) or len(line.split()) > MOST_WORDS else line


def visible_line(text: str | None) -> str:
    """One line of what can be seen of a text: no control, direction or zero-width characters, no piles of marks."""
    kept: list[str] = []
    marks = 0
    for char in unicodedata.normalize("NFC", (text or "")[:_LONGEST_READ]).translate(_BLANK_LETTERS):
        category = unicodedata.category(char)
        marks = marks + 1 if category in {"Mn", "Me"} else 0
        if category in _LINE_ENDS:
            kept.append(" ")
        elif (category not in {"Cf", "Cn", "Co"} or char in _JOINERS) and marks <= _MOST_MARKS:
            kept.append(char)
    line = " ".join("".join(kept).split())
    line = " ".join(_LOOSE_JOINER.sub("", line).split())
    return unicodedata.normalize(
        "NFC", line
    )  # what was left out may have stood between a letter and its mark


def _cut(line: str) -> str:
    if len(line) <= LONGEST_NAME:
        return line
    end = LONGEST_NAME - 1
    while end > 1 and _within_a_letter(line, end):
        end -= 1
    return line[:end].rstrip() + "…"


def _within_a_letter(line: str, place: int) -> bool:
    """Whether what stands before and behind a place is read as one letter."""
    before, behind = line[place - 1], line[place]
    return (
        unicodedata.category(behind)[0] == "M"
        or bool({before, behind} & set(_JOINERS))
        or unicodedata.combining(before) == _VIRAMA
    )

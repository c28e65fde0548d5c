"""The first lines of a letter in an agent's own words: plain text, which stands where the letter's own would.

A letter's first lines are its block `opening`, in its text and in its HTML. Pure.
"""

from __future__ import annotations

import re
import unicodedata

from markupsafe import Markup

LONGEST = 1000
"""Characters of an opening."""
BLOCK = "opening"
STAND_IN = {
    f"_opened.{kind}": f"{{% extends opened %}}{{% block {BLOCK} %}}{{{{ say_opening() }}}}{{% endblock %}}"
    for kind in ("html", "txt")
}
"""Templates that are another (`opened`) but for its opening."""
_BREAKS = re.compile(r"\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_GAP = re.compile(r"\n(?:[^\S\n]*\n)+")


class NoOpeningError(ValueError):
    """A letter shows no opening, so that what an agent wrote would be lost; the message names the file."""


def cleaned(text: str) -> str:
    """What is kept of what somebody typed: lines that end in a newline, paragraphs parted by one empty line."""
    lines = _BREAKS.sub("\n", text)
    kept = "".join(char for char in lines if char == "\n" or unicodedata.category(char) not in {"Cc", "Cs"})
    return _GAP.sub("\n\n", "\n".join(line.strip() for line in kept.split("\n"))).strip()


def in_html(opening: str) -> Markup:
    """The opening as paragraphs, each in the direction of its own letters; nothing in it is markup."""
    paragraphs = (Markup("<br>").join(each.split("\n")) for each in opening.split("\n\n"))
    return Markup("\n").join(Markup('<p dir="auto">{}</p>').format(each) for each in paragraphs)

"""What stays on one line on pages: numbers with what they count, days with their month, and E-Mail."""

import pytest

from agents.letters.locales import NO_BREAK, NO_BREAK_HYPHEN, kept_together, kept_together_in


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("5 clients, 15 Minuten, 50 %", "5_clients, 15_Minuten, 50_%"),
        ("Tuesday 1 December", "Tuesday 1_December"),
        ("am Montag, 2. März, geschafft", "am Montag, 2._März, geschafft"),
        ("until Thursday, December 31. What", "until Thursday, December_31. What"),
        ("at 15. Then", "at 15. Then"),
        ("keine E-Mails, a 15-minute call", "keine E=Mails, a 15-minute call"),
    ],
)
def test_what_belongs_together_stays_on_one_line(text: str, kept: str) -> None:
    assert kept_together(text).replace(NO_BREAK, "_").replace(NO_BREAK_HYPHEN, "=") == kept


def test_what_is_copied_stays_as_it_was_written() -> None:
    page = "<title>5 calls</title><style>a { margin: 0 auto }</style><textarea>5 E-Mails</textarea>"
    assert kept_together_in(page) == page

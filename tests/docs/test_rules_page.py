"""The page of rules names every number that an expression may compare, as the code has them."""

from __future__ import annotations

import re
from pathlib import Path

from scoring.advice import circumstances
from scoring.health.numbers import as_table
from scoring.health.rules import SHIPPED

PAGE = Path(__file__).parents[2] / "docs" / "rules.md"
MARKED = re.compile(r"(<!-- numbers: begin [^\n]*-->\n)(.*?)(<!-- numbers: end -->)", re.DOTALL)


ADVICE = re.compile(r"(<!-- advice: begin [^\n]*-->\n)(.*?)(<!-- advice: end -->)", re.DOTALL)


def test_the_page_has_every_name_that_advice_may_compare() -> None:
    found = ADVICE.search(PAGE.read_text("utf-8"))
    assert found is not None
    assert found[2].strip() == circumstances.as_table(SHIPPED), "write it between the marks"
    listed = set(re.findall(r"^\| `(\w+)`", found[2], re.MULTILINE))
    assert listed == set(circumstances.known_names(SHIPPED))


def test_the_page_has_every_number_of_a_state() -> None:
    found = MARKED.search(PAGE.read_text("utf-8"))
    assert found is not None
    assert found[2].strip() == as_table(SHIPPED.numbers), "write as_table(SHIPPED.numbers) between the marks"

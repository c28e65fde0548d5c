"""What each milestone says, how far they are, and what comes next. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from scoring.advice.book import Book, Words, book_of
from scoring.advice.circumstances import Facts, Snapshot
from scoring.health.rules import SHIPPED, Rules

WHOLE = 100


class Milestone(msgspec.Struct, frozen=True):
    """A milestone as it stands for one supplier.

    `progress`: percent, as steps done; `next_step`: a sentence, with `action_text` and `action_path` as its button.
    """

    type: str
    title: str
    achieved: bool
    progress: int
    next_step: str
    action_text: str
    action_path: str


def milestones(
    snapshot: Snapshot | None,
    achieved: Collection[str],
    words: Mapping[str, Words] | None = None,
    rules: Rules = SHIPPED,
) -> list[Milestone]:
    """All milestones; `snapshot` is None before their first event, `achieved` are the types of those they reached.

    `words`: what is said of each, by type (None: what the rules' own file says); one without any is left out.
    """
    book = book_of(rules)
    said = book.milestones if words is None else words
    known = book.facts(snapshot) if snapshot else None
    return [_milestone(each, book, known, each.type in achieved) for each in said.values()]


def _milestone(words: Words, book: Book, known: Facts | None, is_achieved: bool) -> Milestone:
    if is_achieved:
        return Milestone(words.type, words.title, True, WHOLE, words.then, words.then_text, words.then_path)
    done, whole = _done(words, book, known)
    # All is done but nobody has said so yet: the milestone's own event is on its way.
    progress = min(WHOLE - 1, done * WHOLE // whole)
    step = words.step.format(left=max(1, whole - done))
    return Milestone(words.type, words.title, False, progress, step, words.step_text, words.step_path)


def _done(words: Words, book: Book, known: Facts | None) -> tuple[int, int]:
    """How much of it is done, and of how much."""
    if words.steps:
        return sum(book.hold((each,), known) for each in words.steps) if known else 0, len(words.steps)
    rule = next(one for one in book.rules.file.milestone if one.name == words.type)
    whole = rule.clients or rule.nth
    counted = "clients_known" if rule.event is None else rule.event.replace(".", "_")
    return min(whole, known.get(counted, 0)) if known else 0, whole

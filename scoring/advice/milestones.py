"""What each milestone says, how far they are, and what comes next.

Pure but for reading its own data file once (`milestones.toml`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import msgspec

from scoring.advice.circumstances import Snapshot

DATA = Path(__file__).parents[1] / "milestones.toml"
WHOLE = 100


class Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry of the data file, which says what each field is for."""

    type: str
    title: str
    congratulations: str
    step: str
    step_text: str
    step_path: str
    then: str
    then_text: str
    then_path: str
    share: str
    total: Annotated[int, msgspec.Meta(ge=1)]


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
    snapshot: Snapshot | None, achieved: Collection[str], words: Mapping[str, Words] | None = None
) -> list[Milestone]:
    """All milestones; `snapshot` is None before their first event, `achieved` are the types of those they reached.

    `words`: what is said of each, by type (None: what ships).
    """
    said = all_words() if words is None else words
    return [_milestone(each, snapshot, each.type in achieved) for each in said.values()]


def _milestone(words: Words, snapshot: Snapshot | None, is_achieved: bool) -> Milestone:
    done = min(words.total, _COUNTS[words.type](snapshot)) if snapshot else 0
    if is_achieved:
        return Milestone(words.type, words.title, True, WHOLE, words.then, words.then_text, words.then_path)
    # All is done but nobody has said so yet: the milestone's own event is on its way.
    progress = min(WHOLE - 1, done * WHOLE // words.total)
    step = words.step.format(left=max(1, words.total - done))
    return Milestone(words.type, words.title, False, progress, step, words.step_text, words.step_path)


_COUNTS: dict[str, Callable[[Snapshot], int]] = {
    "first_form": lambda snapshot: snapshot["forms"]["created"],
    "ten_clients": lambda snapshot: snapshot["clients"]["known"],
    "first_automation": lambda snapshot: (
        ("journeys_created" in snapshot["features"]) + (snapshot["journeys"]["active"] > 0)
    ),
    "first_payment": lambda snapshot: int("payment.received" in snapshot.get("last_goals", {})),
}


@cache
def all_words() -> dict[str, Words]:
    """The words of every milestone by its type, in the order of the data file."""
    raw: dict[str, Any] = tomllib.loads(DATA.read_text("utf-8"))
    found = msgspec.convert(raw["milestone"], list[Words])
    if {words.type for words in found} != _COUNTS.keys():
        raise ValueError(f"{DATA.name}: needs exactly the types {', '.join(sorted(_COUNTS))}")
    return {words.type: words for words in found}

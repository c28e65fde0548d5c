"""The coach's words in the reader's language: of `scoring/*.toml` and `coach.toml`, or what stands for them there.

Pure but for the data files, which are read once (`templates/<tag>/*.toml`, by the same ids).
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from msgspec import structs

from agents.letters.locales import Voice
from agents.letters.render import Letters
from agents.letters.words import in_words_of
from scoring.advice.circumstances import check_names
from scoring.advice.coaching import Tip, vendor_key
from scoring.advice.milestones import Words, all_words
from scoring.advice.recommend import Recommendation

DATA = Path(__file__).with_name("coach.toml")
TIPS, MILESTONES = "coaching.toml", "milestones.toml"


@dataclass(frozen=True)
class Speech:
    """How the coach speaks to one reader."""

    letters: Letters
    voice: Voice

    @classmethod
    def to(cls, letters: Letters, tag: str | None) -> Speech:
        """To somebody with this language tag: in their language where the coach has its words."""
        return cls(letters, letters.voice(DATA.name, tag))

    def advice(self, advice: Recommendation) -> Recommendation:
        """A recommendation, its button at the page of the product in force."""
        said = in_words_of(advice, self.letters, self.voice.tag)
        return structs.replace(said, action_path=self.path(said.action_path))

    def tip(self, tip: Tip, vendor_type: str | None) -> str:
        """A tip in the words of their trade."""
        words = self.letters.data(TIPS, self.voice.tag).get(tip.id)
        if words is None:
            return tip.tip
        said: str = words.get("by_vendor", {}).get(vendor_key(vendor_type), words["tip"])
        return said

    def milestones(self) -> dict[str, Words]:
        """What is said of each milestone."""
        words = self.letters.data(MILESTONES, self.voice.tag)
        return {
            name: structs.replace(
                each,
                **words.get(name, {}),
                step_path=self.path(each.step_path),
                then_path=self.path(each.then_path),
            )
            for name, each in all_words().items()
        }

    def own(self) -> dict[str, Any]:
        """What the coach says of its own: the offer, and the titles of steps."""
        words = self.letters.data(DATA.name, self.voice.tag)
        titles = words.get("steps", {})
        steps = [step | {"title": titles.get(step["id"], step["title"])} for step in content()["step"]]
        return (
            content()
            | {name: words[name] for name in ("offer", "offer_detail") if name in words}
            | {"step": steps}
        )

    def path(self, path: str) -> str:
        """Where a page of the product is, below the host's own address."""
        return self.letters.places("").address(path)


@cache
def content() -> dict[str, Any]:
    """`coach.toml`, checked."""
    read = tomllib.loads(DATA.read_text("utf-8"))
    check_names((step["open_while"] for step in read["step"] if "open_while" in step), DATA.name)
    return read

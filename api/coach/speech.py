"""The coach's words in the reader's language: those of the files of advice, or what stands for them there.

The latter are in `templates/<tag>/*.toml`, by the same ids. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import structs

from agents.letters.locales import Voice
from agents.letters.render import Letters
from agents.letters.words import in_words_of
from scoring.advice.book import COACH, COACHING, MILESTONES, Book, Step, Words, book_of
from scoring.advice.coaching import Tip, vendor_key
from scoring.advice.recommend import Recommendation


@dataclass(frozen=True)
class Speech:
    """How the coach speaks to one reader."""

    letters: Letters
    voice: Voice

    @classmethod
    def to(cls, letters: Letters, tag: str | None) -> Speech:
        """To somebody with this language tag: in their language where the coach has its words."""
        return cls(letters, letters.voice(COACH, tag))

    @property
    def book(self) -> Book:
        """The advice in force."""
        return book_of(self.letters.rules)

    def advice(self, advice: Recommendation) -> Recommendation:
        """A recommendation, its button at the page of the product in force."""
        said = in_words_of(advice, self.letters, self.voice.tag)
        return structs.replace(said, action_path=self.path(said.action_path))

    def tip(self, tip: Tip, vendor_type: str | None) -> str:
        """A tip in the words of their trade."""
        words = self.letters.data(COACHING, self.voice.tag).get(tip.id)
        if words is None:
            return tip.tip
        said: str = words.get("by_vendor", {}).get(vendor_key(vendor_type), words.get("tip", tip.tip))
        return said

    def milestones(self) -> dict[str, Words]:
        """What is said of each milestone, by its type."""
        words = self.letters.data(MILESTONES, self.voice.tag)
        return {
            name: structs.replace(
                each,
                **words.get(name, {}),
                step_path=self.path(each.step_path),
                then_path=self.path(each.then_path),
            )
            for name, each in self.book.milestones.items()
        }

    def offer(self, minutes: int) -> tuple[str, str]:
        """The offer of a call that takes so long: in a line, and in detail."""
        own, words = self.book.coach, self.letters.data(COACH, self.voice.tag)
        detail: str = words.get("offer_detail", own.offer_detail)
        brand = self.letters.brand_in(self.voice.written)
        said = detail.format(minutes=minutes, brand=brand["name"], work=brand["work"])
        return words.get("offer", own.offer), said

    def steps(self) -> list[Step]:
        """The steps of the setup."""
        titles = self.letters.data(COACH, self.voice.tag).get("steps", {})
        return [structs.replace(step, title=titles.get(step.id, step.title)) for step in self.book.coach.step]

    def path(self, path: str) -> str:
        """Where a page of the product is, below the host's own address."""
        return self.letters.places("").address(path)

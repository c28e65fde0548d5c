"""Who the simulated suppliers are: invented wedding businesses, with mail only at example.com."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any
from uuid import UUID

from topics.time import format_time


@dataclass(frozen=True)
class Place:
    """Where a business is: its zone, language, money, and first and last month of the wedding season."""

    timezone: str
    locale: str
    currency: str
    season: tuple[int, int]
    share: int


@dataclass(frozen=True)
class Trade:
    """A vendor type: how its businesses are named, how many couples they serve, who works on Saturdays."""

    vendor_type: str
    names: tuple[str, ...]
    clients: float
    saturdays: bool
    deposit_minor: int


PLACES = (
    Place("Europe/London", "en-GB", "GBP", (5, 9), 30),
    Place("America/New_York", "en-US", "USD", (5, 10), 18),
    Place("America/Los_Angeles", "en-US", "USD", (4, 10), 12),
    Place("Europe/Dublin", "en-IE", "EUR", (5, 9), 8),
    Place("Europe/Paris", "fr-FR", "EUR", (5, 9), 7),
    Place("Europe/Berlin", "de-DE", "EUR", (5, 9), 7),
    Place("Europe/Rome", "it-IT", "EUR", (4, 10), 5),
    Place("Australia/Sydney", "en-AU", "AUD", (10, 3), 7),
    Place("Pacific/Auckland", "en-NZ", "NZD", (11, 3), 3),
    Place("Asia/Kolkata", "en-IN", "INR", (11, 2), 3),
)
TRADES = (
    Trade("photographer", ("Photography", "Weddings", "Studio"), 1.0, True, 40_000),
    Trade("videographer", ("Films", "Wedding Films"), 0.7, True, 45_000),
    Trade("venue", ("Barn", "House", "Manor", "Gardens"), 1.8, True, 150_000),
    Trade("florist", ("Flowers", "Blooms", "Floral Design"), 1.2, True, 25_000),
    Trade("caterer", ("Catering", "Kitchen", "Table"), 1.1, True, 80_000),
    Trade("musician", ("Strings", "Band", "Quartet"), 0.8, True, 30_000),
    Trade("planner", ("Events", "Wedding Planning", "Celebrations"), 0.6, False, 90_000),
    Trade("cake_designer", ("Cakes", "Cake Company", "Bakes"), 1.0, False, 15_000),
    Trade("hair_and_makeup", ("Beauty", "Bridal Hair", "Makeup"), 1.1, True, 12_000),
    Trade("celebrant", ("Ceremonies", "Vows"), 0.8, True, 20_000),
)
FIRST_NAMES = (
    *(
        "Sarah",
        "Amelia",
        "Priya",
        "Chloe",
        "Hannah",
        "Grace",
        "Isla",
        "Freya",
        "Maya",
        "Zoe",
        "Élodie",
        "Giulia",
    ),
    *("Lena", "Aoife", "Niamh", "Rosa", "Ines", "Ruth", "Tom", "Daniel", "Oliver", "Matteo", "Luca", "Arjun"),
    *("Callum", "Jonas", "Hugo", "Sean", "Marcus", "Leo", "Noah", "Ethan"),
)
WORDS = (
    *("Golden Hour", "Ivy & Oak", "Wildflower", "Evergreen", "Silver Birch", "Meadow Lane", "Honeysuckle"),
    *(
        "Willow Tree",
        "Bluebell",
        "Harbour Light",
        "First Dance",
        "Linden",
        "Old Mill",
        "Rose Garden",
        "Juniper",
    ),
    *("Lavender Hill", "Marigold", "Paper Lantern", "Copper Beech", "Morning Dew", "Sea Glass", "Foxglove"),
    *("Larkspur", "Summer House", "Olive Branch", "Moonstone", "White Linen", "Apple Blossom"),
)


@dataclass(frozen=True)
class Person:
    """A supplier as their profile shows them, with the place and trade that shape their weeks."""

    id: str
    number: int
    first_name: str
    business_name: str
    place: Place
    trade: Trade

    def profile(self, plan: str, signed_up_ms: int) -> dict[str, Any]:
        """The line `{"profile": …}` of contract section 2."""
        return {
            "profile": {
                "id": self.id,
                "email": f"supplier-{self.number:05d}@example.com",
                "first_name": self.first_name,
                "business_name": self.business_name,
                "vendor_type": self.trade.vendor_type,
                "timezone": self.place.timezone,
                "locale": self.place.locale,
                "plan": plan,
                "signed_up_at": format_time(signed_up_ms),
            }
        }


def invent_person(rng: Random, number: int) -> Person:
    """A business of a random trade in a random place."""
    trade = rng.choice(TRADES)
    return Person(
        id=str(UUID(int=rng.getrandbits(128), version=4)),
        number=number,
        first_name=rng.choice(FIRST_NAMES),
        business_name=f"{rng.choice(WORDS)} {rng.choice(trade.names)}",
        place=rng.choices(PLACES, [place.share for place in PLACES])[0],
        trade=trade,
    )


def in_season(place: Place, month: int) -> bool:
    """Whether couples marry there in that month (1 to 12)."""
    first, last = place.season
    return first <= month <= last if first <= last else month >= first or month <= last

"""Activity logs of other businesses, each written by a process of its own that shares no code with the product.

They are made up: no real business's data can come into this repository. Their columns and formats are those of common
public logs (users and dates of purchases, events with epoch times, sessions with kinds).
"""

from __future__ import annotations

import csv
import math
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path


def monthly_shop(path: Path, customers: int = 900, seed: int = 5) -> Path:
    """A shop whose customers buy every few weeks until they go elsewhere: `customer_id;order_date;total`, dates."""
    rng = random.Random(seed)  # noqa: S311 - a simulation
    opened = datetime(2023, 1, 2, tzinfo=UTC)
    rows = []
    for number in range(customers):
        gap = math.exp(rng.gauss(math.log(26), 0.6))
        day = rng.uniform(0, 300)
        gone = day + rng.expovariate(1 / 260)
        while day < min(gone, 730):
            rows.append((opened + timedelta(days=day), f"C{number:05d}", f"{rng.uniform(9, 90):.2f}"))
            day += rng.gammavariate(2.5, gap / 2.5)
    rows.sort()
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["customer_id", "order_date", "total"])
        writer.writerows([who, when.strftime("%Y-%m-%d"), total] for when, who, total in rows)
    return path


def daily_game(path: Path, players: int = 320, seed: int = 8) -> Path:
    """A game played most days: `ts,uid,action` with seconds since 1970, actions of its own; nobody says goodbye."""
    rng = random.Random(seed)  # noqa: S311 - a simulation
    start, rows = 1_700_000_000, []
    for number in range(players):
        joined = rng.uniform(0, 60)
        keen = rng.betavariate(3, 2)
        loses = rng.expovariate(1 / 55)
        builds = rng.random() < 0.5
        for day in range(int(joined), 140):
            since = day - joined
            fading = max(0.0, 1 - max(0.0, since - loses) / 12)
            if rng.random() < keen * fading:
                at = start + day * 86_400 + rng.randrange(50_000)
                rows.append((at, number, "session_start"))
                for _ in range(rng.randint(1, 3)):
                    at += rng.randrange(40, 900)
                    rows.append(
                        (at, number, rng.choice(["level", "shop", "build"] if builds else ["level", "chat"]))
                    )
    rows.sort()
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ts", "uid", "action"])
        writer.writerows(rows)
    return path


def subscriptions(path: Path, members: int = 420, seed: int = 3) -> Path:
    """A gym's app that notes cancellations: `Member,When,What` with ISO times and zones, some rows broken."""
    rng = random.Random(seed)  # noqa: S311 - a simulation
    first, rows = datetime(2024, 3, 1, tzinfo=UTC), []
    for number in range(members):
        day, mood = rng.uniform(0, 120), rng.uniform(0.3, 1.0)
        while day < 300:
            mood = min(1.0, max(0.02, mood + rng.gauss(-0.004, 0.05)))
            if rng.random() < 0.045 * (1 - mood) ** 3:
                rows.append((first + timedelta(days=day, hours=12), number, "Cancelled"))
                break
            if rng.random() < 0.55 * mood:
                rows.append((first + timedelta(days=day, hours=rng.randint(6, 21)), number, "visit"))
                if rng.random() < 0.2:
                    rows.append((first + timedelta(days=day, hours=22), number, "class booked"))
            day += 1
    rows.sort()
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Member", "When", "What"])
        for place, (when, who, what) in enumerate(rows):
            text = when.strftime("%Y-%m-%dT%H:%M:%S") + "+02:00"
            writer.writerow([who, "soon" if place % 500 == 7 else text, what])
    return path


def purchases_without_header(path: Path, seed: int = 11) -> Path:
    """Columns of numbers apart by blanks, no header, dates as 19970115: customer, date, pieces, amount."""
    rng = random.Random(seed)  # noqa: S311 - a simulation
    first, rows = datetime(1997, 1, 1, tzinfo=UTC), []
    for number in range(1, 1200):
        day, rate, alive = rng.uniform(0, 84), rng.gammavariate(0.9, 1 / 45), rng.expovariate(1 / 300)
        ends = day + alive
        while day < min(ends, 545):
            rows.append((number, first + timedelta(days=day), rng.randint(1, 4), rng.uniform(8, 60)))
            day += rng.expovariate(rate)
    with path.open("w") as file:
        file.writelines(
            f"{who:5d} {day:%Y%m%d} {pieces:3d} {amount:7.2f}\n" for who, day, pieces, amount in rows
        )
    return path

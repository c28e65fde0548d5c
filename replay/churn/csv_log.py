"""Somebody else's activity log, as CSV: which column is what, which event means what, and how fast their time runs."""

from __future__ import annotations

import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from replay.log.activity_log import (
    CAME_BACK,
    DEFAULT_HORIZON_DAYS,
    LEFT,
    ActivityLog,
    Fields,
    LogError,
    PlainEvent,
    log_of,
    usual_silence,
)
from scoring.health.events import Event
from scoring.time import DAY

ROLES = ("user", "timestamp", "event", "item")
GUESSES = {
    "user": ("user", "user_id", "userid", "users_id", "customer", "customer_id", "customerid", "client_id", "account",
             "account_id", "member_id", "subscriber_id", "supplier_id", "subject", "visitor_id", "id"),
    "timestamp": ("timestamp", "time", "datetime", "date", "event_time", "event_timestamp", "created_at", "occurred_at",
                  "invoicedate", "order_date", "purchase_date", "transaction_date", "ts", "day"),
    "event": ("event", "event_type", "event_name", "type", "action", "activity", "kind"),
    "item": ("item", "item_id", "product", "product_id", "stockcode", "object_id"),
}  # fmt: skip
"""Column names that are understood without being told, the likelier first."""
MEANINGS = {"login": "supplier.logged_in", "churn": LEFT, "return": CAME_BACK, "ignore": ""}
"""What an event may be mapped to, besides the names of our own events; `login` is any activity of theirs."""
LOGIN = MEANINGS["login"]
ABOUT_ITEMS = ("client.active", "client.removed")
"""Ours that say nothing without an item."""
OUR_TYPES = ("supplier.signed_up", LOGIN, LEFT, CAME_BACK, "form.created", "form.sent", "form.completed",
             "client.imported", *ABOUT_ITEMS, "journey.created", "journey.email_sent", "journey.email_opened",
             "template.used")  # fmt: skip
"""Event types of ours that a row can stand for; the others say nothing about health, or need more than a row has."""
FEATURE_EVENTS = ("form.created", "client.imported", "journey.created", "template.used")
LEAVING_NAMES = {"churn", "churned", "cancel", "cancelled", "canceled", "cancellation", "unsubscribe", "unsubscribed",
                 "subscription_cancelled", "subscription_canceled", "account_closed", "closed"}  # fmt: skip
"""Event names that say that somebody left, unless the map says otherwise."""
SHORTEST_HORIZON_DAYS = 7.0
PARTS = 4
"""A horizon is at most this part of the log: some of it must lie before, some behind the split."""
SOURCE = "/csv"
SNIFFED_BYTES = 65_536


@dataclass(frozen=True)
class LogMap:
    """What `--map` said: role -> column (a name, or its number from 1), event name -> meaning."""

    columns: dict[str, str] = field(default_factory=dict)
    events: dict[str, str] = field(default_factory=dict)


def parse_mapping(words: Iterable[str]) -> LogMap:
    """Words of `--map`: the path of a TOML file with [columns] and [events], or `role=column[,role=column…]`.

    A left side that is no role is an event's name: `--map "Plan stopped=churn"`. Raises LogError.
    """
    columns: dict[str, str] = {}
    events: dict[str, str] = {}
    for word in words:
        if "=" not in word:
            said = _read_map_file(Path(word))
            columns |= said.columns
            events |= said.events
            continue
        for pair in word.split(","):
            left, equals, right = pair.rpartition("=")
            if not equals or not left.strip() or not right.strip():
                raise LogError(f"--map {word}: expected role=column or event=meaning, separated by commas")
            (columns if left.strip() in ROLES else events)[left.strip()] = right.strip()
    return _checked(columns, events)


def _read_map_file(path: Path) -> LogMap:
    try:
        said = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise LogError(f"--map {path}: can't be read ({error.strerror}); or give role=column") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LogError(f"--map {path}: is not TOML: {error}") from error
    if unknown := sorted(said.keys() - {"columns", "events"}):
        raise LogError(f"--map {path}: {', '.join(unknown)}: there are only [columns] and [events]")
    return _checked(
        {str(key): str(value) for key, value in said.get("columns", {}).items()},
        {str(key): str(value) for key, value in said.get("events", {}).items()},
    )


def _checked(columns: dict[str, str], events: dict[str, str]) -> LogMap:
    if unknown := sorted(columns.keys() - set(ROLES)):
        raise LogError(f"--map: {', '.join(unknown)}: columns are mapped to {', '.join(ROLES)}")
    for name, meaning in events.items():
        if meaning not in MEANINGS and meaning not in OUR_TYPES:
            raise LogError(
                f"--map: event {name!r} to {meaning!r}: expected {', '.join((*MEANINGS, *OUR_TYPES))}"
            )
    return LogMap(columns, events)


def read_csv(path: Path, mapping: LogMap, horizon_days: float | None = None) -> ActivityLog:
    """The log in a CSV file; `horizon_days` (real days) instead of the one that its own rhythm gives.

    Raises LogError where columns or times can't be understood.
    """
    table = _load(path, mapping)
    columns = _columns(table, mapping, path)
    frame, notes = _clean(table, columns, path)
    days = frame["ms"] // DAY
    first, last = float(days.min()), float(days.max())
    middle = (first + last) / 2
    horizon, how = _horizon(frame.assign(day=days), middle, last - first + 1, horizon_days)
    notes.append(how)
    scale = horizon / DEFAULT_HORIZON_DAYS
    meanings, features, told = _meanings(frame, middle, mapping)
    notes += told
    implied = (
        LOGIN not in meanings
    )  # a log that names logins is taken at its word; else whatever they do is one
    start = int(frame["ms"].min())
    found: dict[str, list[Event]] = defaultdict(list)
    for number, (user, at, kind, item) in enumerate(
        zip(frame["user"], frame["ms"], frame["event"], frame["item"], strict=True)
    ):
        scaled = start + round((at - start) / scale)
        _tell(found[user], number, scaled, meanings[kind], features.get(kind), item, implied)
    return log_of(path.name, {user: told for user, told in found.items() if told}, scale=scale, notes=notes)


def _tell(
    told: list[Event],
    number: int,
    at: int,
    meaning: str,
    feature: str | None,
    item: str | None,
    implied: bool,
) -> None:
    """Add what one row says: an activity, perhaps of a key feature and about an item; or leaving; or nothing."""
    if not meaning:
        return
    if meaning in ABOUT_ITEMS and not item:
        meaning = LOGIN
    if not told:
        told.append(PlainEvent("supplier.signed_up", at, f"{number}s", SOURCE, Fields()))
    clients = (item,) if item else ()
    told.append(PlainEvent(meaning, at, f"{number}", SOURCE, Fields(client_id=item, client_ids=clients)))
    if meaning in {LEFT, CAME_BACK}:
        return
    if meaning != LOGIN and implied:
        told.append(PlainEvent(LOGIN, at, f"{number}l", SOURCE, Fields()))
    if feature:
        told.append(PlainEvent(feature, at, f"{number}f", SOURCE, Fields()))
    if item:
        told.append(PlainEvent("client.active", at, f"{number}i", SOURCE, Fields(client_id=item)))


# reading -----------------------------------------------------------------------------------------------


def _load(path: Path, mapping: LogMap) -> pd.DataFrame:
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            head = file.read(SNIFFED_BYTES)
    except OSError as error:
        raise LogError(f"can't read {path}: {error.strerror}") from error
    if not head.strip():
        raise LogError(f"{path}: is empty")
    by_number = bool(mapping.columns) and all(column.isdigit() for column in mapping.columns.values())
    separator = _separator(head)
    try:
        table = pd.read_csv(
            path,
            sep=separator,
            header=None if by_number else 0,
            dtype=str,
            encoding_errors="replace",
            encoding="utf-8-sig",
            skipinitialspace=True,
            on_bad_lines="skip",
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        raise LogError(f"{path}: is not a table that can be read as CSV ({error})") from error
    table.columns = [str(number + 1) if by_number else str(name).strip() for number, name in enumerate(table)]
    return table


def _separator(head: str) -> str:
    first = head.splitlines()[0]
    counted = {mark: first.count(mark) for mark in (",", ";", "\t", "|")}
    best = max(counted, key=lambda mark: counted[mark])
    return best if counted[best] else r"\s+"


def _columns(table: pd.DataFrame, mapping: LogMap, path: Path) -> dict[str, str | None]:
    """Which column each role has; user and timestamp must have one."""
    by_lower = {name.lower().replace(" ", "_"): name for name in reversed(list(table.columns))}
    found: dict[str, str | None] = {}
    taken: set[str] = set(mapping.columns.values())
    for role in ROLES:
        said = mapping.columns.get(role)
        if said is not None and said not in table.columns:
            raise LogError(f"{path}: has no column {said!r}; it has {', '.join(table.columns)}")
        guessed = (by_lower.get(guess) for guess in GUESSES[role])
        found[role] = said or next((name for name in guessed if name is not None and name not in taken), None)
        if found[role] is not None:
            taken.add(str(found[role]))
    for role in ("user", "timestamp"):
        if found[role] is None:
            raise LogError(
                f"{path}: which column is the {role}? --map {role}=… with one of {', '.join(table.columns)}"
            )
    return found


def _clean(
    table: pd.DataFrame, columns: Mapping[str, str | None], path: Path
) -> tuple[pd.DataFrame, list[str]]:
    """The rows that can be used, in order of time: user, ms, event, item; and what was noticed."""
    as_read = ", ".join(f"{role} = {column}" for role, column in columns.items() if column)
    notes = [f"columns: {as_read}"]
    times = parse_times(table[str(columns["timestamp"])])
    users = table[str(columns["user"])].str.strip()
    good = times.notna() & users.notna() & (users != "")
    left_out = int((~good).sum())
    if left_out * 2 > len(table):
        sample = table[str(columns["timestamp"])].dropna().head(1).to_list()
        raise LogError(
            f"{path}: {left_out:,} of {len(table):,} rows have no user or no time that can be read (such as {sample}); "
            "times are ISO 8601, YYYYMMDD, or seconds or milliseconds since 1970"
        )
    if left_out:
        notes.append(f"{left_out:,} of {len(table):,} rows left out: no user, or no time that can be read")
    frame = pd.DataFrame({"user": users, "ms": times})
    for role, default in (("event", "activity"), ("item", None)):
        column = columns[role]
        frame[role] = default if column is None else table[column].str.strip()
    frame = frame[good].copy()
    frame["event"] = frame["event"].fillna("activity")
    frame["item"] = frame["item"].astype(object).where(frame["item"].notna(), None)
    frame["ms"] = frame["ms"].astype("int64")
    repeated = len(frame)
    frame = frame.drop_duplicates().sort_values("ms", kind="stable")
    if repeated > len(frame):
        notes.append(f"{repeated - len(frame):,} rows said the same again")
    return frame, notes


_SECONDS, _MILLISECONDS, _MICROSECONDS = 1e11, 1e14, 1e17
_FIRST_DATE, _LAST_DATE = 19_000_101, 22_001_231


def parse_times(texts: pd.Series[str]) -> pd.Series[Any]:
    """Times as ms (float, missing where unreadable): ISO 8601, YYYYMMDD, seconds to nanoseconds since 1970."""
    numbers = pd.to_numeric(texts, errors="coerce")
    if numbers.notna().mean() > 0.5:  # noqa: PLR2004 - most of them
        typical = float(numbers.median())
        if _FIRST_DATE <= typical <= _LAST_DATE and (numbers.dropna() % 1 == 0).all():
            dates = pd.to_datetime(texts, format="%Y%m%d", errors="coerce", utc=True)
            return _ms_of(dates)
        for below, factor in ((_SECONDS, 1000.0), (_MILLISECONDS, 1.0), (_MICROSECONDS, 1e-3)):
            if typical < below:
                return numbers * factor // 1
        return numbers * 1e-6 // 1
    parsed = pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=True)
    if parsed.isna().mean() > texts.isna().mean() + 0.05:
        parsed = pd.to_datetime(texts, format="mixed", errors="coerce", utc=True)
    return _ms_of(parsed)


def _ms_of(times: pd.Series[Any]) -> pd.Series[Any]:
    since = (times - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(milliseconds=1)
    return since // 1


# what it means -----------------------------------------------------------------------------------------


def _horizon(frame: pd.DataFrame, middle: float, span: float, said: float | None) -> tuple[float, str]:
    """How many real days without activity mean that somebody has left, and how that was found."""
    longest = span / PARTS
    if said is not None:
        if said > longest:
            raise LogError(
                f"the log has {span:.0f} days: a horizon of {said:g} leaves no room to fit and to measure; "
                f"at most {longest:.0f}"
            )
        return said, f"horizon: {said:g} days, as told"
    days = (np.unique(group.to_numpy()) for _, group in frame.groupby("user")["day"])
    usual = usual_silence(days, middle)
    wanted = SHORTEST_HORIZON_DAYS if usual is None else max(SHORTEST_HORIZON_DAYS, usual)
    horizon = float(round(min(wanted, longest), 1))
    if horizon < 1:
        raise LogError(f"the log has {span:.0f} days, too few to see anybody leave")
    found = (
        "nobody came twice" if usual is None else f"9 of 10 gaps between active days are within {usual:.0f}"
    )
    return (
        horizon,
        f"horizon: {horizon:g} days ({found}; between {SHORTEST_HORIZON_DAYS:g} and a {PARTS}th of the log)",
    )


def _meanings(
    frame: pd.DataFrame, middle: float, mapping: LogMap
) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """What each event's name means, which names are key features, and what to say about it."""
    names = [str(name) for name in frame["event"].unique()]
    meanings = {name: _meaning(name, mapping) for name in names}
    notes = []
    if leaving := sorted(name for name in names if meanings[name] == LEFT):
        notes.append(f"events that mean leaving: {', '.join(leaving)}")
    activity = [name for name in names if meanings[name] == LOGIN and name != LOGIN]
    if len(activity) < 2:  # noqa: PLR2004 - one kind alone tells nothing
        return meanings, {}, notes
    early = frame[(frame["ms"] // DAY <= middle) & frame["event"].isin(activity)]
    users = max(1, early["user"].nunique())
    share = early.groupby("event")["user"].nunique() / users
    spread = (share * (1 - share)).sort_values(ascending=False, kind="stable")
    chosen = [str(name) for name in spread.index[: len(FEATURE_EVENTS)]]
    notes.append(
        f"key features: {', '.join(chosen)} (the kinds that tell users apart best, before the middle)"
    )
    return meanings, dict(zip(chosen, FEATURE_EVENTS, strict=False)), notes


def _meaning(name: str, mapping: LogMap) -> str:
    said = mapping.events.get(name)
    if said is not None:
        return MEANINGS.get(said, said)
    if name in OUR_TYPES:
        return name
    return LEFT if name.lower().replace(" ", "_").replace("-", "_") in LEAVING_NAMES else LOGIN


__all__ = ["LogMap", "parse_mapping", "parse_times", "read_csv"]

"""What a plan of Postgres reads, and the plans of whatever runs on a database, those inside triggers too."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import AsyncConnection
    from psycopg.errors import Diagnostic


BEING_SENT = {"idx_interventions_sending", "idx_transactional_mails_sending"}


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A plan and all that is below it."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def whole_reads(plan: dict[str, Any], large: set[str], *, limited: bool = False) -> Iterator[str]:
    """The scans of these tables that no condition on an index narrows, nor a limit above them ends.

    Indexes of what is being sent at the moment are a handful of rows.
    """
    kind, table = plan["Node Type"], plan.get("Relation Name")
    limited = (limited or kind == "Limit") and kind not in {"Sort", "Aggregate", "Hash"}
    narrow = "Index Cond" in plan or limited or plan.get("Index Name") in BEING_SENT
    if kind == "Bitmap Heap Scan":
        below = [each for each in nodes(plan) if each["Node Type"] == "Bitmap Index Scan"]
        narrow = any("Index Cond" in each for each in below)
    if "Scan" in kind and table in large and not narrow:
        yield f"{kind} of {table}"
    for child in plan.get("Plans", ()):
        yield from whole_reads(child, large, limited=limited)


def tell_all_plans(database_url: str, **settings: str) -> None:
    """Have every connection made from now on tell its plans as notices; `settings` hold for them too."""
    told = {
        "session_preload_libraries": "auto_explain",
        "auto_explain.log_min_duration": "0",
        "auto_explain.log_nested_statements": "on",
        "auto_explain.log_format": "json",
        "auto_explain.log_level": "notice",
    } | settings
    database = sql.Identifier(str(conninfo_to_dict(database_url)["dbname"]))
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("LOAD 'auto_explain'")
        for name, value in told.items():
            setting = sql.SQL(".").join(sql.Identifier(part) for part in name.split("."))
            conn.execute(sql.SQL("ALTER DATABASE {} SET {} = {}").format(database, setting, value))


class Plans:
    """The plans that a connection tells of: the text of a statement and what is done for it."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []

    def listen(self, conn: AsyncConnection) -> None:
        """Keep what this connection tells from now on."""
        conn.add_notice_handler(self._hear)

    def _hear(self, notice: Diagnostic) -> None:
        _, found, text = (notice.message_primary or "").partition("plan:\n")
        if found:
            plan = json.loads(text)
            self.told.append((plan["Query Text"], plan["Plan"]))

    def whole_reads(self, large: set[str]) -> list[str]:
        """Which statements read one of these tables, or one of its indexes, without a condition that narrows it."""
        return [
            f"{found} in {' '.join(text.split())[:200]}"
            for text, plan in self.told
            for found in whole_reads(plan, large)
        ]

    def indexes(self, words: str) -> set[str]:
        """The indexes that statements with these words in them are answered by."""
        return {
            node["Index Name"]
            for text, plan in self.told
            if words in text
            for node in nodes(plan)
            if "Index Name" in node
        }

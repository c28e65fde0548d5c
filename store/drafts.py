"""Drafts of the configuration that editors work on in the dashboard; row-level security lets each change their own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from psycopg.types.json import Json

from store.queries import load
from store.times import to_time

if TYPE_CHECKING:
    from datetime import datetime

    from psycopg import AsyncConnection

SQL = load("drafts")


class Edited(NamedTuple):
    """A file of a draft: its text, and what was in force when its change was begun ("" for a new file)."""

    text: str
    was: str


@dataclass(frozen=True)
class Draft:
    """What somebody would have otherwise: files by their name in the folder, numbers as `NAME=VALUE` on top."""

    author: str
    files: dict[str, Edited] = field(default_factory=dict)
    settings: tuple[str, ...] = ()
    changed_at: datetime | None = None

    def __bool__(self) -> bool:
        return bool(self.files or self.settings)


async def one(conn: AsyncConnection, author: str) -> Draft:
    """The draft of somebody; an empty one if they have none."""
    row = await (await conn.execute(SQL["one"], {"author": author})).fetchone()
    if row is None:
        return Draft(author)
    files, settings, changed_at = row
    return Draft(author, {name: Edited(**each) for name, each in files.items()}, tuple(settings), changed_at)


async def keep(conn: AsyncConnection, draft: Draft, now_ms: int) -> None:
    """Store a draft of the caller's own; an empty one is dropped."""
    if not draft:
        await conn.execute(SQL["forget"], {"author": draft.author})
        return
    parameters = {
        "author": draft.author,
        "files": Json({name: each._asdict() for name, each in draft.files.items()}),
        "settings": Json(list(draft.settings)),
        "at": to_time(now_ms),
    }
    await conn.execute(SQL["keep"], parameters)


async def authors(conn: AsyncConnection) -> list[tuple[str, datetime]]:
    """Who has a draft, and since when it is as it is, the newest first."""
    return [(author, at) for author, at in await (await conn.execute(SQL["authors"])).fetchall()]

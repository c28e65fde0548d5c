"""What is stored of one supplier, all of it: for them to see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import sql

from store.queries import load

if TYPE_CHECKING:
    from psycopg import AsyncConnection

SQL = load("personal_data")

NOT_THEIRS = frozenset(
    {
        "dashboard_sessions",
        "schema_migrations",
        "address_consent",
        "erased_suppliers",
        "suppressed_addresses",
        "shadow_policies",
        "pipeline_progress",
        "population_moves",
        "population_now",
        "message_tallies",
        "dead_letters_published",
        "config_drafts",
        "config_versions",
        "list_views",
    }
)
"""Tables that name no supplier: keyed hashes, policy files, views of lists, tallies, positions in topics, the schema.

A test wants every other one exported.
"""


async def collect(conn: AsyncConnection, supplier_id: str) -> dict[str, list[dict[str, Any]]]:
    """Read every row about the supplier, by table; empty if nothing is stored of them but the audit log.

    Needs the role `success_writer`, which sees every table.
    """
    if await (await conn.execute("SELECT 1 FROM suppliers WHERE id = %s", (supplier_id,))).fetchone() is None:
        return {}
    found = {}
    for table, condition in (await _conditions(conn)).items():
        query = sql.SQL("SELECT to_jsonb(t) FROM {} AS t WHERE {} ORDER BY 1").format(
            sql.Identifier(table), condition
        )
        rows = await conn.execute(query, {"supplier": supplier_id})
        found[table] = [row[0] for row in await rows.fetchall()]
    rows = await conn.execute(SQL["outbox"], {"supplier": supplier_id})
    found["outbox"] = [row[0] for row in await rows.fetchall()]
    return found


async def _conditions(conn: AsyncConnection) -> dict[str, sql.Composable]:
    """How their rows are found in each table: by their id, or through a table that has it."""
    conditions: dict[str, sql.Composable] = {}
    for table, column in await (await conn.execute(SQL["tables"])).fetchall():
        conditions[table] = sql.SQL("{} = %(supplier)s").format(sql.Identifier(column))
    references = await (await conn.execute(SQL["foreign_keys"])).fetchall()
    while fresh := [each for each in references if each[0] not in conditions and each[2] in conditions]:
        table, column, parent, parent_column = fresh[0]
        conditions[table] = sql.SQL("{} IN (SELECT {} FROM {} WHERE {})").format(
            sql.Identifier(column), sql.Identifier(parent_column), sql.Identifier(parent), conditions[parent]
        )
    return conditions

"""What docs/ says by itself, from the code: `python -m tests.docs.reference` writes it, tests say when it is stale.

Events are written by topics/schemas/generate.py, metrics by tests/deploy/metrics_table.py; this module calls both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import psycopg

from api.app import build_app
from cli.main import COMMANDS, KINDS, success
from runtime.settings import Settings, secret_settings, variable
from tests.deploy import metrics_table

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SECRETS = dict.fromkeys(("jwt_secret", "webhook_secret", "secret_key"), "x" * 32)


def between(page: str, name: str, text: str) -> str:
    """The page with what lies between the marks of `name` made anew."""
    begin, end = f"<!-- {name}: generated -->", "<!-- end -->"
    before, found, rest = page.partition(begin)
    assert found, f"{begin} is missing"
    return f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}"


def index() -> str:
    """The site's first page: README.md, its links made to lead where the pages lie."""
    text = (ROOT / "README.md").read_text("utf-8")
    text = re.sub(r"\(docs/([\w-]+\.(?:md|svg))(#[\w-]+)?\)", r"(\1\2)", text)
    text = re.sub(r"\[docs/([\w-]+)\.md\]", r"[\1]", text)
    return re.sub(r"\[([^\]]+)\]\((?!http)[A-Z]+\.md\)", r"\1", text)


# commands


def commands() -> str:
    """docs/commands.md: each command's usage, what it does, its options."""
    lines = [
        *("# Commands", ""),
        "`success COMMAND --help` says the same. Exit codes: 0 done, 1 failed at run time, 2 wrong usage or settings.",
        "An error is one line on standard error that says what to do; a traceback only with `--debug`.",
    ]
    context = click.Context(success, info_name="success")
    for kind, heading in KINDS.items():
        lines += ["", f"## {heading}"]
        for name, (module, _) in COMMANDS.items():
            if module.startswith(f"cli.{kind}."):
                command = success.get_command(context, name)
                assert command is not None, f"{name} lacks an extra: all are needed to write this page"
                lines += _command(command, f"success {name}", "###")
    return "\n".join(lines) + "\n"


def _command(command: click.Command, name: str, level: str) -> Iterator[str]:
    context = click.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    yield from ("", f"{level} {name}", "", "```text", usage, "```", "", _prose(command.help))
    options = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
    rows = [each.get_help_record(context) for each in options]
    if rows := [row for row in rows if row]:
        yield from ("", "| option | |", "|---|---|")
        yield from (f"| `{_cell(given)}` | {_cell(said)} |" for given, said in rows)
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            inner = command.get_command(context, each)
            assert inner is not None
            yield from _command(inner, f"{name} {each}", level + "#")


def _prose(text: str | None) -> str:
    return re.sub(r"[ \t]*\n[ \t]*", "\n", (text or "").strip()).replace("\b\n", "")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


# endpoints


def endpoints() -> str:
    """docs/endpoints.md: each route of the API, from its OpenAPI."""
    described = build_app(Settings(**SECRETS)).openapi()
    lines = [
        *("# Endpoints", ""),
        "From the API's own OpenAPI, which a running API gives at `/openapi.json`; [api.md](api.md) says more.",
        "*Token*: a bearer token is needed; the others are signed otherwise, or public.",
        *("", "| | | token | answers | |", "|---|---|---|---|---|"),
    ]
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            lines.append(_endpoint(method.upper(), path, operation))
    return "\n".join(lines) + "\n"


def _endpoint(method: str, path: str, operation: dict[str, Any]) -> str:
    token = "yes" if operation.get("security") else ""
    said = (operation.get("description") or "").split("\n\n")[0]
    return f"| `{method}` | `{path}` | {token} | {', '.join(operation['responses'])} | {_cell(said)} |"


# settings


def settings() -> str:
    """The table of every variable: its kind, its default."""
    rows = ["| variable | default | |", "|---|---|---|"]
    hidden = secret_settings()
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = "none" if default in {None, ""} else f"`{default}`"
        rows.append(
            f"| `{variable(name)}` | {shown} | {'or from a file, `…_FILE`' if name in hidden else ''} |"
        )
    return "\n".join(rows)


# tables

COLUMNS = """
SELECT c.table_name, c.column_name, c.data_type, c.is_nullable = 'YES'
FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE'
ORDER BY c.table_name, c.ordinal_position
"""
SHORT = {
    "timestamp with time zone": "timestamptz",
    "double precision": "float8",
    "character varying": "varchar",
}


def tables(database_url: str) -> str:
    """The columns of every table of a migrated database."""
    found: dict[str, list[str]] = {}
    with psycopg.connect(database_url) as conn:
        for table, column, kind, may_be_null in conn.execute(COLUMNS):
            null = "?" if may_be_null else ""
            found.setdefault(table, []).append(f"`{column}` {SHORT.get(kind, kind)}{null}")
    rows = ["| table | columns; `?`: may be null |", "|---|---|"]
    return "\n".join(rows + [f"| `{table}` | {', '.join(columns)} |" for table, columns in found.items()])


PAGES: dict[str, Callable[[], str]] = {
    "index.md": index,
    "commands.md": commands,
    "endpoints.md": endpoints,
    "settings.md": lambda: between((DOCS / "settings.md").read_text("utf-8"), "settings", settings()),
    "metrics.md": lambda: metrics_table.with_table((DOCS / "metrics.md").read_text("utf-8")),
}


def write() -> None:
    """Write every generated page, and those parts of others that are; tables from a database of its own."""
    from embedded.stack import Stack  # noqa: PLC0415 - only who writes needs a server
    from store.migrate import migrate  # noqa: PLC0415
    from topics.schemas import generate  # noqa: PLC0415

    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")
    generate.write()
    generate.write_events_page()
    stack = Stack(ephemeral=True)
    try:
        url = stack.start().database_url
        migrate(url)
        page = DOCS / "tables.md"
        page.write_text(between(page.read_text("utf-8"), "columns", tables(url)), encoding="utf-8")
    finally:
        stack.stop()


if __name__ == "__main__":
    write()

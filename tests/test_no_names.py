"""What is scored, said and to whom is data: no name of it stands in the program, nor does the trade it is made for."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from scoring.health.rules import SHIPPED

ROOT = Path(__file__).parents[1]
NOT_THE_PRODUCT = ("tests/", "docs/", "bench/", "notebooks/", "examples/")
NAMES = (*SHIPPED.condition_names, *SHIPPED.milestones, *(name for name, _ in SHIPPED.features))
TRADE = ("wedding", "weddings", "couple", "couples", "wedsync", "bride", "photographer", "florist")

NAMED = {
    # A word of rules.toml (what `since` can name, and a truth to compare) before it is a condition's name.
    "signed_up": {"scoring/health/rules.py", "scoring/health/numbers.py", "scoring/decisions/resolved.py"},
    # Examples in the OpenAPI document and the schemas, of the spec's own milestones.
    "first_form": {"api/routes/milestones.py", "topics/schemas/generate.py"},
    "first_payment": {"api/routes/milestones.py"},
    "no_login_7_days": {"topics/signals.py"},
}
"""Where a name may stand, and why."""

THE_TRADE = {
    # The name of the distribution, and of ids and sources that were never to change.
    r"wedsync-success": None,
    r"https://wedsync\.example/success$": {"scoring/identity.py"},
    r"^/wedsync/": {
        "topics/encoding.py",
        "topics/schemas/generate.py",
        "replay/impact/world.py",
        "api/routes/events.py",
    },
    r"WedSync success": {"topics/schemas/generate.py"},
    r"-//WedSync//": {"agents/letters/invitation.py"},
    # Defaults of settings, which are configuration, and examples of addresses in messages and documents.
    r"wedsync\.example": {"runtime/settings.py", "api/routes/mail_webhook.py"},
    r"WedSync": {"runtime/settings.py"},
    # The simulator's population and the demo's protagonist are wedding suppliers, and say so.
    r"": {
        "replay/simulator/supplier_life.py",
        "replay/simulator/people.py",
        "cli/dev/simulate.py",
        "cli/dev/demo_story.py",
        "cli/dev/demo_pages.py",
        "api/coach/static/demo/host.js",
    },
}
"""What may be said of the trade, as patterns of a text, and where (None: anywhere)."""


def product(*endings: str) -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [
        file
        for file in listed.splitlines()
        if file.endswith(endings) and not file.startswith(NOT_THE_PRODUCT)
    ]


def texts(file: str) -> Iterator[tuple[int, str]]:
    """Line and text of everything that the program says in a file; comments and docstrings are no part of it."""
    source = (ROOT / file).read_text("utf-8")
    if not file.endswith(".py"):
        comment = r"--[^\n]*|/\*.*?\*/" if file.endswith(".sql") else r"/\*.*?\*/|^\s*//[^\n]*"
        code = re.sub(
            comment, lambda gone: "\n" * gone[0].count("\n"), source, flags=re.DOTALL | re.MULTILINE
        )
        yield from enumerate(code.splitlines(), 1)
        return
    tree = ast.parse(source)
    explained = {id(each.value) for each in ast.walk(tree) if isinstance(each, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in explained:
            yield node.lineno, node.value


def test_no_name_of_the_rules_stands_in_the_program() -> None:
    name = re.compile(rf"(?<![\w.])({'|'.join(NAMES)})(?!\w)")
    found = {
        f"{file}, line {line}: {said}"
        for file in product(".py", ".js", ".mjs", ".sql")
        for line, text in texts(file)
        for said in name.findall(text)
        if file not in NAMED.get(said, ())
    }
    assert not found, "say it in rules.toml, policy.toml or the words, or work it out of them"


@pytest.mark.parametrize("name", NAMED)
def test_every_exception_is_still_one(name: str) -> None:
    for file in NAMED[name]:
        assert any(re.search(rf"(?<![\w.]){name}(?!\w)", text) for _, text in texts(file)), file


def test_the_trade_stands_in_configuration_and_templates_only() -> None:
    trade = re.compile(rf"(?<!\w)({'|'.join(TRADE)})(?!\w)", re.IGNORECASE)
    found = {
        f"{file}, line {line}: {text.strip()[:80]}"
        for file in product(".py", ".js", ".mjs", ".sql")
        for line, text in texts(file)
        if trade.search(text)
        and not any(
            re.search(pattern, text) and (files is None or file in files)
            for pattern, files in THE_TRADE.items()
        )
    }
    assert not found, "say it in brand.toml, the templates or the words"

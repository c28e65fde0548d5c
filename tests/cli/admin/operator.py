"""How tests of what operators do call commands: in this process, with the settings of the test, as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import success
from runtime.settings import Settings


class Operator:
    """Somebody at a terminal whose environment holds a test's settings."""

    def __init__(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settings = settings
        for name, value in settings.as_env().items():
            monkeypatch.setenv(name, value)

    def run(self, *arguments: str, stdin: bytes | None = None) -> Result:
        """What a command line gives: exit code and output."""
        return CliRunner().invoke(success, list(arguments), input=stdin)

    def json(self, *arguments: str, stdin: bytes | None = None) -> Any:
        """What a command that must do well prints with --json."""
        found = self.run(*arguments, "--json", stdin=stdin)
        assert found.exit_code == 0, f"{found.output}{found.exception!r}"
        return json.loads(found.stdout)

"""Commands in this process, for tests of what they say and do: a process for each would cost a second of both cores."""

from __future__ import annotations

import asyncio
import shlex
import sys
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from cli.main import run
from runtime.settings import Settings


class Said(NamedTuple):
    """How a command ended: its exit code, what it printed, what it complained of."""

    code: int
    out: str
    err: str


def success_here(settings: Settings, *arguments: str) -> Said:
    """Run a command that ends, with these settings; one that is to get signals or a real pipe needs a process."""
    with pytest.MonkeyPatch.context() as shell, CliRunner().isolation() as (out, err, _):
        for name, value in settings.as_env().items():
            shell.setenv(name, value)
        code = run(list(arguments))
        sys.stdout.flush()
        sys.stderr.flush()
        return Said(code, out.getvalue().decode(), err.getvalue().decode())


async def success_beside(settings: Settings, *arguments: str) -> Said:
    """The same in a thread, for tests that have a loop of their own."""
    return await asyncio.to_thread(success_here, settings, *arguments)


def typed(settings: Settings, line: str) -> Said:
    """What a shell does with a line: `NAME=value` before the program is for this command alone."""
    words = shlex.split(line, comments=True)
    program = words.index("success")
    with pytest.MonkeyPatch.context() as shell:
        for assignment in words[:program]:
            name, is_one, value = assignment.partition("=")
            assert is_one, line
            shell.setenv(name, value)
        return success_here(settings, *words[program + 1 :])

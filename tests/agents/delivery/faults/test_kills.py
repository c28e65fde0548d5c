"""Real delivery processes side by side, killed with -9 wherever they happen to be: never a duplicate, never a gap."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from email.message import EmailMessage
from random import Random
from typing import Any

import pytest

from agents.delivery.round import WORKERS
from scoring.time import DAY, HOUR
from tests.agents.delivery.mail_server import MailServer
from tests.agents.delivery.world import NOW, World
from tests.forms import LONG

SUPPLIERS = 1000 if LONG else 40
KILLS = 100 if LONG else 4
PROCESSES = 3
PATIENCE_S = 1200 if LONG else 120
pytestmark = [pytest.mark.stack, pytest.mark.timeout(PATIENCE_S * 2)]


class Killer:
    """Keeps processes running, and kills one of them while the mail server has a message in hand."""

    def __init__(self, world: World, mail_server: MailServer) -> None:
        self.kills = 0
        self._env = os.environ | world.settings.as_env()
        self._random = Random(8)  # noqa: S311 - the same kills each time, as far as processes allow
        self._processes: list[subprocess.Popen[bytes]] = []
        mail_server.data = self._answer

    def keep_running(self) -> None:
        """Start processes until there are as many as there should be."""
        self._processes = [each for each in self._processes if each.poll() is None]
        while len(self._processes) < PROCESSES:
            self._processes.append(
                subprocess.Popen([sys.executable, "-m", "tests.agents.delivery.delivering"], env=self._env)
            )

    def end(self) -> None:
        """Kill them all."""
        for process in self._processes:
            process.kill()
            process.wait()

    def _answer(self, _message: EmailMessage) -> str:
        if self.kills < KILLS and self._random.random() < KILLS / SUPPLIERS:
            victim = self._random.choice(self._processes)
            if victim.poll() is None:
                os.kill(victim.pid, signal.SIGKILL)
                self.kills += 1
        return self._random.choice(("250 OK", "250 OK", "250 OK", "550 never"))


async def test_processes_killed_anywhere_send_nothing_twice_and_forget_nothing(
    world: World, mail_server: MailServer
) -> None:
    rows, calls = [], []
    for number in range(SUPPLIERS):
        supplier = await world.supplier(email=f"photographer-{number}@example.com")
        rows.append(await world.row(supplier, "low_client_adoption"))
        await world.row(supplier, "signed_up")
        calls.append(await world.call(supplier, NOW + DAY + number * HOUR))
    killer = Killer(world, mail_server)
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    try:
        while await world.query(
            "SELECT 1 FROM success_interventions WHERE status IN ('scheduled', 'sending')"
            " UNION ALL SELECT 1 FROM transactional_mails WHERE status IN ('queued', 'sending')"
        ):
            assert asyncio.get_running_loop().time() < deadline
            killer.keep_running()
            await asyncio.sleep(0.1)
    finally:
        killer.end()

    assert killer.kills >= KILLS // 2
    found = await world.query(
        "SELECT id::text, status, intervention_type, last_error FROM success_interventions"
    )
    letters = {each["id"]: each for each in found if each["intervention_type"] == "email"}
    invitations = {
        each["id"]: each
        for each in await world.query(
            "SELECT call_id::text AS id, status, last_error FROM transactional_mails"
        )
    }
    assert (set(letters), set(invitations)) == (set(rows), set(calls))
    unknown = [
        *unknown_of(letters, mail_server, "X-Success-Intervention"),
        *unknown_of(invitations, mail_server, "X-Success-Call"),
    ]
    assert 0 < len(unknown) <= killer.kills * (WORKERS + 1)  # one more sends the emails about calls
    assert all("died" in error for error in unknown)
    assert {each["status"] for each in found if each["intervention_type"] != "email"} == {"sent"}


def unknown_of(emails: dict[str, dict[str, Any]], mail_server: MailServer, header: str) -> list[str]:
    """Assert that none was accepted twice and that each says what the server did; the errors of unknown ones."""
    accepted = Counter(str(message[header]) for message in mail_server.accepted if message[header])
    assert max(accepted.values()) == 1
    assert {each["status"] for each in emails.values()} <= {"sent", "failed", "unknown"}
    assert {row for row, each in emails.items() if each["status"] == "sent"} <= set(accepted)
    assert not {row for row, each in emails.items() if each["status"] == "failed"} & set(accepted)
    return [each["last_error"] for each in emails.values() if each["status"] == "unknown"]

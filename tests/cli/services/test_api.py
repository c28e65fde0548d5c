"""`success api` and `success token`, as commands."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import httpx
import jwt
import pytest

from runtime.settings import Settings
from tests.cli.here import success_here

pytestmark = pytest.mark.stack

SARAH = "11111111-1111-4111-8111-111111111111"
SUCCESS = [sys.executable, "-c", "from cli.main import main; main()"]


def success(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | settings.as_env()
    return subprocess.run(
        [*SUCCESS, *arguments], env=env, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_token_says_who_it_is_for(settings: Settings) -> None:
    made = success(settings, "token", "--supplier", SARAH.upper())
    claims = jwt.decode(made.stdout.strip(), settings.secret("jwt_secret"), algorithms=["HS256"])
    assert (claims["role"], claims["sub"]) == ("supplier", SARAH)
    here = success_here(settings, "token", "--role", "agent", "--name", "Kim")
    claims = jwt.decode(here.out.strip(), settings.secret("jwt_secret"), algorithms=["HS256"])
    assert (claims["role"], claims["sub"]) == ("agent", "Kim")
    assert made.stderr == here.err == ""


@pytest.mark.parametrize(
    "arguments", [[], ["--supplier", "sarah"], ["--supplier", SARAH, "--role", "agent"], ["--role", "admin"]]
)
def test_wrong_usage_of_token_is_one_line(settings: Settings, arguments: list[str]) -> None:
    refused = success_here(settings, "token", *arguments)
    assert (refused.code, refused.out) == (2, "")
    assert len(refused.err.strip().splitlines()) == 1


def test_the_api_serves_until_it_is_told_to_stop(settings: Settings) -> None:
    process = subprocess.Popen(
        [*SUCCESS, "api", "--port", "0"],
        env=os.environ | settings.as_env(),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        deadline = time.monotonic() + 60
        address = None
        while address is None and time.monotonic() < deadline:
            address = re.search(r"http://\S+:\d+", process.stderr.readline())
        assert address
        assert httpx.get(f"{address[0]}/readyz", timeout=10).json() == {"status": "ready"}
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def test_an_api_that_is_not_to_wait_stops_with_one_line_without_its_database(settings: Settings) -> None:
    away = settings.model_copy(
        update={"database_url": "postgresql://nobody@127.0.0.1:1/none", "secret_key": "x" * 32}
    )
    refused = success(away, "api", "--port", "0", "--no-wait")
    assert refused.returncode == 1
    assert "SUCCESS_DATABASE_URL" in refused.stderr.splitlines()[-1]
    assert "Traceback" not in refused.stderr

"""What the tests take from the shell they run in."""

from __future__ import annotations

import os

import pytest

from tests.conftest import servers_from_environment


def test_servers_are_told_by_variables_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUCCESS_KAFKA", "production:9092")
    monkeypatch.setenv("SUCCESS_DATABASE_URL", "postgresql://production/success")
    assert servers_from_environment() is None

    monkeypatch.setenv("SUCCESS_TEST_KAFKA", "127.0.0.1:9092")
    with pytest.raises(pytest.UsageError):
        servers_from_environment()

    monkeypatch.setenv("SUCCESS_TEST_DATABASE_URL", "postgresql://127.0.0.1/test")
    assert servers_from_environment() == ("127.0.0.1:9092", "postgresql://127.0.0.1/test")


def test_no_setting_of_the_shell_reaches_a_test() -> None:
    ours = {name for name in os.environ if name.startswith("SUCCESS_")}

    assert all(name.startswith(("SUCCESS_TEST_", "SUCCESS_LONG_")) for name in ours)

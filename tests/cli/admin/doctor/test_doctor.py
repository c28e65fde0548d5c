from __future__ import annotations

import re

import pytest

from cli.admin.doctor import clocks, doctor
from runtime.settings import Settings
from scoring.zones import data_version


def test_doctor_says_which_zone_data_is_in_use() -> None:
    found = doctor._zones()
    assert found.ok
    assert f"IANA {data_version()}, of " in found.found


def test_doctor_complains_of_zone_data_of_years_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "data_version", lambda: "2019c")
    found = doctor._zones()
    assert not found.ok
    assert "years old" in found.found
    assert "tzdata" in str(found.mend)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            "postgresql://me:hush@db.example.com/success?sslpassword=hush",
            "postgresql://me@db.example.com/success",
        ),
        ("postgresql:///success?host=db.example.com&password=hush", "postgresql:///success"),
        ("smtp://me:hu@sh@mail.example.com:587", "smtp://me@mail.example.com:587"),
    ],
)
def test_doctor_shows_no_password(url: str, shown: str) -> None:
    assert doctor._without_password(url) == shown


@pytest.mark.stack
@pytest.mark.parametrize(("off_s", "said"), [(10.0, "ahead of"), (-10.0, "behind"), (0.0, None)])
async def test_doctor_says_that_a_clock_is_wrong(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, off_s: float, said: str | None
) -> None:
    true = clocks.now_s
    monkeypatch.setattr(clocks, "now_s", lambda: true() + off_s)
    found = await doctor.check_clock(settings)
    assert found.ok == (said is None)
    if said:
        assert re.search(rf"clock is (9\.9|10\.[01]) s {said} Postgres", found.found)
        assert "NTP" in str(found.mend)


def test_a_variable_that_is_none_of_ours_is_named_unless_it_is_for_tests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("SUCCESS_KAFKAA", "SUCCESS_LONG_SEED", "SUCCESS_TEST_KAFKA"):
        monkeypatch.setenv(name, "1")
    (found,) = doctor._unknown_variables()
    assert (found.found, found.mend) == ("SUCCESS_KAFKAA is no setting", "did you mean SUCCESS_KAFKA?")

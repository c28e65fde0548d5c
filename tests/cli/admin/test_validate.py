"""`success validate` says of each line what the worker would, and what to write instead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import success
from tests.factories import SARAH, cloudevent
from topics.activity_types import PLAIN
from topics.decoding import decode
from topics.foreign import meant
from topics.outcome import Refusal

FAR = 1 << 50


def validate(*lines: Any, options: tuple[str, ...] = ()) -> Result:
    raw = b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    return CliRunner().invoke(success, ["validate", "-", *options], input=raw)


def report(*lines: Any) -> Any:
    return json.loads(validate(*lines, options=("--json",)).stdout.splitlines()[0])


def test_good_lines_are_counted_and_the_exit_code_is_0(tmp_path: Path) -> None:
    found = validate(cloudevent(), {"profile": {"id": SARAH}}, b"", cloudevent())
    assert found.exit_code == 0
    assert found.stdout == "2 events and 1 profiles, 3 of them would be taken\n"
    file = tmp_path / "events.jsonl"
    file.write_text(json.dumps(cloudevent()))
    assert CliRunner().invoke(success, ["validate", str(file)]).exit_code == 0
    assert CliRunner().invoke(success, ["validate", str(tmp_path / "nowhere")]).exit_code == 2


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"{", "not_json"),
        ([], "not_cloudevent"),
        (cloudevent(id=""), "not_cloudevent"),
        (cloudevent(data={}), "missing_field"),
        (cloudevent(data={"form_id": 1}), "wrong_field"),
        (cloudevent(subject="sarah"), "subject_not_uuid"),
        (cloudevent(at="2999-01-01T00:00:00Z"), "future_time"),
        ({"profile": {"id": "sarah"}}, "wrong_field"),
        ({"profile": {"id": SARAH, "timezone": "Mars/Base"}}, "wrong_field"),
        ({"profile": {}}, "missing_field"),
    ],
)
def test_a_refused_line_is_named_with_its_reason_and_what_to_write(line: Any, code: str) -> None:
    found = validate(cloudevent(), line)
    assert found.exit_code == 1
    assert f"line 2: {code}: " in found.stdout
    assert "    → " in found.stdout
    told = report(cloudevent(), line)
    assert [each["line"] for each in told["lines"]] == [2]
    assert told["by_reason"] == {code: 1}


def test_it_says_what_the_worker_says() -> None:
    for line in (cloudevent(data={}), cloudevent(subject="x"), cloudevent(at="yesterday")):
        verdict = decode(str(line["subject"]).encode(), json.dumps(line).encode(), (), FAR)
        assert isinstance(verdict, Refusal)
        assert report(line)["lines"][0]["reason"] == verdict.reason


def test_an_unknown_type_is_a_warning_with_what_was_meant() -> None:
    lines = (cloudevent("form.creatd"), cloudevent("form.creatd"), cloudevent("quote.sent"))
    found = validate(*lines)
    assert found.exit_code == 0
    assert "form.creatd (first in line 1): did you mean form.created?" in found.stdout
    assert "quote.sent (first in line 3): it would only be counted" in found.stdout
    assert report(*lines)["unknown_types"]["form.creatd"]["events"] == 2


@pytest.mark.parametrize(
    ("written", "was_meant"),
    [
        ("form.creatd", "form.created"),
        ("form.cretaed", "form.created"),
        ("FormCreated", "form.created"),
        ("form_created", "form.created"),
        ("forms.created", "form.created"),
        ("supplier.loggedin", "supplier.logged_in"),
        ("payment.recieved", "payment.received"),
        ("client.import", "client.imported"),
        ("quote.sent", None),
        ("form.archived", None),
        ("supplier.logged_out", None),
        ("", None),
        ("x" * 100_000, None),
    ],
)
def test_what_was_meant(written: str, was_meant: str | None) -> None:
    assert meant(written, PLAIN.types) == was_meant


def test_a_file_that_is_no_lines_of_json_says_what_it_is() -> None:
    found = validate(b"\x1f\x8b\x08\x00")
    assert found.exit_code == 1
    assert "gzip" in found.output + str(found.exception)

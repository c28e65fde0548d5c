"""The example of docs/rules.md, done as it is written there."""

from __future__ import annotations

import re
from pathlib import Path

from agents.letters.checking import checked
from replay.again.life import Life
from replay.again.outreach import Outreach
from replay.log.source import ASSUMED_ADDRESSEE
from runtime.configuration import OURS, Configuration, vocabulary_of
from scoring.time import DAY
from tests.topics.events import APPEND_MS, AT_MS, KEY, SUPPLIER, as_bytes, event
from topics.decoding import ActivityEvent, decode
from topics.time import format_time

PAGE = Path(__file__).parents[2] / "docs" / "rules.md"
LETTERS = tuple(
    f"templates/{locale}email/clients_went_quiet.{ending}"
    for locale in ("", "de/")
    for ending in ("txt", "html")
)


def example() -> dict[str, str]:
    """What the page adds: file of the folder -> text."""
    block = r"```(?:toml|jinja)\n(?:# to|{#) mine/(\S+)(?: #})?\n(.*?)```"
    found = dict(re.findall(block, PAGE.read_text("utf-8"), re.DOTALL))
    assert list(found) == ["rules.toml", "policy.toml", *LETTERS]
    return found


def mine(folder: Path) -> Configuration:
    for name, text in example().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        before = OURS[name].read_text("utf-8") if name in OURS else ""
        path.write_text(f"{before}\n{text}" if before else text, "utf-8")
    return checked(folder)


def test_three_quiet_weeks_bring_one_email_a_month(tmp_path: Path) -> None:
    found = mine(tmp_path)
    outreach = Outreach(SUPPLIER, found.policy, ASSUMED_ADDRESSEE)
    life = Life(SUPPLIER, outreaches=(outreach,), until=AT_MS + 90 * DAY, rules=found.rules)

    def happens(kind: str, day: int, **data: str) -> tuple[ActivityEvent, int]:
        at = AT_MS + day * DAY
        made = {**event(), "id": f"{kind}{day}{data}", "type": kind, "time": format_time(at), "data": data}
        read = decode(KEY, as_bytes(made), (), APPEND_MS + 100 * DAY, vocabulary_of(found.rules))
        assert isinstance(read, ActivityEvent)
        return read, 0

    told = [
        happens("form.created", 0, form_id="a"),
        happens("form.created", 0, form_id="b"),
        happens("client.active", 1, client_id="c"),
        happens("client.active", 24, client_id="c"),
        happens("client.active", 60, client_id="c"),
    ]
    life.tell(told)
    life.close(AT_MS + 90 * DAY)
    met = [signal for signal in life.signals if signal.data.get("condition") == "clients_went_quiet"]
    assert [(signal.at - AT_MS) // DAY for signal in met] == [22, 45, 81]
    rows = [row for row in outreach.messages if row.trigger == "clients_went_quiet"]
    assert [(row.status, row.reason) for row in rows] == [
        ("sent", None),
        ("suppressed", "trigger_cap"),
        ("sent", None),
    ]

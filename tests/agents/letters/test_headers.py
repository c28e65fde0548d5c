"""No header is made of what a person typed, whatever the Python (cpython#121650); none leaves that we did not set."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.headerregistry import UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import parseaddr
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.letters.message import (
    AUTOMATIC,
    UnsafeHeadersError,
    build_letter,
    build_message,
    header_text,
    mailbox,
    serialised,
)
from agents.letters.names import first_name
from agents.letters.render import Rendered
from tests.forms import examples

HEADERS = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    *AUTOMATIC,
    "X-Success-Template",
    "MIME-Version",
    "Content-Type",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "X-Success-Intervention",
]
ENCODED = [
    "=?utf-8?b?Uw0KQmNjOiB2QGV2aWwuZXhhbXBsZQ==?=",
    "=?utf-8?b?Uw0KUmVwbHktVG86IHhAZXZpbC5leGFtcGxl?=",
    "=?utf-8?b?Uw0KDQpQYXk6IGV2aWwuZXhhbXBsZS9wYXk=?=",
    "=?utf-8?q?=0A?=",
    "=?utf-8?q?Sarah=0ABcc=3A_victim=40evil=2Eexample?=",
]


def build(
    name: str = "Sarah", subject: str = "Hello", mail_from: str = "WedSync <hello@wedsync.example>"
) -> EmailMessage:
    return build_message(
        Rendered(subject, "", "Hello\n", "<p>Hello</p>"),
        row_id="0b0e7a4e-6f0c-5d0e-8a6e-1f2d3c4b5a69",
        template="grow_client_list",
        recipient="photographer@example.com",
        recipient_name=name,
        mail_from=mail_from,
        unsubscribe_url="https://app.wedsync.example/e/unsubscribe/" + "t" * 64,
        now_ms=0,
    )


def quoted(name: str) -> str:
    """As RFC 5322 has it: quotes around commas, and before quotes a backslash."""
    return '"' + name.replace('"', '\\"') + '"' if set(name) & set(',"') else name.strip()


def read(message: EmailMessage) -> EmailMessage:
    content = serialised(message)
    head = content.partition(b"\r\n\r\n")[0]
    assert head.isascii()
    assert b"\r" not in head.replace(b"\r\n", b"")
    assert b"\n" not in head.replace(b"\r\n", b"")
    got = cast("EmailMessage", message_from_bytes(content, policy=policy.compat32))
    assert sorted(got.keys()) == sorted(HEADERS)
    assert parseaddr(str(got["To"]).replace("\r\n", ""))[1] == "photographer@example.com"
    assert "hello@wedsync.example" in got["From"]
    return got


_word = st.builds(
    lambda charset, how, text: f"=?{charset}?{how}?{text}?=",
    st.sampled_from(["utf-8", "us-ascii", "iso-8859-1", "unknown-8bit", "utf-7", "x"]),
    st.sampled_from("qQbB"),
    st.sampled_from(
        [
            "=0A",
            "=0D=0ABcc:_a=40evil.example",
            "Uw0KQmNjOiB2QGV2aWwuZXhhbXBsZQ==",
            "Uw0KDQpQYXk6IGV2aWw=",
            "=00",
            "a",
        ]
    ),
)
_bits = st.sampled_from(
    [*'aZ ",<>()@:;\\.\r\n\t\x00\x0b\x1c\x85=?', "\u2028", "é", "李", "💍", "\u202e", "\ud800", "?= =?"]
)
TYPED = st.lists(_word | _bits | st.text(max_size=5), max_size=14).map("".join)


@settings(max_examples=examples(600))
@given(TYPED, TYPED, TYPED)
def test_whatever_is_typed_no_header_is_made_of_it(name: str, subject: str, sender: str) -> None:
    """The name as it is, without `first_name` before it: this is the last gate."""
    message = build(name, subject)
    message.replace_header("From", mailbox(sender, "hello@wedsync.example"))
    read(message)


@pytest.mark.parametrize("name", ENCODED)
def test_an_encoded_word_is_neither_a_name_nor_read_as_anything_else(name: str) -> None:
    assert first_name(name) == ""
    assert "=?" not in header_text(f"Sarah {name}")
    got = read(build(name, f"About {name}"))
    assert got["Bcc"] is None
    assert got["Reply-To"] is None


@pytest.mark.parametrize(
    "typed",
    [
        "Bcc: v@evil.example",
        "x\r\nBcc: v@evil.example",
        "x\nBcc: v@evil.example",
        "x\r\n\r\nPay me",
        "x\r\n \r\ny",
    ],
)
def test_a_message_with_a_header_that_was_not_set_is_not_sent(typed: str) -> None:
    """As if the email package, or a template engine, let it through once more."""

    class Careless(UnstructuredHeader):
        name: str

        def fold(self, *, policy: policy.Policy) -> str:  # noqa: ARG002 - the email package's name
            return (
                f"{self.name}: x\r\n{typed}\r\n" if typed.startswith("Bcc") else f"{self.name}: {typed}\r\n"
            )

    message = build()
    factory = SMTP.header_factory.__class__()
    factory.map_to_type("x-typed", Careless)
    message._headers.append(("X-Typed", factory("X-Typed", "x")))
    with pytest.raises(UnsafeHeadersError):
        serialised(message)


def test_a_message_that_lacks_a_header_or_its_end_is_not_sent() -> None:
    class Swallowed(EmailMessage):
        def as_bytes(self, *_: object, **__: object) -> bytes:
            return b"Subject: only this"

    with pytest.raises(UnsafeHeadersError):
        serialised(Swallowed())


@pytest.mark.parametrize(
    "name", ["Sarah", 'Sarah "Sunny" Jones', "Smith, Sarah", "Zoë", "李" * 60, "نور " * 12, "x" * 60]
)
def test_a_name_is_read_as_it_was_written(name: str) -> None:
    content = serialised(build(name))
    shown = str(make_header(decode_header(message_from_bytes(content, policy=policy.compat32)["To"])))
    assert " ".join(shown.split()) == f"{quoted(name)} <photographer@example.com>"
    assert all(len(line) <= 78 for line in content.partition(b"\r\nList-")[0].split(b"\r\n"))


def test_every_message_says_that_it_is_automatic_and_asks_for_no_answer_of_machines() -> None:
    message = build_letter(
        Rendered("Hello", "", "Hello\n", "<p>Hello</p>"),
        row_id="1",
        template="call_invitation",
        recipient="a@example.com",
        recipient_name="",
        mail_from="hello@wedsync.example",
        now_ms=0,
    )
    assert message["Auto-Submitted"] == "auto-generated"
    assert set(str(message["X-Auto-Response-Suppress"]).split(", ")) >= {"OOF", "AutoReply"}
    assert "NDR" not in message["X-Auto-Response-Suppress"].split(
        ", "
    )  # bounces are how dead addresses are known


def test_domains_beyond_ascii_and_dots_in_odd_places_go_out_as_servers_take_them() -> None:
    assert mailbox("", "info@hochzeit-müller.example") == "info@xn--hochzeit-mller-psb.example"
    assert mailbox("Yui", "yui..x@docomo.example") == 'Yui <"yui..x"@docomo.example>'
    message = build(mail_from="Café <hallo@hochzeit-müller.example>")
    head = serialised(message).partition(b"\r\n\r\n")[0]
    assert b"<hallo@xn--hochzeit-mller-psb.example>" in head
    assert message["Message-ID"].endswith("@xn--hochzeit-mller-psb.example>")

"""A rendered email as a MIME message: headers that mail servers and readers trust, text and HTML.

No header is made of what a person typed: what goes into one loses line breaks and encoded words (which the email
package decodes, and on some versions of Python writes out again as lines of their own), and `serialised` refuses a
message whose bytes hold any other header than those that were set.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime, timedelta
from email.header import Header
from email.headerregistry import HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, Policy
from email.utils import format_datetime, parseaddr, quote
from typing import TYPE_CHECKING, Any, cast

from topics.address import domain_to_ascii, parse_address

if TYPE_CHECKING:
    from agents.letters.render import Rendered

AUTOMATIC = {
    "Auto-Submitted": "auto-generated",
    "X-Auto-Response-Suppress": "DR, RN, NRN, OOF, AutoReply",
}
"""What every message of ours says of itself (RFC 3834, and Exchange's own): nobody's absence answers it.

Non-delivery reports are not among them: they are how we hear of dead addresses.
"""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LINE = 78
_PLAIN_NAME = re.compile(r"[\w !#$%&'*+/^`{|}~-]*", re.ASCII).fullmatch
_ONE_HEADER = re.compile(rb"[^\r\n\0]*\r\n(?:[ \t][^\r\n\0]*[^\s\0][^\r\n\0]*\r\n)*").fullmatch
"""Its lines but the first begin with a blank, and none is blank."""
_NEXT_HEADER = re.compile(rb"\r\n(?![ \t])").split


class UnsafeHeadersError(ValueError):
    """The headers of a message would say something that we did not; it is not sent."""


class _Written(UnstructuredHeader):
    """A header that is written as it is given: its lines end between encoded words and before an address only.

    The email package would write a long address as encoded words, which no mail reader decodes in such a place, and
    decode what looks like one.
    """

    name: str
    """Of the header; set by the email package."""

    @classmethod
    def parse(cls, value: str, kwds: dict[str, Any]) -> None:
        kwds["parse_tree"], kwds["decoded"] = None, str(value)

    def fold(self, *, policy: Policy[EmailMessage]) -> str:
        line = f"{self.name}: {self}"
        places = r"(?<=\?=) (?==\?|<)" if len(line) <= _LINE else r"(?<=\?=) (?==\?)| (?=<[^<]*$)"
        return (
            re.sub(places, f"{policy.linesep} ", line).replace(f":{policy.linesep} <", ": <") + policy.linesep
        )


class _Registry(HeaderRegistry):
    """Makes each header's class once: the email package makes a new one for every header of every message."""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        key = name.lower()
        if key not in self._made:
            self._made[key] = super().__getitem__(name)
        return self._made[key]


_HEADERS = _Registry()
_AS_WRITTEN = (
    "from",
    "to",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "date",
    "message-id",
    "auto-submitted",
    "x-auto-response-suppress",
    "x-success-intervention",
)
for _name in _AS_WRITTEN:
    _HEADERS.map_to_type(_name, cast("Any", _Written))  # mixed with BaseHeader by the registry
_POLICY = SMTP.clone(header_factory=_HEADERS)
_POLICY_UTF8 = _POLICY.clone(utf8=True)


def build_message(
    rendered: Rendered,
    *,
    row_id: str,
    template: str,
    recipient: str,
    recipient_name: str,
    mail_from: str,
    unsubscribe_url: str,
    now_ms: int,
) -> EmailMessage:
    """Build the message of one intervention. Raises ValueError for an address or a header that can't be written."""
    message = build_letter(
        rendered,
        row_id=row_id,
        template=template,
        recipient=recipient,
        recipient_name=recipient_name,
        mail_from=mail_from,
        now_ms=now_ms,
    )
    # No mailto: beside it: nobody reads such mail by machine, and a promise that takes a day is worse than none.
    message["List-Unsubscribe"] = f"<{unsubscribe_url}>"
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message["X-Success-Intervention"] = row_id
    return message


def build_letter(
    rendered: Rendered,
    *,
    row_id: str,
    template: str,
    recipient: str,
    recipient_name: str,
    mail_from: str,
    now_ms: int,
) -> EmailMessage:
    """Build what all our emails have in common.

    The Message-ID follows from the row's id, the Date from the clock. Raises ValueError for an address or a header
    that can't be written.
    """
    sender_name, sender = parseaddr(mail_from)
    message = EmailMessage(policy=_POLICY)
    message["From"] = mailbox(sender_name, sender)
    message["To"] = mailbox(recipient_name, recipient)
    message["Subject"] = header_text(rendered.subject)
    message["Date"] = format_datetime(_EPOCH + timedelta(milliseconds=now_ms))
    message["Message-ID"] = message_id(row_id, mail_from)
    for name, value in AUTOMATIC.items():
        message[name] = value
    message["X-Success-Template"] = template
    message.set_content(rendered.text, charset="utf-8", cte="quoted-printable")
    message.add_alternative(rendered.html, subtype="html", charset="utf-8", cte="quoted-printable")
    return message


def serialised(message: EmailMessage, *, utf8: bool = False) -> bytes:
    """Write a message as it goes to the mail server, with CRLF; `utf8` for one that has SMTPUTF8.

    Raises UnsafeHeadersError if its headers are not exactly those that were set, each on lines of its own.
    """
    policy = _POLICY_UTF8 if utf8 else _POLICY
    content = message.as_bytes(policy=policy)  # which also gives its parts their boundaries
    head, _, _ = content.partition(b"\r\n\r\n")
    written = [header + b"\r\n" for header in _NEXT_HEADER(head)]
    # What ends the headers early is seen by those that are missing then, in the last one by what that is to be.
    given = list(message.raw_items())
    last = [policy.fold_binary(name, value) for name, value in given[-1:]]
    if not all(map(_ONE_HEADER, written + last)):
        raise UnsafeHeadersError("a header holds a line break that would end it")
    if [header.partition(b":")[0] for header in written] != [name.encode() for name, _ in given]:
        raise UnsafeHeadersError("the headers hold one that was not set, or lack one that was")
    return content


def header_text(text: str) -> str:
    """One line for a header: no control characters, and nothing that reads as an encoded word (RFC 2047)."""
    kept = (" " if unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} else char for char in text)
    return " ".join("".join(kept).replace("=?", "= ?").split())


def mailbox(name: str, address: str) -> str:
    """Put a name and an address together; ValueError for an address that no mail server could take."""
    sent, shown = parse_address(address).on_the_wire, header_text(name)
    if not shown:
        return sent
    if not shown.isascii():
        words = Header(shown, "utf-8", maxlinelen=66).encode(linesep="\n").split("\n")
        return f"{' '.join(word.strip() for word in words)} <{sent}>"
    return f"{shown} <{sent}>" if _PLAIN_NAME(shown) else f'"{quote(shown)}" <{sent}>'


def message_id(row_id: str, mail_from: str) -> str:
    """Name the message of a row: the same each time."""
    return f"<{row_id}@{domain_of(mail_from)}>"


def domain_of(address: str) -> str:
    """Take the domain of an address such as `WedSync <hello@wedsync.example>`, as DNS knows it."""
    domain = parseaddr(address)[1].rpartition("@")[2] or "localhost"
    return domain if domain.isascii() else domain_to_ascii(domain)

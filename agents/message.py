"""A rendered email as a MIME message: headers that mail servers and readers trust, text and HTML."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.errors import HeaderParseError
from email.headerregistry import Address, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, Policy
from email.utils import format_datetime, parseaddr
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from agents.render import Rendered

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Address(UnstructuredHeader):
    """A header of one address in angle brackets, on one line however long.

    The email package would write a long one as encoded words, which no mail reader decodes in this place.
    """

    name: str
    """Of the header; set by the email package."""

    def fold(self, *, policy: Policy[EmailMessage]) -> str:
        return f"{self.name}: {self}{policy.linesep}"


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
_HEADERS.map_to_type("list-unsubscribe", cast("Any", _Address))  # mixed with BaseHeader by the registry
_POLICY = SMTP.clone(header_factory=_HEADERS)


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
    """Build the message of one intervention.

    The Message-ID follows from the row's id, the Date from the clock. Raises ValueError for an address or a header
    that can't be written.
    """
    sender_name, sender = parseaddr(mail_from)
    message = EmailMessage(policy=_POLICY)
    message["From"] = mailbox(sender_name, sender)
    message["To"] = mailbox(recipient_name, recipient)
    message["Subject"] = rendered.subject
    message["Date"] = format_datetime(_EPOCH + timedelta(milliseconds=now_ms))
    message["Message-ID"] = message_id(row_id, mail_from)
    # No mailto: beside it: nobody reads such mail by machine, and a promise that takes a day is worse than none.
    message["List-Unsubscribe"] = f"<{unsubscribe_url}>"
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message["X-Success-Template"] = template
    message["X-Success-Intervention"] = row_id
    message.set_content(rendered.text, charset="utf-8", cte="quoted-printable")
    message.add_alternative(rendered.html, subtype="html", charset="utf-8", cte="quoted-printable")
    return message


def mailbox(name: str, address: str) -> Address:
    """Put a name and an address together; ValueError for an address that no mail server could take."""
    try:
        return Address(name, addr_spec=address)
    except (
        HeaderParseError,
        IndexError,
    ) as error:  # what the email package's parser raises besides ValueError
        raise ValueError(f"{address!r} is no email address ({error})") from error


def message_id(row_id: str, mail_from: str) -> str:
    """Name the message of a row: the same each time."""
    return f"<{row_id}@{domain_of(mail_from)}>"


def domain_of(address: str) -> str:
    """Take the domain of an address such as `WedSync <hello@wedsync.example>`."""
    return parseaddr(address)[1].rpartition("@")[2] or "localhost"

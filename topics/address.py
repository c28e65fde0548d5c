"""Email addresses: the one place that reads them, as people write them, into what mail servers and headers take."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

import idna

LONGEST = 254
LONGEST_LOCAL = 64
"""Octets that SMTP carries (RFC 5321 section 4.5.3.1)."""

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]"
_DOT_ATOM = re.compile(rf"{_ATOM}+(?:\.{_ATOM}+)*").fullmatch
_LOCAL = re.compile(rf"(?:{_ATOM}|\.)+").fullmatch
_QUOTED = re.compile(r'"[!-~]*"').fullmatch
_ESCAPED = re.compile(r"\\(.)")
_UNSEEN = "\u200b\u2060\ufeff\u00ad"
"""What a copied address may trail besides blanks."""


class MailAddress(NamedTuple):
    """An address in the form that is sent: the domain in ASCII (IDNA 2008), the local part as its server knows it."""

    local: str
    domain: str

    @property
    def needs_utf8(self) -> bool:
        """Whether only a mail server with SMTPUTF8 takes it (RFC 6531)."""
        return not self.local.isascii()

    @property
    def on_the_wire(self) -> str:
        """For an envelope or a header: `"a..b"@docomo.example` has its quotes, which people leave out."""
        if _DOT_ATOM(self.local):
            return f"{self.local}@{self.domain}"
        return '"' + re.sub(r'(["\\])', r"\\\1", self.local) + f'"@{self.domain}'


def trimmed(text: str) -> str:
    """Leave out the blanks around a text, and what can't be seen there: no-break and zero-width spaces, marks."""
    while (less := text.strip().strip(_UNSEEN)) != text:
        text = less
    return text


def parse_address(text: str) -> MailAddress:
    """Read one bare address; ValueError, without a word of it, for what no mail server could take."""
    local, at, domain = unicodedata.normalize("NFC", trimmed(text)).rpartition("@")
    if not at:
        raise ValueError("not an email address")
    if _QUOTED(local):
        local = _ESCAPED.sub(r"\1", local[1:-1])
    elif not _LOCAL(local):
        raise ValueError("not an email address")
    address = MailAddress(local, domain_to_ascii(domain))
    # "=?": an encoded word, which mail programs decode wherever it stands, into whatever it says.
    if not local or "=?" in local or not local.isprintable():
        raise ValueError("not an email address")
    sent = address.on_the_wire
    if len(sent.encode()) > LONGEST or len(sent.rpartition("@")[0].encode()) > LONGEST_LOCAL:
        raise ValueError("an email address that is too long for mail servers")
    return address


@lru_cache(maxsize=4096)
def domain_to_ascii(domain: str) -> str:
    """Write a domain as DNS and SMTP know it: `müller.example` is `xn--mller-kva.example`; ValueError if it is none."""
    try:
        return idna.encode(domain.removesuffix("."), uts46=True, std3_rules=True).decode().lower()
    except idna.IDNAError:
        raise ValueError("not an email address: its domain can't exist") from None


def canonical(text: str) -> str:
    """One spelling of an address however it is written, for lists; other text only trimmed, in lower case."""
    try:
        address = parse_address(text)
    except ValueError:
        return text.strip().lower()
    return f"{address.local.lower()}@{address.domain}"

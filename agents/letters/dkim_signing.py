"""DKIM: every email signed by the domain of its From, so that mail servers believe it and its unsubscribe headers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import dkim
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from agents.letters.message import domain_of
from embedded.registry import is_embedded
from runtime.settings import SettingsError

if TYPE_CHECKING:
    from runtime.settings import Settings

SIGNED = (
    b"From",
    b"To",
    b"Subject",
    b"Date",
    b"Message-ID",
    b"List-Unsubscribe",
    b"List-Unsubscribe-Post",
    b"MIME-Version",
    b"Content-Type",
    b"Content-Transfer-Encoding",
)
"""Headers that are signed. Each is named once more than it occurs: a second one added on the way breaks the seal."""


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs for `domain` with an RSA key whose public half stands in DNS at `<selector>._domainkey.<domain>`."""

    key: bytes
    """PEM."""
    domain: str
    selector: str

    @classmethod
    def from_settings(cls, settings: Settings) -> Self | None:
        """Make the signer of SUCCESS_DKIM_KEY; None without a key. SettingsError says why a key can't be used."""
        if settings.dkim_key is None:
            return None
        try:
            key = settings.dkim_key.read_bytes()
        except OSError as error:
            raise SettingsError(
                f"SUCCESS_DKIM_KEY: {settings.dkim_key} can't be read ({error.strerror})"
            ) from error
        signer = cls(key, domain_of(settings.mail_from), settings.dkim_selector)
        try:
            signer.sign(b"From: a@example.com\r\n\r\n")
        except (dkim.DKIMException, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise SettingsError(
                f"SUCCESS_DKIM_KEY: {settings.dkim_key} is no RSA private key in PEM ({error}); make one with "
                "`openssl genrsa -out dkim.pem 2048`"
            ) from error
        return signer

    def sign(self, content: bytes) -> bytes:
        """Put a DKIM-Signature before a message (bytes with CRLF line ends)."""
        signature: bytes = _Seal(content).sign(
            self.selector.encode(),
            self.domain.encode(),
            self.key,
            canonicalize=(b"relaxed", b"relaxed"),
            include_headers=[name for name in SIGNED for _ in range(_named(content, name))],
        )
        return signature + content


class _Signature(NamedTuple):
    signature: bytes


class _Key:
    """An RSA key in the shape in which dkimpy takes keys that sign a digest by themselves."""

    def __init__(self, key: RSAPrivateKey) -> None:
        self._key = key

    def sign(self, digest: bytes) -> _Signature:
        return _Signature(self._key.sign(digest, PKCS1v15(), Prehashed(SHA256())))


class _Seal(dkim.DKIM):  # type: ignore[misc]  # dkimpy has no types
    """dkimpy with OpenSSL's arithmetic: its own, in Python, takes 6 ms a signature, 20 times as long."""

    def sign(self, selector: bytes, domain: bytes, privkey: bytes, **options: Any) -> bytes:
        self._key = _Key(_private_key(privkey))
        signed: bytes = super().sign(selector, domain, privkey, signature_algorithm=b"rsa-sha256", **options)
        return signed

    def gen_header(
        self, fields: Any, include_headers: Any, canon_policy: Any, header_name: Any, *_: Any
    ) -> Any:
        # Which of dkimpy's ways to sign is taken; what the header says is in `fields` already.
        self.signature_algorithm = b"ed25519-sha256"
        return super().gen_header(fields, include_headers, canon_policy, header_name, self._key)


@cache
def _private_key(pem: bytes) -> RSAPrivateKey:
    key = load_pem_private_key(pem, None)
    if not isinstance(key, RSAPrivateKey):
        raise TypeError("the key is of another kind")
    return key


def _named(content: bytes, name: bytes) -> int:
    head = b"\r\n" + content.partition(b"\r\n\r\n")[0]
    return head.lower().count(b"\r\n" + name.lower() + b":") + 1


def unsafe_mail(settings: Settings) -> list[str]:
    """Say what keeps unsubscribing with one click from being trusted (RFC 8058), a line a setting.

    Empty if all is well. On the embedded stack nothing leaves the machine, so everything goes.
    """
    if is_embedded(settings.kafka, settings.database_url):
        return []
    problems = []
    if not settings.public_url.startswith("https://"):
        problems.append(
            f"SUCCESS_PUBLIC_URL is {settings.public_url}: List-Unsubscribe must be an https:// address "
            "that reaches the API; set it to the public one"
        )
    if settings.dkim_key is None:
        problems.append(
            "SUCCESS_DKIM_KEY is not set: List-Unsubscribe must be covered by a DKIM signature; set it to the "
            "file of an RSA private key (`openssl genrsa -out dkim.pem 2048`) and publish the public half at "
            f"{settings.dkim_selector}._domainkey.{domain_of(settings.mail_from)}"
        )
    return problems

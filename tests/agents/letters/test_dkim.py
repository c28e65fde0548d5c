"""Signed mail: verifies against the published key, covers what mail servers look at, and breaks when touched."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import dkim
import pytest

from agents.letters import dkim_signing
from agents.letters.dkim_signing import SIGNED, Signer, unsafe_mail
from runtime.settings import Settings, SettingsError
from tests.agents.delivery.world import World

BODY = b"From: WedSync <hello@wedsync.example>\r\nTo: a@example.com\r\nSubject: Hi\r\n\r\nHello\r\n"


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private key, made as the error message says."""
    path = tmp_path_factory.mktemp("dkim") / "key.pem"
    subprocess.run(["openssl", "genrsa", "-out", str(path), "2048"], check=True, capture_output=True)
    return path


@pytest.fixture
def dns(key: Path) -> Callable[..., bytes | None]:
    """A DNS that knows one record."""
    told = subprocess.run(
        ["openssl", "rsa", "-in", str(key), "-pubout", "-outform", "PEM"], check=True, capture_output=True
    ).stdout
    public = b"".join(line for line in told.splitlines() if not line.startswith(b"-----"))

    def answer(name: bytes, timeout: float = 5) -> bytes | None:
        del timeout
        return b"v=DKIM1; k=rsa; p=" + public if name == b"success._domainkey.wedsync.example." else None

    return answer


def settings(**given: Any) -> Settings:
    return Settings(**{"kafka": "kafka.example:9092", "database_url": "postgresql://db.example/s"} | given)


@pytest.mark.stack
async def test_an_email_as_it_arrives_verifies_and_its_unsubscribe_headers_are_signed(
    world: World, mail_server: Any, key: Path, dns: Any
) -> None:
    raw: list[bytes] = []
    keep = mail_server.handle_DATA

    async def handle_data(server: Any, session: Any, envelope: Any) -> str:
        raw.append(envelope.original_content)
        return await keep(server, session, envelope)

    mail_server.handle_DATA = handle_data
    world.settings = world.settings.model_copy(update={"dkim_key": key})
    supplier = await world.supplier(first_name="Zoë", business_name="نور الهدى")
    row = await world.row(supplier, "low_client_adoption")

    await world.delivery().deliver_due()

    assert await world.status(row) == ("sent", None)
    [content] = raw
    assert dkim.verify(content, dnsfunc=dns)
    signature = str(message_from_bytes(content, policy=policy.default)["DKIM-Signature"])
    tags = dict(part.strip().split("=", 1) for part in signature.split(";") if "=" in part)
    assert (tags["d"], tags["s"], tags["a"]) == ("wedsync.example", "success", "rsa-sha256")
    signed = {name.strip() for name in tags["h"].lower().split(":")}
    assert {"from", "to", "subject", "date", "message-id"} <= signed
    assert {"list-unsubscribe", "list-unsubscribe-post", "mime-version", "content-type"} <= signed


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Subject: Hi", b"Subject: Ho"),
        (b"Hello\r\n", b"Hullo\r\n"),
        (b"To: a@", b"List-Unsubscribe: <https://evil.example>\r\nTo: a@"),
        (b"To: a@", b"From: b@example.com\r\nTo: a@"),
        (b"To: a@", b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nTo: a@"),
    ],
)
def test_what_is_changed_or_added_on_the_way_breaks_the_signature(
    key: Path, dns: Any, old: bytes, new: bytes
) -> None:
    signed = Signer(key.read_bytes(), "wedsync.example", "success").sign(BODY)
    assert dkim.verify(signed, dnsfunc=dns)
    assert not dkim.verify(signed.replace(old, new), dnsfunc=dns)


def test_the_signature_is_the_one_that_dkimpy_makes_by_itself(
    key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_768_813_200.0)
    signer = Signer(key.read_bytes(), "wedsync.example", "success")
    names = [name for name in SIGNED for _ in range(2 if name in {b"From", b"To", b"Subject"} else 1)]
    plain = dkim.sign(
        BODY,
        b"success",
        b"wedsync.example",
        key.read_bytes(),
        canonicalize=(b"relaxed", b"relaxed"),
        include_headers=names,
    )
    assert signer.sign(BODY) == plain + BODY


def test_the_domain_is_that_of_the_sender_and_the_selector_a_setting(key: Path) -> None:
    signer = Signer.from_settings(
        settings(dkim_key=key, mail_from="WedSync <hi@mail.wedsync.example>", dkim_selector="s2026")
    )
    assert signer is not None
    assert (signer.domain, signer.selector) == ("mail.wedsync.example", "s2026")
    assert Signer.from_settings(settings()) is None


def test_a_key_that_cannot_be_used_stops_the_start_and_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"SUCCESS_DKIM_KEY: .* can't be read"):
        Signer.from_settings(settings(dkim_key=tmp_path / "none.pem"))
    (tmp_path / "wrong.pem").write_text("-----BEGIN NOTHING-----\n")
    with pytest.raises(SettingsError, match=r"no RSA private key in PEM .*openssl genrsa"):
        Signer.from_settings(settings(dkim_key=tmp_path / "wrong.pem"))


# RFC 8058 wants List-Unsubscribe over HTTPS and covered by DKIM


def test_outside_the_embedded_stack_a_lack_of_https_or_of_a_key_is_said(key: Path) -> None:
    no_https, no_key = unsafe_mail(settings(public_url="http://app.wedsync.example"))
    assert "SUCCESS_PUBLIC_URL is http://app.wedsync.example" in no_https
    assert "SUCCESS_DKIM_KEY is not set" in no_key
    assert "success._domainkey.wedsync.example" in no_key
    safe = settings(public_url="https://app.wedsync.example", dkim_key=key)
    assert unsafe_mail(safe) == []
    assert len(unsafe_mail(settings(public_url="https://app.wedsync.example"))) == 1
    assert len(unsafe_mail(settings(dkim_key=key))) == 1


def test_on_the_embedded_stack_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dkim_signing, "is_embedded", lambda _kafka, _database: True)
    assert unsafe_mail(settings()) == []

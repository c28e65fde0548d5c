"""The connection to the mail server: reused, encrypted, checked, and opened anew when the server has hung up."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from agents.delivery.pace import Pacer
from agents.letters import smtp as mail
from agents.letters.smtp import Mailer, MailServer, Verdict
from scoring.decisions.policy import Pace
from tests.agents.delivery.mail_server import MailServer as Sink

AUTHORITY = trustme.CA()
USER, PASSWORD = "wedsync", "p/w with: everything@"


def message(subject: str = "Hello") -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "a@example.com", "b@example.com", subject
    made.set_content("Hello\n.\n..two\n")
    return made


async def send(mailer: Mailer, subject: str = "Hello") -> Verdict:
    return await mailer.send("bounces@example.com", "b@example.com", message(subject))


class SecureSink(Controller):
    """An SMTP server with TLS: from the first byte (`tls="now"`) or by STARTTLS (`"later"`); keeps what it heard."""

    def __init__(self, tls: str, *, login: bool = False, server_hostname: str = "localhost") -> None:
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        AUTHORITY.issue_cert(server_hostname, "127.0.0.1").configure_cert(self.context)
        self.subjects: list[str] = []
        self.was_encrypted: list[bool] = []
        self.logins: list[tuple[bytes, bytes]] = []
        self.connections = 0
        self._tls = tls
        self._login = login
        with_tls = {"ssl_context": self.context} if tls == "now" else {}
        super().__init__(self, hostname="127.0.0.1", port=Sink()._port, **with_tls)

    def factory(self) -> SMTP:
        self.connections += 1
        given: dict[str, Any] = {"tls_context": self.context} if self._tls == "later" else {}
        if self._login:
            given |= {
                "auth_required": True,
                "auth_require_tls": self._tls == "later",
                "authenticator": self._check,
            }
        return SMTP(self, **given)

    def _check(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, auth: Any) -> AuthResult:
        assert isinstance(auth, LoginPassword)
        self.logins.append((auth.login, auth.password))
        right = (auth.login, auth.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=right, handled=right)

    async def handle_DATA(self, server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - its name
        self.was_encrypted.append(server.transport.get_extra_info("ssl_object") is not None)
        subject = [line for line in envelope.content.split(b"\r\n") if line.startswith(b"Subject: ")]
        self.subjects.append(subject[0].decode().removeprefix("Subject: "))
        return "250 OK"


@pytest.fixture
def secure(request: pytest.FixtureRequest) -> Iterator[SecureSink]:
    sink = SecureSink(**request.param)
    # the controller looks whether it is up by a connection in the clear, unless it has TLS itself
    sink.start()
    sink.connections = 0
    yield sink
    sink.stop(no_assert=True)


def address(sink: SecureSink, login: str = "") -> MailServer:
    scheme = "smtps" if sink._tls == "now" else "smtp"
    return MailServer.from_url(f"{scheme}://{login}127.0.0.1:{sink.port}")


async def test_many_messages_go_over_one_connection() -> None:
    sink = SecureSink("never")
    sink.start()
    sink.connections = 0
    async with Mailer(address(sink)) as mailer:
        for number in range(5):
            assert (await send(mailer, str(number))).outcome == "accepted"
    sink.stop(no_assert=True)
    assert sink.connections == 1
    assert sink.subjects == ["0", "1", "2", "3", "4"]


async def test_a_connection_that_the_server_closed_is_opened_again_and_the_message_sent_once() -> None:
    sink = Sink()
    sink.start()
    async with Mailer(MailServer.from_url(sink.url)) as mailer:
        assert (await send(mailer, "first")).outcome == "accepted"
        sink.stop()
        sink.start()
        assert (await send(mailer, "second")).outcome == "accepted"
    sink.stop()
    assert [str(each["Subject"]) for each in sink.accepted] == ["first", "second"]


async def test_a_server_that_takes_two_messages_a_connection_gets_them_on_several() -> None:
    class Stingy(SecureSink):
        taken = 0

        async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
            self, _server: Any, session: Any, envelope: Any, sender: str, _options: Any
        ) -> str:
            session.count = getattr(session, "count", 0) + 1
            if session.count > 2:
                return "421 4.7.0 too many messages on this connection"
            envelope.mail_from = sender
            return "250 OK"

    sink = Stingy("never")
    sink.start()
    sink.connections = 0
    async with Mailer(address(sink)) as mailer:
        verdicts = [await send(mailer, str(number)) for number in range(5)]
    sink.stop(no_assert=True)
    assert {verdict.outcome for verdict in verdicts} == {"accepted"}
    assert sink.subjects == ["0", "1", "2", "3", "4"]
    assert sink.connections == 3


async def test_a_connection_that_lay_idle_is_not_trusted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "IDLE_S", -1.0)
    sink = SecureSink("never")
    sink.start()
    sink.connections = 0
    async with Mailer(address(sink)) as mailer:
        await send(mailer)
        await send(mailer)
    sink.stop(no_assert=True)
    assert sink.connections == 2


@pytest.mark.parametrize("secure", [{"tls": "now"}, {"tls": "later"}], indirect=True)
async def test_mail_is_encrypted_from_the_start_or_by_starttls(secure: SecureSink) -> None:
    async with Mailer(address(secure)) as mailer:
        assert (await send(mailer)).outcome == "accepted"
    assert secure.was_encrypted == [True]


@pytest.mark.parametrize("secure", [{"tls": "now"}, {"tls": "later"}], indirect=True)
async def test_outside_this_machine_a_certificate_that_nobody_vouches_for_is_refused(
    secure: SecureSink,
) -> None:
    async with Mailer(replace(address(secure), is_local=False)) as mailer:
        verdict = await send(mailer)
    assert verdict.outcome == "later"
    assert "certificate verify failed" in verdict.said
    assert secure.subjects == []


@pytest.mark.parametrize("secure", [{"tls": "now"}, {"tls": "later"}], indirect=True)
async def test_a_certificate_of_an_authority_that_the_machine_trusts_is_fine(
    secure: SecureSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(bundle)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    async with Mailer(replace(address(secure), is_local=False)) as mailer:
        assert (await send(mailer)).outcome == "accepted"
    assert secure.was_encrypted == [True]


@pytest.mark.parametrize("secure", [{"tls": "later", "server_hostname": "other.example"}], indirect=True)
async def test_a_certificate_of_another_host_is_refused(
    secure: SecureSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(bundle)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    there = replace(address(secure), host="localhost", is_local=False)
    async with Mailer(there) as mailer:
        verdict = await send(mailer)
    assert (verdict.outcome, secure.subjects) == ("later", [])
    assert "certificate" in verdict.said.lower()


@pytest.mark.parametrize(
    "secure", [{"tls": "now", "login": True}, {"tls": "later", "login": True}], indirect=True
)
async def test_a_login_with_any_character_works_over_tls(secure: SecureSink) -> None:
    async with Mailer(address(secure, "wedsync:p%2Fw%20with%3A%20everything%40@")) as mailer:
        assert (await send(mailer)).outcome == "accepted"
    assert secure.logins == [(USER.encode(), PASSWORD.encode())]


@pytest.mark.parametrize("secure", [{"tls": "later", "login": True}], indirect=True)
async def test_a_wrong_password_is_tried_again_later_and_not_the_messages_fault(secure: SecureSink) -> None:
    async with Mailer(address(secure, "wedsync:wrong@")) as mailer:
        verdict = await send(mailer)
    assert verdict.outcome == "later"
    assert "535" in verdict.said or "uthentication" in verdict.said


async def test_a_password_never_crosses_a_network_in_the_clear() -> None:
    sink = SecureSink("never", login=True)
    sink.start()
    there = replace(address(sink, f"{USER}:secret@"), is_local=False)
    async with Mailer(there) as mailer:
        verdict = await send(mailer)
    sink.stop(no_assert=True)
    assert verdict.outcome == "later"
    assert "STARTTLS" in verdict.said
    assert sink.logins == []


@pytest.mark.parametrize(
    ("url", "is_local", "start_tls"),
    [
        ("smtp://localhost", True, None),
        ("smtp://u:p@127.0.0.1", True, None),
        ("smtp://[::1]:25", True, None),
        ("smtp://127.9.9.9", True, None),
        ("smtp://mail.example", False, None),
        ("smtp://u:p@mail.example", False, True),
        ("smtps://u:p@mail.example", False, False),
        ("smtp://127.0.0.1.example", False, None),
    ],
)
def test_what_is_demanded_of_a_server_depends_on_where_it_is(
    url: str, is_local: bool, start_tls: bool | None
) -> None:
    server = MailServer.from_url(url)
    assert (server.is_local, server.start_tls) == (is_local, start_tls)


# clocks


class Slow(Sink):
    """Answers `where` ("rcpt" or "data") only when `go_on` is set, and tells by `reached` that it got there."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where
        self.reached, self.go_on = threading.Event(), threading.Event()

    async def _slowly(self, where: str) -> None:
        if where == self.where:
            self.reached.set()
            await asyncio.to_thread(self.go_on.wait, 60)

    async def handle_RCPT(self, *given: Any) -> str:  # noqa: N802 - aiosmtpd's name
        await self._slowly("rcpt")
        return await super().handle_RCPT(*given)

    async def handle_DATA(self, *given: Any) -> str:  # noqa: N802 - aiosmtpd's name
        await self._slowly("data")
        return await super().handle_DATA(*given)


@pytest.fixture
def slow(request: pytest.FixtureRequest) -> Iterator[Slow]:
    sink = Slow(request.param)
    sink.start()
    yield sink
    sink.go_on.set()
    sink.stop()


def test_a_server_may_take_as_long_as_the_rfc_grants_it() -> None:
    """RFC 5321 section 4.5.3.2: 5 minutes to greet and for a command, 2 for DATA, 10 for what follows it."""
    assert (mail.COMMAND_S, mail.DATA_S, mail.CONTENT_S) == (300, 120, 600)


@pytest.mark.parametrize(("slow", "outcome"), [("rcpt", "later"), ("data", "unknown")], indirect=["slow"])
async def test_a_server_that_never_answers_is_given_up_when_its_time_is_up(slow: Slow, outcome: str) -> None:
    async with Mailer(MailServer.from_url(slow.url), patience=0.001) as mailer:
        verdict = await send(mailer)
    assert verdict.outcome == outcome
    assert "no answer within 0." in verdict.said


@pytest.mark.parametrize("slow", ["data"], indirect=True)
async def test_a_slow_answer_is_waited_for(slow: Slow) -> None:
    async with Mailer(MailServer.from_url(slow.url)) as mailer:
        sending = asyncio.create_task(send(mailer))
        assert await asyncio.to_thread(slow.reached.wait, 30)
        slow.go_on.set()
        assert (await sending).outcome == "accepted"


@pytest.mark.parametrize(("slow", "outcome"), [("rcpt", "later"), ("data", "unknown")], indirect=["slow"])
async def test_who_has_to_stop_waits_no_longer_and_says_what_is_known(slow: Slow, outcome: str) -> None:
    async with Mailer(MailServer.from_url(slow.url)) as mailer:
        sending = asyncio.create_task(send(mailer))
        assert await asyncio.to_thread(slow.reached.wait, 30)
        mailer.end_by(asyncio.get_running_loop().time())
        verdict = await sending
        assert (verdict.outcome, (await send(mailer)).outcome) == (outcome, "later")
    assert "before we had to stop" in verdict.said
    assert slow.tried == 0


# letters beyond ASCII


@pytest.mark.parametrize("smtputf8", [True, False])
async def test_a_local_part_beyond_ascii_needs_a_server_that_has_smtputf8(smtputf8: bool) -> None:
    class Server(SecureSink):
        def factory(self) -> SMTP:
            return SMTP(self, enable_SMTPUTF8=smtputf8)

        async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - its name
            got.append((envelope.rcpt_tos, envelope.content.decode()))
            return "250 OK"

    got: list[tuple[list[str], str]] = []
    sink = Server("never")
    sink.start()
    async with Mailer(address(sink)) as mailer:
        letter = message()
        letter.replace_header("To", "Jörg")
        verdict = await mailer.send("bounces@example.com", "jörg@hochzeit.example", letter)
        after = await send(mailer)  # the connection is as good as before
    sink.stop(no_assert=True)
    assert after.outcome == "accepted"
    if smtputf8:
        assert verdict.outcome == "accepted"
        assert got[0][0] == ["jörg@hochzeit.example"]
        assert "To: Jörg" in got[0][1]
    else:
        assert verdict.outcome == "no_way"
        assert "SMTPUTF8" in verdict.said
        assert "hochzeit" not in verdict.said
        assert len(got) == 1


@pytest.mark.parametrize(
    ("recipient", "envelope"),
    [
        ("info@hochzeit-müller.example", "info@xn--hochzeit-mller-psb.example"),
        ("yui..x@docomo.example", "yui..x@docomo.example"),  # aiosmtpd tells it without its quotes
    ],
)
async def test_an_envelope_has_addresses_as_servers_take_them(recipient: str, envelope: str) -> None:
    sink = Sink()
    sink.start()
    async with Mailer(MailServer.from_url(sink.url)) as mailer:
        assert (await mailer.send("bounces@example.com", recipient, message())).outcome == "accepted"
    sink.stop()
    assert sink.envelopes == [("bounces@example.com", [envelope])]


async def test_a_message_whose_headers_are_not_ours_alone_is_refused_before_it_leaves() -> None:
    sink = Sink()
    sink.start()
    letter = message()
    letter._headers.append(("X-Typed", "x\nBcc: v@evil.example"))
    async with Mailer(MailServer.from_url(sink.url)) as mailer:
        verdict = await mailer.send("bounces@example.com", "b@example.com", letter)
    sink.stop()
    assert (verdict.outcome, verdict.by_server, sink.tried) == ("refused", False, 0)
    assert "evil" not in verdict.said


# pacing


class Steady:
    """A clock that only sleeping moves; remembers when each turn came."""

    def __init__(self) -> None:
        self.time = 100.0
        self.slept = 0.0

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.time += seconds


async def turns(pace: Pace, *recipients: str) -> list[float]:
    clock = Steady()
    pacer, came = Pacer(pace, clock.now, clock.sleep), []
    for recipient in recipients:
        await pacer.turn(recipient)
        came.append(round(clock.time - 100, 6))
    return came


async def test_emails_leave_at_the_pace_of_the_policy() -> None:
    pace = Pace(a_second=4, a_second_to_one_domain=100)
    people = [f"a@{number}.example" for number in range(5)]
    assert await turns(pace, *people) == [0, 0.25, 0.5, 0.75, 1.0]


async def test_one_domain_gets_them_more_slowly_and_the_others_do_not_wait_for_it() -> None:
    pace = Pace(a_second=100, a_second_to_one_domain=2)
    assert await turns(pace, "a@x.example", "b@X.example", "c@x.example") == [0, 0.5, 1.0]

    clock = Steady()
    pacer = Pacer(pace, clock.now, clock.sleep)
    for _ in range(10):
        await pacer.turn("a@x.example")
    before = clock.slept
    await pacer.turn("a@y.example")
    assert clock.slept - before < 0.5


async def test_a_pause_is_not_saved_up_for_a_burst() -> None:
    clock = Steady()
    pacer = Pacer(Pace(a_second=2, a_second_to_one_domain=2), clock.now, clock.sleep)
    await pacer.turn("a@x.example")
    clock.time += 60
    came = []
    for _ in range(3):
        await pacer.turn("a@x.example")
        came.append(clock.time - 160)
    assert came == [0, 0.5, 1.0]


async def test_workers_side_by_side_share_one_pace() -> None:
    pacer = Pacer(Pace(a_second=50, a_second_to_one_domain=50))
    began = time.monotonic()
    await asyncio.gather(*(pacer.turn("a@x.example") for _ in range(11)))
    assert time.monotonic() - began >= 0.2

"""Addresses: read as people write them, sent as servers take them."""

from __future__ import annotations

from email.header import decode_header, make_header
from email.utils import parseaddr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.forms import examples
from topics.address import LONGEST, canonical, parse_address


@pytest.mark.parametrize(
    ("written", "sent", "needs_utf8"),
    [
        ("sarah@example.com", "sarah@example.com", False),
        (" sarah@example.com\u00a0", "sarah@example.com", False),
        ("Sarah@Golden.EXAMPLE.", "Sarah@golden.example", False),
        ("info@hochzeit-müller.example", "info@xn--hochzeit-mller-psb.example", False),
        ("info@hochzeit-mu\u0308ller.example", "info@xn--hochzeit-mller-psb.example", False),
        (
            "info@straße.example",
            "info@xn--strae-oqa.example",
            False,
        ),  # with IDNA 2003 it was another's domain
        ("a@例え。テスト", "a@xn--r8jz45g.xn--zckzah", False),
        ("jo\u0308rg@hochzeit.example", "jörg@hochzeit.example", True),
        ("sarah..x@docomo.example", '"sarah..x"@docomo.example', False),
        ("sarah.@docomo.example", '"sarah."@docomo.example', False),
        ('"sarah"@example.com', "sarah@example.com", False),
        ("o'hara+wed@example.com", "o'hara+wed@example.com", False),
    ],
)
def test_an_address_is_sent_as_mail_servers_take_it(written, sent, needs_utf8):
    address = parse_address(written)
    assert (address.on_the_wire, address.needs_utf8) == (sent, needs_utf8)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "sarah",
        "@example.com",
        "sarah@",
        "a,b@example.com",
        "a b@example.com",
        "<a@example.com>",
        "Sarah <a@example.com>",
        "a@b@example.com",
        "a@ex ample.com",
        "a@-x.example",
        "a@x..example",
        "a@x_y.example",
        "a@[127.0.0.1]",
        "a@example.com\r\nBcc: b@example.com",
        "a\u202eb@example.com",
        "=?utf-8?q?=0A?=@example.com",
        "a\x00@example.com",
        "\ud800@example.com",
        "a" * 65 + "@example.com",
        "ä" * 33 + "@example.com",
        "a@" + "b." * 130 + "example",
    ],
)
def test_what_no_mail_server_takes_is_refused_without_repeating_it(text):
    with pytest.raises(ValueError, match="email address") as refused:
        parse_address(text)
    assert text not in str(refused.value) or len(text) < 2


def test_all_spellings_of_an_address_are_one_in_lists():
    spellings = [
        "Info@Hochzeit-Müller.example",
        " info@XN--hochzeit-mller-psb.example.",
        '"info"@hochzeit-mu\u0308ller.example',
    ]
    assert {canonical(each) for each in spellings} == {"info@xn--hochzeit-mller-psb.example"}
    assert canonical(" No Address ") == "no address"


_pieces = st.lists(
    st.sampled_from([*"aZ09.@-_+\"\\'<>(),;: \t\r\n\x00äß例\u0308\u202e\u200d\ud800", "=?utf-8?q?=0A?="]),
    max_size=12,
)


@settings(max_examples=examples(1_000))
@given(
    _pieces.map("".join) | st.text(max_size=20),
    st.sampled_from(["example.com", "müller.example", "x.", "", "@"]),
)
def test_whatever_is_accepted_is_one_address_in_a_header_and_on_one_line(local, domain):
    try:
        sent = parse_address(f"{local}@{domain}").on_the_wire
    except ValueError:
        return
    assert sent.isprintable()
    assert len(sent.encode()) <= LONGEST
    assert parse_address(sent).on_the_wire == sent
    assert parseaddr(f"<{sent}>") == ("", sent)
    assert make_header(decode_header(sent)) == sent

"""A line of a file goes to its topic under its key as it came, whatever it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.topics.events import KEY, SUPPLIER, as_bytes, event, event_bytes
from topics.catalog import ACTIVITY, PROFILES
from topics.lines import read_line


def test_an_event_is_published_byte_for_byte_under_its_subject():
    line = as_bytes(event()).replace(b",", b" ,")
    assert read_line(line + b"\r\n") == (ACTIVITY, KEY, line)


def test_a_profile_is_published_as_the_object_under_profile_under_its_id():
    line = b'{"profile": {"id": "%s",  "plan": "free"}}\n' % KEY
    assert read_line(line) == (PROFILES, KEY, b'{"id": "%s",  "plan": "free"}' % KEY)


def test_text_and_bytes_read_the_same():
    line = '{"subject": "zoë"}'
    assert read_line(line) == read_line(line.encode()) == (ACTIVITY, "zoë".encode(), line.encode())


@pytest.mark.parametrize(
    "line", [b"not json", b"[1]", b'{"subject": 3}', b"{}", b"\xff", b'{"subject": "\\ud800"}']
)
def test_a_line_without_a_usable_subject_is_an_event_without_key(line):
    assert read_line(line) == (ACTIVITY, None, line)


@pytest.mark.parametrize("profile", [b"null", b"3", b"[]", b"{}", b'{"id": 3}', b'{"id": null}'])
def test_a_profile_without_a_usable_id_has_an_empty_key_because_its_topic_needs_one(profile):
    assert read_line(b'{"profile": %s}' % profile) == (PROFILES, b"", profile)


def test_an_event_with_an_extension_called_profile_is_an_event():
    line = as_bytes(event(profile="basic"))
    assert read_line(line) == (ACTIVITY, SUPPLIER.encode(), line)


@given(st.binary(min_size=1) | event_bytes())
def test_no_line_is_turned_away(line):
    topic, key, value = read_line(line)
    assert topic in {ACTIVITY, PROFILES}
    assert key is None or isinstance(key, bytes)
    assert value in line


def test_a_byte_order_mark_in_front_of_a_file_is_no_part_of_its_first_line():
    line = b'\xef\xbb\xbf{"profile": {"id": "x"}}'
    assert read_line(line) == read_line(line[3:])

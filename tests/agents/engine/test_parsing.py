"""Whatever bytes a fetch brings, the parser never raises, loses no good neighbour, and says what it could not read."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import cramjam
import pytest
from aiokafka import TopicPartition
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agents.engine import unpacking
from agents.engine.parsing import Fetched, Reading, Records, Unparsed
from agents.engine.unpacking import CodecsMissingError, check_codecs
from tests.forms import examples
from topics.outcome import UNREADABLE_HEADER

TP = TopicPartition("t", 0)
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
CRC_AT, ATTRIBUTES_AT, COUNT_AT = 17, 21, 57
BAD_NAME = b"\xff\xfe\x78"


def batch(
    *values: bytes,
    base: int = 0,
    codec: int = 0,
    headers: Any = (),
    transactional: bool = False,
    producer: int = -1,
    key: bytes = b"k",
) -> bytes:
    """A batch as a broker keeps it, its records at the offsets from `base` on, compressed if that makes it smaller."""
    builder = DefaultRecordBatchBuilder(2, codec, int(transactional), producer, 0, -1, 1 << 30)
    for offset, value in enumerate(values):
        builder.append(offset, timestamp=1000 + offset, key=key, value=value, headers=list(headers))
    return at_offset(bytes(builder.build()), base)


def at_offset(made: bytes, base: int) -> bytes:
    return struct.pack(">q", base) + made[8:]


def sealed(made: bytes) -> bytes:
    """The batch with a checksum that fits whatever is in it."""
    return made[:CRC_AT] + struct.pack(">I", calc_crc32c(made[ATTRIBUTES_AT:])) + made[ATTRIBUTES_AT:]


def fetch(
    data: bytes, *, start: int = 0, reading: Reading | None = None, aborted: Any = (), committed: bool = True
) -> Any:
    return Records(
        TP, Fetched(data), list(aborted), start, reading or Reading(raw=True), None, True, int(committed)
    )


def read(
    data: bytes, start: int = 0, reading: Reading | None = None, **more: Any
) -> tuple[list[Any], int, Reading]:
    """All that comes of the bytes in as many fetches as it takes, where reading goes on, and what the parser said."""
    reading, found, position = reading or Reading(raw=True), [], start
    for _ in range(3):  # a batch that fails its checksum is fetched again
        records = fetch(data, start=position, reading=reading, **more)
        found += list(records)
        position = records.next_fetch_offset
    return found, position, reading


def whys(found: list[Any]) -> list[str]:
    return [dict(each.headers)[UNREADABLE_HEADER].decode() for each in found if isinstance(each, Unparsed)]


def good(found: list[Any]) -> list[bytes | None]:
    return [each.value for each in found if not isinstance(each, Unparsed)]


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize("size", [1, 300_000])
def test_every_codec_is_read(codec, size):
    values = [b"%d" % number * size for number in range(5)]
    found, position, _ = read(batch(*values, codec=codec, base=7), start=7)
    assert [(each.offset, each.timestamp, each.value) for each in found] == [
        (7 + number, 1000 + number, value) for number, value in enumerate(values)
    ]
    assert position == 12


@pytest.mark.parametrize("codec", [0, 1, 2, 3])
def test_batches_of_kafkas_format_before_the_present_one_are_read(codec):
    builder = LegacyRecordBatchBuilder(1, codec, 1 << 20)
    for offset in range(3):
        builder.append(offset, timestamp=1, key=b"k", value=b"v" * 100)
    data = bytes(builder.build())
    found, _, _ = read(at_offset(data, 2) if codec else data)
    assert [each.offset for each in found] == [0, 1, 2]
    assert good(found) == [b"v" * 100] * 3


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_a_header_whose_name_is_no_text_costs_one_record(codec):
    made = batch(b"a" * 99, b"b" * 99, headers=[("xyz", b"1"), ("ok", None)])
    spoilt = sealed(made.replace(b"xyz", BAD_NAME, 1))
    if codec:
        spoilt = packed(spoilt, codec)
    found, position, _ = read(spoilt + batch(b"c", base=2))
    assert good(found) == [b"b" * 99, b"c"]
    assert whys(found) == ["unreadable: the name of a header is not UTF-8 text (ff fe 78)"]
    (wrong,) = [each for each in found if isinstance(each, Unparsed)]
    assert (wrong.key, wrong.value, wrong.offset, wrong.timestamp) == (b"k", b"a" * 99, 0, 1000)
    assert wrong.headers[:2] == [("\\xff\\xfex", b"1"), ("ok", None)]
    assert position == 3


def packed(made: bytes, codec: int) -> bytes:
    """A batch, compressed as it is."""
    names = {
        1: cramjam.gzip.compress,
        2: cramjam.snappy.compress_raw,
        3: cramjam.lz4.compress,
        4: cramjam.zstd.compress,
    }
    body = bytes(names[codec](made[61:]))
    length = struct.pack(">i", 61 - 12 + len(body))
    attributes = struct.pack(">h", struct.unpack_from(">h", made, ATTRIBUTES_AT)[0] | codec)
    return sealed(
        made[:8] + length + made[12:ATTRIBUTES_AT] + attributes + made[ATTRIBUTES_AT + 2 : 61] + body
    )


def test_a_batch_that_fails_its_checksum_is_fetched_again_and_only_then_given_up_as_a_whole():
    spoilt = batch(b"first", b"a", b"b").replace(b"first", b"fisrt")
    data = batch(b"before") + at_offset(spoilt, 1) + batch(b"after", base=4)
    once = fetch(data)
    assert [each.value for each in once] == [b"before"]
    assert once.next_fetch_offset == 1
    again = fetch(data[len(batch(b"before")) :], start=1)
    found = list(again)
    assert good(found) == [b"after"]
    assert whys(found)[0].startswith("unreadable: the batch of the offsets 1 to 3 fails its checksum")
    assert found[0].value == at_offset(spoilt, 1)
    assert again.next_fetch_offset == 5


def test_what_was_damaged_on_its_way_only_is_read_when_it_is_fetched_again():
    data = batch(b"on its way")
    assert list(fetch(data.replace(b"way", b"yaw"))) == []
    assert good(list(fetch(data))) == [b"on its way"]


@pytest.mark.parametrize(
    ("codec", "body", "says"),
    [
        (1, b"no gzip at all", "can't be unpacked"),
        (2, b"\xff\xff\xff\xff\xff\xff", "can't be unpacked"),
        (2, b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00", "a block of snappy is cut off"),
        (3, b"no lz4", "can't be unpacked"),
        (4, b"no zstd", "can't be unpacked"),
        (
            4,
            bytes(cramjam.zstd.compress(b"\x00" * (unpacking.MOST_BYTES + 1))),
            "or more than 67,108,864 bytes",
        ),
        (
            1,
            bytes(cramjam.gzip.compress(b"\x00" * (unpacking.MOST_BYTES + 1))),
            "or more than 67,108,864 bytes",
        ),
        (6, b"what?", "nobody knows the codec number 6"),
    ],
)
def test_a_batch_that_can_not_be_unpacked_is_one_thing_given_up(codec, body, says):
    made = batch(b"a")
    length = struct.pack(">i", 61 - 12 + len(body))
    spoilt = sealed(
        made[:8] + length + made[12:ATTRIBUTES_AT] + struct.pack(">h", codec) + made[23:61] + body
    )
    found, position, _ = read(spoilt + batch(b"b", base=1))
    assert good(found) == [b"b"]
    assert says in whys(found)[0]
    assert position == 2


def test_what_lies_behind_a_record_without_an_end_is_given_up_and_the_next_batch_is_read():
    made = batch(b"one", b"two", b"three")
    at = made.index(b"two") - 7  # the length of the second record
    found, position, _ = read(sealed(made[:at] + b"\xfe\xff\x7f" + made[at + 3 :]) + batch(b"four", base=3))
    assert good(found) == [b"one", b"four"]
    assert [each.offset for each in found] == [0, 2, 3]
    assert whys(found)[0].startswith("unreadable: the batch can't be read from offset 1 on")
    assert position == 4


@pytest.mark.parametrize(
    "data",
    [
        b"\x00" * 80,
        b"\xff" * 80,
        b"short",
        batch(b"x")[:8] + struct.pack(">i", 1 << 30) + batch(b"x")[12:],
        at_offset(batch(b"x"), -5),
    ],
)
def test_where_no_batch_can_be_told_the_partition_stands_still_and_says_so_once(data, caplog):
    reading = Reading(raw=True)
    for _ in range(3):
        records = fetch(data, start=5, reading=reading)
        assert list(records) == []
        assert records.next_fetch_offset == 5
    assert "at offset 5 there is no batch" in reading.unreadable[TP]
    assert reading.rests(TP)
    assert len(caplog.records) == 1
    assert list(fetch(batch(b"healed", base=5), start=5, reading=reading))
    assert reading.unreadable == {}


def test_a_batch_that_is_cut_off_at_the_end_of_a_fetch_comes_with_the_next():
    whole, cut = batch(b"a"), batch(b"b", base=1)
    records = fetch(whole + cut[:-1])
    assert [each.value for each in records] == [b"a"]
    assert records.next_fetch_offset == 1


def control(base: int, producer: int, kind: int) -> bytes:
    builder = DefaultRecordBatchBuilder(2, 0, 1, producer, 0, -1, 1 << 20)
    builder.append(0, timestamp=1, key=struct.pack(">hh", 0, kind), value=b"", headers=[])
    made = bytes(builder.build())
    return at_offset(sealed(made[:ATTRIBUTES_AT] + struct.pack(">h", 0x30) + made[23:]), base)


def test_of_transactions_only_what_was_committed_is_read_and_the_position_is_behind_the_markers():
    data = (
        batch(b"given up", transactional=True, producer=1)
        + batch(b"plain", base=1)
        + control(2, 1, 0)
        + batch(b"committed", base=3, transactional=True, producer=1)
        + control(4, 1, 1)
    )
    found, position, _ = read(data, aborted=[(1, 0)])
    assert [(each.offset, each.value) for each in found] == [(1, b"plain"), (3, b"committed")]
    assert position == 5


GOOD = [batch(b"good%d" % number, base=number * 10) for number in range(3)]


@settings(max_examples=examples(500))
@given(
    st.binary(max_size=120)
    | st.builds(
        lambda values, at, piece, codec, seal: spoil(values, at, piece, codec, seal=seal),
        st.lists(st.binary(max_size=40), min_size=1, max_size=4),
        st.floats(0, 1),
        st.binary(min_size=1, max_size=4),
        st.sampled_from([0, 1, 2, 3, 4]),
        st.booleans(),
    )
)
@example(b"")
def test_whatever_bytes_stand_between_good_batches_nothing_raises_and_what_was_before_is_there(middle):
    found, position, reading = read(GOOD[0] + middle + GOOD[2])
    assert good(found)[:1] == [b"good0"]
    offsets = [each.offset for each in found]
    assert offsets == sorted(set(offsets))
    if (
        len(middle) >= 61
        and struct.unpack_from(">qi", middle) == (10, len(middle) - 12)
        and not reading.unreadable
    ) and struct.unpack_from(">i", middle, 23)[0] < 10:  # it says to end before the next one
        assert good(found)[-1:] == [b"good2"]
        assert position == 21
    assert all(why.startswith("unreadable: ") for why in whys(found))


def spoil(values: list[bytes], at: float, piece: bytes, codec: int, *, seal: bool) -> bytes:
    """A batch of these values with some bytes replaced, behind its framing; with `seal` its checksum fits again."""
    made = batch(*values, base=10, codec=codec, headers=[("name", b"value")])
    place = 16 + int(at * (len(made) - 16 - len(piece)))
    spoilt = made[:place] + piece + made[place + len(piece) :]
    return sealed(spoilt) if seal else spoilt


def test_a_record_that_is_whole_in_a_spoilt_batch_is_never_lost():
    """The bytes of each record in turn are spoilt: the others come."""
    values = [b"value-%d" % number for number in range(6)]
    made = batch(*values)
    for spoilt, value in enumerate(values):
        at = made.index(value) - 4  # its attributes, times and lengths
        for wrong in range(256):
            found, _, _ = read(sealed(made[:at] + bytes([wrong]) + made[at + 1 :]))
            others = [each for each in values if each != value]
            assert [each for each in good(found) if each in others][:spoilt] == others[:spoilt]


def test_a_missing_codec_is_said_in_one_line(monkeypatch):
    check_codecs()
    monkeypatch.setattr(unpacking, "cramjam", None)
    with pytest.raises(CodecsMissingError, match="the package cramjam is needed"):
        check_codecs()


def test_every_consumer_of_ours_reads_through_this_parser():
    """One that is built elsewhere would stop at the first record that aiokafka can't parse."""
    folders = ("agents", "api", "cli", "replay", "store")
    builders = [
        str(path)
        for folder in folders
        for path in Path(folder).rglob("*.py")
        if "AIOKafkaConsumer(" in path.read_text()
    ]
    assert builders == ["agents/engine/connection.py"]

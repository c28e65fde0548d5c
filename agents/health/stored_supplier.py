"""What the state topic holds of a supplier: one record, and pages of clients beside it where there are very many.

The pages of a flush and the record that goes with them lie in one batch of the log, so that they are there together or
not at all, pages first. Of each key the record that holds most is the right one, as everywhere in the state topic: a
page that is older than its supplier's record has not changed since.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agents.health.state_codec import OF_A_VERSION, SCHEMA_VERSION, StateHeader, pack
from scoring.health.state import State, decode, encode, encode_paged, owed_since, put_pages
from scoring.time import NEVER

_PAGE = b"\x01"
_FIRST_OF_AN_ID = b" "
"""Supplier ids begin with a printable character; keys of other records with one below."""

Records = list[tuple[bytes, bytes]]


class MissingPageError(Exception):
    """A supplier's record speaks of a page of clients that is not there."""


def is_supplier(key: bytes) -> bool:
    """Whether a key of the state topic is a supplier's."""
    return key[:1] >= _FIRST_OF_AN_ID


def is_page(key: bytes | None) -> bool:
    """Whether it is that of a page of clients: it belongs together with the record that comes next."""
    return key is not None and key[:1] == _PAGE


def page_key(supplier: bytes, number: int) -> bytes:
    """The key of a page of a supplier's clients."""
    return b"%b%b%b" % (_PAGE, supplier, number.to_bytes(2, "big"))


def supplier_of_page(key: bytes) -> bytes:
    """Whose page has this key."""
    return key[1:-2]


def write(key: bytes, state: State, header: StateHeader) -> Records:
    """The (key, value) records that bring what is known of a supplier up to their state, their own the last."""
    schema = OF_A_VERSION if state.rules > 0 else SCHEMA_VERSION
    if state.many is None:
        return [(key, pack(header, encode(state), schema))]
    body, pages = encode_paged(state)
    undue = header._replace(due=NEVER)
    return [
        *((page_key(key, number), pack(undue, page, schema)) for number, page in pages),
        (key, pack(header, body, schema)),
    ]


def owed(raw: bytes) -> int | None:
    """Since when, on the worker's clock, a snapshot is owed of the supplier with this record; None if none is."""
    return owed_since(memoryview(raw)[StateHeader.size() :])


def read(values: Mapping[bytes, bytes], key: bytes) -> State | None:
    """The state of a supplier from the newest value of each key; None if there is none.

    Raises `MissingPageError`.
    """
    raw = values.get(key)
    return None if raw is None else _state(values, key, raw)


def states(values: Mapping[bytes, bytes]) -> Iterator[tuple[bytes, State]]:
    """(key, state) of every supplier; as `read`."""
    return ((key, _state(values, key, raw)) for key, raw in values.items() if is_supplier(key))


def _state(values: Mapping[bytes, bytes], key: bytes, raw: bytes) -> State:
    state = decode(StateHeader.body(raw))
    if state.client_pages:
        keys = [page_key(key, number) for number in range(state.client_pages)]
        missing = [number for number, page in enumerate(keys) if page not in values]
        if missing:
            raise MissingPageError(
                f"of the clients of {key.decode()} page {missing[0]} of {len(keys)} is not in the state topic: "
                "delete the state topic to rebuild it from the log"
            )
        put_pages(state, [StateHeader.body(values[page]) for page in keys])
    return state

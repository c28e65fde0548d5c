"""The wire: what a connection may cost before a request has come; uvicorn's own protocol with bounds.

A request's head must have come whole within seconds and within a size, and one address opens only so many connections.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
from collections import Counter
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.gate import MOST_HEADER_BYTES

logger = logging.getLogger(__name__)

HEAD_S = 10.0
"""Seconds for a request line and its headers, from the connection or the first byte of the next request on."""
MOST_CONNECTIONS = 256
"""Of one address; proxies that `FORWARDED_ALLOW_IPS` names, and this machine, may have any number."""
_RESPONSE = b"HTTP/1.1 %s\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Bounded(HttpToolsProtocol):
    """A connection within bounds, which `bounded` gives."""

    head_s = HEAD_S
    most_connections = MOST_CONNECTIONS
    trusted: frozenset[str]
    open_ones: Counter[str]

    _deadline: asyncio.TimerHandle | None = None
    _has_head = False
    _head = 0
    _address: str | None = None

    def connection_made(self, transport: Any) -> None:
        """Count it, and wait for a head."""
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        if not _is_trusted(address, self.trusted):
            self._address = address
            self.open_ones[address] += 1
            if self.open_ones[address] > self.most_connections:
                logger.warning(
                    "an address has more than %d connections: one is closed", self.most_connections
                )
                self._refuse(b"503 Service Unavailable")
                return
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it no longer."""
        self._stop_waiting()
        if self._address is not None:
            self.open_ones[self._address] -= 1
            if not self.open_ones[self._address]:
                del self.open_ones[self._address]
            self._address = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read, within the size of a head."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if not self._has_head:
            self._head += len(data)
            if self._head > MOST_HEADER_BYTES:
                self._refuse(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        """Wait for the head of the next request."""
        self._has_head, self._head = False, 0
        self._wait()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._has_head = True
        self._stop_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """What comes next is another head."""
        super().on_message_complete()
        self._head = 0

    def _wait(self) -> None:
        self._stop_waiting()
        self._deadline = self.loop.call_later(self.head_s, self._refuse, b"408 Request Timeout")

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, status: bytes) -> None:
        self._stop_waiting()
        if not self.transport.is_closing():
            self.transport.write(_RESPONSE % status)
            self.transport.close()


def bounded(head_s: float = HEAD_S, most_connections: int = MOST_CONNECTIONS) -> type[Bounded]:
    """A protocol class for one server, with these bounds."""
    trusted = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1").split(",")
    return type(
        "Bounded",
        (Bounded,),
        {
            "head_s": head_s,
            "most_connections": most_connections,
            "trusted": frozenset(each.strip() for each in trusted),
            "open_ones": Counter(),
        },
    )


def _is_trusted(address: str, trusted: frozenset[str]) -> bool:
    if "*" in trusted or address in trusted:
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return True  # a socket of this machine

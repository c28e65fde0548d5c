"""A secret that can be rotated: the current one signs and is remembered by, earlier ones still verify and find."""

from __future__ import annotations

import hmac
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """The current secret and those before it. What was signed or hashed under any of them goes on working."""

    current: str
    previous: tuple[str, ...] = ()

    @property
    def every(self) -> tuple[str, ...]:
        """All of them, the current one first."""
        return (self.current, *self.previous)

    def digest(self, message: bytes) -> bytes:
        """HMAC-SHA-256 under the current secret."""
        return hmac.digest(self.current.encode(), message, "sha256")

    def digests(self, message: bytes) -> list[bytes]:
        """HMAC-SHA-256 under each secret, the current one's first."""
        return [hmac.digest(key.encode(), message, "sha256") for key in self.every]

"""A supplier with very many clients: kept so that no event, forecast or record has to go through all of them."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence

from xxhash import xxh3_64_intdigest

FEW_CLIENTS = 256
"""Up to so many are part of the supplier's own record, and nothing of this is needed."""
CLIENTS_A_PAGE = 64
"""On average. A page is a record of its own; one is written again when something about a client in it has changed."""


class ManyClients:
    """An index of `State.clients` (client → last activity in ms while it is active, else 0); not a copy.

    Pages follow from the clients' hashes by linear hashing (Litwin 1980): one more client may split one page in two
    and leaves all others as they are.
    """

    __slots__ = ("active", "pages", "touched")

    def __init__(self, clients: Mapping[str, int], pages: Sequence[list[str]] | None = None) -> None:
        """Index these clients; `pages` is how they were distributed before, if they were."""
        self.active: list[int] = sorted([last for last in clients.values() if last])
        """The last activities of active clients, in order."""
        self.pages: list[list[str]] = []
        """The clients of each page."""
        self.touched: set[int] = set()
        """Pages in which something has changed since they were last written."""
        if pages is not None:
            self.pages.extend(pages)
            return
        self.pages.extend([] for _ in range(_pages_for(len(clients))))
        self.touched.update(range(len(self.pages)))
        for client in clients:
            self.pages[self._page_of(client)].append(client)

    def changed(self, client: str, before: int | None, after: int | None) -> None:
        """Note the value of a client before and after a change, None where they are not known."""
        if before:
            del self.active[bisect_left(self.active, before)]
        if after:
            insort(self.active, after)
        page = self._page_of(client)
        self.touched.add(page)
        if before is None:
            self.pages[page].append(client)
        elif after is None:
            self.pages[page].remove(client)

    def grow(self, known: int) -> None:
        """Split pages until there are enough for so many clients."""
        while len(self.pages) < _pages_for(known):
            new = len(self.pages)
            split = new - (1 << new.bit_length() - 1)
            together = self.pages[split]
            self.pages[split] = []
            self.pages.append([])
            for client in together:
                self.pages[self._page_of(client)].append(client)
            self.touched.update((split, new))

    def _page_of(self, client: str) -> int:
        pages = len(self.pages)
        bits = (pages - 1).bit_length()
        page = xxh3_64_intdigest(client.encode()) & (1 << bits) - 1
        return page if page < pages else page - (1 << bits - 1)


def _pages_for(clients: int) -> int:
    return max(1, -(-clients // CLIENTS_A_PAGE))

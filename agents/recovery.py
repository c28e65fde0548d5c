"""Faust's recovery, told by the store how far it reaches already, once it has restored its snapshots."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, cast

from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.types import TP

if TYPE_CHECKING:
    from agents.partition_store import PartitionStore


class PartitionRecovery(Recovery):
    """Reads of the changelog what the store does not hold yet."""

    async def _build_offsets(self, consumer: Any, tps: set[TP], destination: Counter[TP], title: str) -> None:
        """Set where reading begins: the offset of the last record that need not be read, or -1."""
        places = cast("dict[TP, int | None]", destination)
        for table, mine in self.actives_for_table.items():
            store = cast("PartitionStore", cast("Any", table).data)
            await store.restore({tp.partition for tp in mine})
            for tp in mine & tps:
                places[tp] = store.persisted_offset(tp)  # a Counter's update would add
        await super()._build_offsets(consumer, tps, destination, title)
        for table, mine in self.actives_for_table.items():
            cast("Any", table).data.begin({tp.partition: destination[tp] for tp in mine & tps})


class PartitionTables(TableManager):
    """Faust's tables with `PartitionRecovery`."""

    @property
    def recovery(self) -> Recovery:
        """The recovery service."""
        if self._recovery is None:
            self._recovery = PartitionRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery

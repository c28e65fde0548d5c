"""Quix Streams: state in RocksDB with a changelog topic, read and written at every event, as its API has it."""

from __future__ import annotations

from typing import Any

from quixstreams import Application

from bench.peers.folds import FOLDS
from bench.peers.job import Clock, job
from runtime.collector import tune_collector


def main() -> None:
    """Measure."""
    tune_collector()
    work, clock = job(), Clock()
    kind = FOLDS[work.fold]
    app = Application(
        broker_address=work.kafka,
        consumer_group=work.run,
        auto_offset_reset="earliest",
        commit_interval=work.interval_s,
        state_dir=work.path("state"),
        loglevel="WARNING",
    )

    def fold(value: bytes, key: bytes, timestamp: int, headers: Any, state: Any) -> None:
        del headers
        clock.start()
        packed = state.get_bytes("folded")
        folded = kind() if packed is None else kind.unpack(packed)
        folded.take(key, value, timestamp)
        state.set_bytes("folded", folded.pack())

    topic = app.topic(work.topic, key_deserializer="bytes", value_deserializer="bytes")
    app.dataframe(topic).update(fold, stateful=True, metadata=True)
    app.run(count=work.events, collect=False)  # returns after its last checkpoint is committed
    clock.report()


if __name__ == "__main__":
    main()

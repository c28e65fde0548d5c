"""Which reader a log needs: a recorded file, an archive of `success export`, a CSV, or the simulated population."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from agents.health.suppliers import Supplier
from replay.churn.csv_log import parse_mapping, read_csv
from replay.impact.world import agents_log
from replay.log.activity_log import ActivityLog, LogError, log_of, read_lines
from replay.log.eras import earlier_eras, present_era
from replay.log.source import ArchiveSource
from replay.log.stream import Stream, Told, as_played
from scoring.health.events import Event

SIMULATED_DAYS = 240


def read_log(path: Path, mapping: Sequence[str] = (), horizon_days: float | None = None) -> ActivityLog:
    """The log at `path`; LogError where it can't be read.

    A folder is an archive; a file whose first line is JSON is a recorded file of ours; everything else is a CSV.
    """
    if path.is_dir():
        log = read_archive(path)
    elif mapping or not _is_json_lines(path):
        return read_csv(path, parse_mapping(mapping), horizon_days)
    else:
        log = read_lines(path)
    if mapping or horizon_days is not None:
        raise LogError(
            "--map and --horizon are for CSV files: our own logs say what they mean, 30 days ahead"
        )
    return log


def read_archive(folder: Path) -> ActivityLog:
    """All activity in an archive."""
    found: dict[str, list[Event]] = defaultdict(list)
    with ArchiveSource(folder).opened() as source:
        bounds = source.bounds()

        def tell(supplier: Supplier, told: Sequence[Told]) -> None:
            found[supplier.id] += (event for event, _ in told)

        homes = source.homes()
        present = [present_era(homes, partition, held) for partition, held in bounds.items()]
        for era in [*earlier_eras(homes, bounds), *present]:
            stream = Stream(
                era.partition, era.homes.partitions, as_played, tell=tell, homes=era.homes, brings_home=False
            )
            for records in source.records(era.partition, era.start, era.end):
                stream.process(records)
    return log_of(folder.name, found)


def simulated_log(suppliers: int, seed: int) -> ActivityLog:
    """The log of the simulated population, whose people know nothing of scores."""
    return agents_log(suppliers, SIMULATED_DAYS, seed)


def _is_json_lines(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(64).lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{")
    except OSError as error:
        raise LogError(f"can't read {path}: {error.strerror}") from error

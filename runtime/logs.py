"""Logs that help in trouble: one event a line, the same in all services, for people or as JSON.

One line for what is wrong, repeated at most each 30 s with a count; ids as fields; never an address or a token.
"""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING

import orjson
import structlog

from runtime.away import SAID_EVERY_S, passing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from structlog.typing import EventDict

    from runtime.settings import Settings

OURS = ("success", "topics", "scoring", "agents", "store", "runtime", "embedded", "api", "cli", "replay")
SPEAK_FOR_FAUST = tuple(f"agents.engine.{name}" for name in ("faust_app", "recovery", "table", "transport"))
"""Modules in whose names Faust logs what it does."""
LONGEST = 16_000
"""Characters of a line's text."""

LIBRARIES = ("aiokafka", "psycopg", "faust", "mode", "kafka")
"""Each says one trouble in many ways, a line for every connection and attempt: they count as one."""


class OncePerTrouble(logging.Filter):
    """Lets a warning or error through once each 30 s and counts the others; an error that passes has no traceback.

    What counts as the same: our own lines by their words before the numbers, a library's by its name.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._said_at: dict[tuple[str, int, str], float] = {}
        self._held: dict[tuple[str, int, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        if record.levelno < logging.WARNING or record.levelno >= logging.CRITICAL:
            return True
        library = record.name.partition(".")[0]
        is_librarys = library in LIBRARIES
        self._shorten(record, is_librarys=is_librarys)
        key = (library, 0, "") if is_librarys else (record.name, record.lineno, str(record.args))
        now = self._now()
        if now - self._said_at.get(key, float("-inf")) < SAID_EVERY_S:
            self._held[key] = self._held.get(key, 0) + 1
            return False
        if len(self._said_at) > _REMEMBERED:
            self._forget(now)
        self._said_at[key] = now
        if held := self._held.pop(key, 0):
            record.msg = (
                f"{record.getMessage()} ({held} more like this in the {SAID_EVERY_S:.0f} s after the last)"
            )
            record.args = ()
        return True

    def _forget(self, now: float) -> None:
        self._said_at = {key: at for key, at in self._said_at.items() if now - at < SAID_EVERY_S}
        self._held = {key: held for key, held in self._held.items() if key in self._said_at}

    @staticmethod
    def _shorten(record: logging.LogRecord, *, is_librarys: bool) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            return
        why = passing(error)
        if why is not None or is_librarys:
            said = why.why if why else f"{type(error).__name__}: {error}"
            record.msg = " ".join(f"{record.getMessage()} ({said})".split())
            record.args, record.exc_info, record.exc_text = (), None, None
        elif record.levelno < logging.ERROR:
            record.exc_info = None


_REMEMBERED = 1_000


def to_standard_error(service: str, settings: Settings, *, verbose: bool = False) -> None:
    """Write what this service says on standard error: one event a line, troubles once, nobody's address.

    `SUCCESS_LOG_LEVEL` is for our own words. Libraries warn, and with `verbose` inform: never more, for their debugging
    quotes what they send and read.
    """
    _to(logging.StreamHandler(), service, settings, verbose=verbose)


def to_file(path: Path, service: str, settings: Settings) -> None:
    """The same into a file, where the screen is somebody else's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _to(logging.FileHandler(path), service, settings)


def _to(handler: logging.Handler, service: str, settings: Settings, *, verbose: bool = False) -> None:
    level = logging.getLevelName(settings.log_level.upper())
    libraries = max(level, logging.INFO if verbose else logging.WARNING)
    handler.setFormatter(formatter(service, settings.log_format))
    handler.addFilter(OncePerTrouble())
    logging.basicConfig(handlers=[handler], level=libraries, force=True)
    for name in OURS:
        logging.getLogger(name).setLevel(level)
    for name in SPEAK_FOR_FAUST:
        logging.getLogger(name).setLevel(libraries)
    logging.getLogger("uvicorn").setLevel(max(level, logging.INFO))


def formatter(service: str, form: str) -> logging.Formatter:
    """What turns a record into a line: `text` for people, `json` for machines, with the same content."""

    def named(_: object, __: str, event: EventDict) -> EventDict:
        return {**event, "service": service}

    render = structlog.processors.JSONRenderer(serializer=_json) if form == "json" else _text
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            structlog.processors.format_exc_info,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            named,
            _with_ids,
            _without_secrets,
            render,
        ],
    )


def _with_ids(_: object, __: str, event: EventDict) -> EventDict:
    """The ids that a line names, as fields of their own, by which it is found."""
    for kind, identity in _IDS.findall(str(event["event"])):
        event.setdefault(kind, identity)
    return event


def _without_secrets(_: object, __: str, event: EventDict) -> EventDict:
    """Whoever wrote a line: no address, number to call or token leaves in it, and no more than fits a line."""
    return {name: clean(value) if isinstance(value, str) else value for name, value in event.items()}


def clean(text: str) -> str:
    """The text without addresses, numbers to call and tokens, cut off where it is very long."""
    if len(text) > LONGEST:
        text = text[:LONGEST] + "..."
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def _text(_: object, __: str, event: EventDict) -> str:
    said = " ".join(str(event.pop("event")).splitlines())
    at, level, logger = event.pop("at"), str(event.pop("level")).upper(), event.pop("logger")
    trace = event.pop("exception", "")
    del event["service"]
    more = "".join(f" {name}={value}" for name, value in event.items() if str(value) not in said)
    return f"{at} {level} {logger}: {said}{more}" + "".join(f"\n    {line}" for line in trace.splitlines())


def _json(event: EventDict, **_: object) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_SORT_KEYS).decode()


_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_IDS = re.compile(rf"\b(supplier|intervention|event|signal|mail|call|message) ({_UUID})\b")
_SECRETS = (
    (re.compile(r"[^\s<>\"'(),;=\[\]]+@[^\s<>\"'(),;\[\]]+"), "<address>"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), "<token>"),
    (re.compile(r"(/e/[a-z]+/)[^\s?\"']+"), r"\1<token>"),
    (re.compile(r"(?i)\b(bearer |(?:token|password|secret|code|state)=)[^\s&\"']+"), r"\1<token>"),
    (re.compile(r"\+\d{8,15}\b"), "<number>"),
)

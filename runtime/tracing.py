"""Traces by OpenTelemetry, from an event to its email, where an OTLP endpoint is set; else nothing of it is imported.

Spans hold ids and names of ours, never an address, a path or a text of somebody's. The context travels as W3C
`traceparent`: with an event, in a header of our signals, in the `metadata` of a row.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

import msgspec

from runtime.errors import SettingsError

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer

Headers = Sequence[tuple[str, bytes | None]]
Kind = Literal["internal", "server", "client", "producer", "consumer"]

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL = "http/protobuf"
HEADER = "traceparent"
OF_EVENTS = "ce_traceparent"
"""The header of CloudEvents' binary mode; a structured event has it as an attribute."""
STOP_WITHIN_S = 3.0
"""How long the end of a service waits for spans to be taken; what is not by then is lost."""
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


class _Event(msgspec.Struct):
    traceparent: str = ""


_decode = msgspec.json.Decoder(_Event).decode


class _Running:
    """What this process traces with; None where it does not."""

    tracer: Tracer | None = None


def endpoint() -> str | None:
    """The variable that says where traces go, if one does."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    return next((name for name in ENDPOINTS if os.environ.get(name)), None)


@contextmanager
def traced(service: str) -> Iterator[None]:
    """Trace what this process does meanwhile, where an endpoint is set; SettingsError if it can't be done."""
    told_by = endpoint()
    if told_by is None:
        yield
        return
    exporter = _exporter(told_by)
    provider = _provider(service, exporter)
    _Running.tracer = provider.get_tracer("wedsync-success", version("wedsync-success"))
    try:
        yield
    finally:
        _Running.tracer = None
        ending = threading.Thread(target=provider.shutdown, daemon=True)
        ending.start()
        ending.join(STOP_WITHIN_S)
        if ending.is_alive():  # a collector that is away must not hold up the end, nor be asked any more
            exporter.shutdown()


def is_on() -> bool:
    """Whether this process traces."""
    return _Running.tracer is not None


def begin(
    name: str, parent: str | None, ids: Mapping[str, str | Sequence[str]], kind: Kind = "internal"
) -> Span:
    """Begin a span below the `traceparent` of another, or a trace of its own; only where `is_on`.

    `ids`: what it is about, each by the name that a person looks for it.
    """
    if _Running.tracer is None:
        raise RuntimeError("nothing is traced here")
    from opentelemetry.trace import SpanKind  # noqa: PLC0415 - only where it traces

    attributes = {f"success.{name}": value for name, value in ids.items()}
    return _Running.tracer.start_span(
        name, _context(parent), kind=SpanKind[kind.upper()], attributes=attributes
    )


def end(span: Span | None, *, failed: bool = False, **ids: str) -> None:
    """End a span, if there is one, with what has become of it."""
    if span is None:
        return
    from opentelemetry.trace import StatusCode  # noqa: PLC0415

    span.set_attributes({f"success.{name}": value for name, value in ids.items()})
    if failed:
        span.set_status(StatusCode.ERROR)
    span.end()


def traceparent(span: Span) -> str:
    """The context of a span, for whoever goes on from it."""
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


@contextmanager
def within(span: Span) -> Iterator[None]:
    """What is published meanwhile belongs to that span."""
    from opentelemetry.trace import use_span  # noqa: PLC0415

    # No exceptions: their words may name somebody.
    with use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False):
        yield


def current() -> list[tuple[str, bytes]]:
    """The header of what is published `within` a span; none elsewhere."""
    if _Running.tracer is None:
        return []
    from opentelemetry.trace import get_current_span  # noqa: PLC0415

    span = get_current_span()
    return [(HEADER, traceparent(span).encode())] if span.get_span_context().is_valid else []


def carried(headers: Headers) -> str | None:
    """The context in the headers of a record of ours."""
    return _valid(_header(headers, HEADER))


def of_event(headers: Headers, value: bytes | None) -> str | None:
    """The context that an event came with: its own in either mode, else that of its record; None if it is not one."""
    named = {name.lower() for name, _ in headers}
    own = _header(headers, OF_EVENTS)
    if own is None and value and b"traceparent" in value and "ce_specversion" not in named:
        own = _attribute(value)
    return _valid(own) or carried(headers)


def _attribute(value: bytes) -> str | None:
    try:
        return _decode(value).traceparent
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _header(headers: Headers, wanted: str) -> str | None:
    found = [value for name, value in headers if name.lower() == wanted and value is not None]
    return found[-1].decode(errors="replace") if found else None


def _valid(text: str | None) -> str | None:
    """The text if it is a traceparent; whatever comes from outside is looked at before it goes anywhere."""
    if text is None or (match := _TRACEPARENT.fullmatch(text)) is None:
        return None
    return text if text[:2] != "00" or match[1] is None else None


def _context(parent: str | None) -> Context:
    from opentelemetry.context import Context  # noqa: PLC0415
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    return TraceContextTextMapPropagator().extract({HEADER: parent} if parent else {}, Context())


def _exporter(told_by: str) -> SpanExporter:
    protocol = next((os.environ[name] for name in PROTOCOLS if os.environ.get(name)), PROTOCOL)
    if protocol != PROTOCOL:
        raise SettingsError(
            f"{told_by}: traces are sent by OTLP as {PROTOCOL}, not as {protocol}: name a collector's HTTP port "
            "(usually 4318), and unset OTEL_EXPORTER_OTLP_PROTOCOL"
        )
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: F401, PLC0415
    except ModuleNotFoundError as error:
        raise SettingsError(
            f'{told_by} is set, and traces need the extra "traces": pip install "wedsync-success[traces]" (or uv tool '
            "install, pipx); or unset it"
        ) from error
    return OTLPSpanExporter()


def _provider(service: str, exporter: SpanExporter) -> TracerProvider:
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    named = os.environ.get("OTEL_SERVICE_NAME") or f"success-{service}"
    resource = Resource.create({"service.name": named, "service.version": version("wedsync-success")})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider

"""A collector of traces: an OTLP/HTTP receiver that reads what it is sent and keeps it."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PATIENCE_S = 60.0


@dataclass(frozen=True)
class Span:
    """A span as a collector shows it; ids in hex."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, Any]
    failed: bool


class Collector:
    """What has arrived, as spans and as bytes."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.received = b""
        self.paths: set[str] = set()
        self.port = 0

    @property
    def environment(self) -> dict[str, str]:
        """What has a process send its traces here, soon after they are made."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.port}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }

    def take(self, path: str, body: bytes) -> None:
        """Read one request."""
        self.paths.add(path)
        self.received += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = _attributes(resource.resource.attributes)["service.name"]
            for scope in resource.scope_spans:
                self.spans += [
                    Span(
                        service,
                        span.name,
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        _attributes(span.attributes),
                        span.status.code == 2,
                    )
                    for span in scope.spans
                ]

    def until(self, name: str, is_it: Callable[[Span], bool] = lambda _: True) -> Span:
        """The first span of that name that is the one, once it has arrived."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := [span for span in self.spans if span.name == name and is_it(span)]):
            assert time.monotonic() < deadline, (name, self.spans)
            time.sleep(0.05)
        return found[0]

    def above(self, span: Span) -> list[str]:
        """The names of the spans above one, the nearest first; at last the id of one that is not ours."""
        names, by_id = [], {each.id: each for each in self.spans}
        while span.parent in by_id:
            span = by_id[span.parent]
            names.append(span.name)
        return [*names, span.parent] if span.parent else names


def _attributes(pairs: Any) -> dict[str, Any]:
    return {
        pair.key: [each.string_value for each in pair.value.array_value.values]
        if pair.value.HasField("array_value")
        else getattr(pair.value, pair.value.WhichOneof("value"))
        for pair in pairs
    }


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that listens."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.take(
                self.path, gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body
            )
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()

"""Tracing: nothing of it without an endpoint, and a context that came from outside is looked at first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime import tracing
from runtime.errors import SettingsError
from tests.collector import collecting
from tests.factories import cloudevent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"
OTHER = f"00-{TRACE[::-1]}-{SPAN}-01"
SERVICES = """
import sys
import agents.app, agents.delivery.service, agents.worker, cli.services.worker_process, cli.services.deliver_process
from runtime.tracing import is_on, traced
with traced("worker"):
    assert not is_on()
found = [name for name in sys.modules if name.partition(".")[0] == "opentelemetry"]
assert not found, found
import cli.services.api
from api.app import build_app
with traced("api"):
    pass
found = [name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))]
assert not found, found  # FastAPI itself has the interfaces
"""
START = 'import sys; from cli.main import run; sys.exit(run(["{service}", "--no-wait"]))'
WITHOUT = 'import sys; sys.modules["opentelemetry.exporter.otlp.proto.http.trace_exporter"] = None'
SECRETS = {
    f"SUCCESS_{name}": f"{name}, as long as it must be at least"
    for name in ("JWT_SECRET", "WEBHOOK_SECRET", "SECRET_KEY")
}


@pytest.fixture(autouse=True)
def _no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


def python(code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=os.environ | environment,
        timeout=60,
    )


def test_without_an_endpoint_no_service_imports_any_of_it(tmp_path: Path) -> None:
    done = python(SERVICES, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("service", ["worker", "deliver", "api"])
def test_a_service_without_the_extra_says_in_one_line_what_to_install(service: str, tmp_path: Path) -> None:
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "PYTHONPATH": str(tmp_path)}
    (tmp_path / "sitecustomize.py").write_text(WITHOUT)  # children of the service have it too

    done = python(START.format(service=service), tmp_path, **SECRETS, **told)

    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("error: OTEL_EXPORTER_OTLP_ENDPOINT is set, and traces need the extra")
    assert 'pip install "wedsync-success[traces]"' in done.stderr


def test_another_protocol_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(SettingsError, match="as http/protobuf, not as grpc: name a collector's HTTP port"):
        tracing.traced("worker").__enter__()


def test_the_sdk_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with tracing.traced("worker"):
        assert not tracing.is_on()


AWAY = """
import time
from runtime import tracing
with tracing.traced("worker"):
    tracing.end(tracing.begin("something", None, {}))
    began = time.monotonic()
print(time.monotonic() - began)
"""


def test_a_collector_that_is_away_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with collecting() as gone:
        environment = gone.environment

    began = time.monotonic()
    done = python(AWAY, tmp_path, **environment)

    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 2 * tracing.STOP_WITHIN_S
    assert time.monotonic() - began < 30  # of a busy machine; the exporter itself would try for longer


def structured(**attributes: object) -> bytes:
    return json.dumps(cloudevent(**attributes)).encode()


BINARY = [("ce_specversion", b"1.0"), ("ce_type", b"form.created")]


def test_an_event_brings_its_context_in_either_mode_and_its_own_goes_before_its_records() -> None:
    assert tracing.of_event([*BINARY, ("ce_traceparent", GOOD.encode())], b"{}") == GOOD
    assert tracing.of_event([("CE_Traceparent", GOOD.encode())], b"{}") == GOOD
    assert tracing.of_event((), structured(traceparent=GOOD)) == GOOD
    assert tracing.of_event([("traceparent", OTHER.encode())], structured(traceparent=GOOD)) == GOOD
    assert tracing.of_event([("traceparent", OTHER.encode())], structured()) == OTHER
    assert tracing.of_event((), structured()) is None


def test_data_of_a_binary_event_is_no_context() -> None:
    assert tracing.of_event(BINARY, json.dumps({"traceparent": GOOD}).encode()) is None


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "zuleika@private.example",
        GOOD.upper(),
        GOOD[:-1],
        f"{GOOD}-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f" {GOOD}",
    ],
)
def test_what_is_no_traceparent_is_ignored(wrong: str) -> None:
    assert tracing.of_event([*BINARY, ("ce_traceparent", wrong.encode())], b"{}") is None
    assert tracing.of_event((), structured(traceparent=wrong)) is None
    assert tracing.of_event([("ce_traceparent", b"\xff\xfe")], b"{") is None


@pytest.mark.parametrize("value", [b'{"traceparent": 7}', b'{"traceparent"', b'\xff"traceparent"', None])
def test_whatever_bytes_come_nothing_is_raised(value: bytes | None) -> None:
    assert tracing.of_event((), value) is None


def test_a_later_version_of_the_header_is_read_as_far_as_it_is_known() -> None:
    later = f"01-{TRACE}-{SPAN}-01-and-more"
    assert tracing.of_event([("ce_traceparent", later.encode())], b"{}") == later

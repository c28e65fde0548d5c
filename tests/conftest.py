"""Fixtures for every test: one real stack a session, and settings with topics and a database of their own."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from agents.cluster.provisioning import create_topics
from embedded.registry import Addresses
from embedded.stack import Stack
from runtime.settings import Settings
from store.migrate import migrate as create_tables
from tests.agents.delivery.mail_server import MailServer
from tests.embedded.containers import servers_in_containers
from tests.embedded.sink import mail_sink
from tests.forms import LONG
from tests.reference.topics import delete_topics
from tests.store.databases import database, drop_templates, template_on

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

SECRETS = {
    name: f"{name} of the tests, as long as a secret must be"
    for name in ("jwt_secret", "webhook_secret", "secret_key")
}
PARTITIONS = 4

OF_TESTS = ("SUCCESS_TEST_", "SUCCESS_LONG_")
for name in [name for name in os.environ if name.startswith("SUCCESS_") and not name.startswith(OF_TESTS)]:
    # A shell that is set up for production is no place that tests write to; what they start inherits this.
    del os.environ[name]

# Databases and topics are hundreds of small files each, which take a disk up to ten times as long as memory.
MEMORY, ROOM_BYTES = "/dev/shm", 8 * 2**30  # noqa: S108 - each test has a folder of its own there
if (
    not LONG
    and "TMPDIR" not in os.environ
    and Path(MEMORY).is_dir()
    and shutil.disk_usage(MEMORY).free > ROOM_BYTES
):
    os.environ["TMPDIR"] = MEMORY
    tempfile.tempdir = None  # it is asked again

# Brokers that live for minutes: optimizing their code would cost more than it gives.
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")

# A busy machine makes no test fail: none asserts a time.
# The short forms try the same examples each time; the long ones look for others.
hypothesis.settings.register_profile("tests", deadline=None, derandomize=not LONG)
hypothesis.settings.load_profile("tests")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what runs in the background deaf to Ctrl-C, and all it starts; tests send it to commands.
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # nohup's doing, inherited alike
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave to `make test-long` what is marked as long."""
    if not LONG and (left := [item for item in items if item.get_closest_marker("long")]):
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    """A real Kafka, PostgreSQL and mail folder: from the environment, else Docker, else embedded."""
    with ExitStack() as cleanup:
        servers = servers_from_environment() or servers_in_containers(cleanup)
        if servers:
            kafka, database_url = servers
            smtp, mail_dir = cleanup.enter_context(mail_sink(tmp_path_factory.mktemp("sink")))
            addresses = Addresses(kafka, database_url, smtp, mail_dir)
        else:
            embedded = Stack(ephemeral=True)
            cleanup.callback(embedded.stop)
            addresses = embedded.start()
        cleanup.callback(drop_templates)
        yield addresses


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    """An SMTP server that answers as it is told and keeps what it accepts."""
    server = MailServer()
    server.start()
    yield server
    server.stop()


def servers_from_environment() -> tuple[str, str] | None:
    """Bootstrap servers and database URL, if given; one without the other is a mistake."""
    kafka, database_url = (os.environ.get(f"SUCCESS_TEST_{name}") for name in ("KAFKA", "DATABASE_URL"))
    if bool(kafka) != bool(database_url):
        raise pytest.UsageError("set both SUCCESS_TEST_KAFKA and SUCCESS_TEST_DATABASE_URL, or neither")
    return (kafka, database_url) if kafka and database_url else None


@pytest.fixture
def settings(stack: Addresses, tmp_path: Path) -> Iterator[Settings]:
    """Settings with a topic prefix, a migrated database and a state folder that no other test has."""
    with own_settings(stack, tmp_path / "state") as own:
        yield own


@contextmanager
def own_settings(stack: Addresses, state_dir: Path, **more: Any) -> Iterator[Settings]:
    """Topics and a database of one's own, migrated, and their settings (`more`: further ones); all gone afterwards."""
    name = f"t{uuid.uuid4().hex[:12]}"
    with database(stack.database_url, template_on(stack.database_url), name) as database_url:
        own = Settings(
            kafka=stack.kafka,
            database_url=database_url,
            smtp_url=stack.smtp,
            topic_prefix=f"{name}.",
            partitions=PARTITIONS,
            state_dir=state_dir,
            development=True,
            metrics_port=more.get("api_port"),
            **SECRETS,
            **more,
        )
        in_own_loop(create_topics(own))
        yield own
        in_own_loop(delete_topics(own))


def migrate(settings: Settings) -> None:
    """Create the tables and topics, as `success migrate` does."""
    create_tables(settings.database_url)
    in_own_loop(create_topics(settings))


def in_own_loop(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in a thread with a loop of its own, whatever the test does with its own."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(asyncio.run, coroutine).result()

"""Where settings come from, what is said of wrong ones, and when a secret may have its public default."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import psutil
import pytest

from runtime import embedded
from runtime.embedded import ProcessRecord, StackRecord, register, registry_dir
from runtime.settings import EMBEDDED_SECRET, Settings, SettingsError

if TYPE_CHECKING:
    from pathlib import Path

PRODUCTION = {"kafka": "kafka.example.com:9092", "database_url": "postgresql://owner@db.example.com/success"}


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variables of ours, and a registry and working folder of the test's own."""
    for name in list(os.environ):
        if name.startswith("SUCCESS_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(embedded.tempfile, "gettempdir", lambda: str(tmp_path))


def live_stack(data_dir: Path, kafka_port: int = 40001, postgres_port: int = 40002) -> StackRecord:
    """The record of a stack whose "servers" are this very process."""
    process = psutil.Process()

    def record(port: int) -> ProcessRecord:
        return ProcessRecord(process.pid, process.create_time(), process.cmdline()[0], port)

    stack = StackRecord(
        processes={"kafka": record(kafka_port), "postgres": record(postgres_port), "smtp": record(40003)}
    )
    data_dir.mkdir(exist_ok=True)
    stack.save(data_dir)
    return stack


def test_without_anything_the_default_ports_hold() -> None:
    settings = Settings()

    assert settings.kafka == "127.0.0.1:19092"
    assert settings.database_url == "postgresql://postgres@127.0.0.1:15432/success"
    assert settings.smtp_url == "smtp://127.0.0.1:11025"


def test_the_stack_of_the_state_folder_gives_the_addresses(tmp_path: Path) -> None:
    live_stack(tmp_path / "elsewhere")

    settings = Settings(state_dir=tmp_path / "elsewhere")

    assert settings.kafka == "127.0.0.1:40001"
    assert settings.database_url == "postgresql://postgres@127.0.0.1:40002/success"
    assert settings.smtp_url == "smtp://127.0.0.1:40003"


def test_the_state_folder_may_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live_stack(tmp_path / "elsewhere")
    monkeypatch.setenv("SUCCESS_STATE_DIR", str(tmp_path / "elsewhere"))

    assert Settings().kafka == "127.0.0.1:40001"


def test_the_environment_goes_before_the_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live_stack(tmp_path / ".success")
    monkeypatch.setenv("SUCCESS_KAFKA", "kafka.example.com:9092")
    monkeypatch.setenv("SUCCESS_SMTP_URL", "")

    settings = Settings()

    assert settings.kafka == "kafka.example.com:9092"
    assert settings.smtp_url == "smtp://127.0.0.1:40003"  # an empty variable counts as not set


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("SUCCESS_PARTITIONS", "0", "greater than or equal to 1"),
        ("SUCCESS_JWKS_URL", "issuer.example.com/hush", "https://issuer.example.com/keys"),
        ("SUCCESS_KAFKA_SSL_CAFILE", "/nowhere/hush.pem", "no such file"),
        ("SUCCESS_KAFKA_SASL_MECHANISM", "hush", "SCRAM-SHA-512"),
        ("SUCCESS_MAIL_FROM", "hush", "hello@wedsync.example"),
        ("SUCCESS_MAIL_FROM", "WedSync <a@hush@b>", "hello@wedsync.example"),
        ("SUCCESS_MAIL_RETURN_PATH", "@hush.example", "hello@wedsync.example"),
        ("SUCCESS_PARTITIONS", "many", "valid integer"),
        ("SUCCESS_KAFKA", "localhost:port", "host:port"),
        ("SUCCESS_DATABASE_URL", "mysql://root:hush@localhost/x", "postgresql://"),
        ("SUCCESS_SMTP_URL", "http://user:hush@localhost", "smtp://"),
        ("SUCCESS_TOPIC_PREFIX", "a b", "pattern"),
        ("SUCCESS_KAFKA_SECURITY_PROTOCOL", "TLS", "PLAINTEXT"),
    ],
)
def test_a_wrong_value_names_its_variable_and_repeats_no_password(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(SettingsError) as caught:
        Settings()

    message = str(caught.value)
    assert message.startswith(f"{variable}: ")
    assert said in message
    assert "hush" not in message
    assert "\n" not in message


def test_sasl_without_a_password_says_which_variable_is_missing() -> None:
    with pytest.raises(SettingsError, match=r"SASL_SSL needs SUCCESS_KAFKA_SASL_PASSWORD$"):
        Settings(kafka_security_protocol="SASL_SSL", kafka_sasl_username="worker")


def test_another_process_gets_the_same_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = Settings(**PRODUCTION, secret_key="k", partitions=3, topic_prefix="p.", state_dir=tmp_path)
    for name, value in settings.as_env().items():
        monkeypatch.setenv(name, value)

    assert Settings() == settings


def test_passwords_and_secrets_are_not_printed() -> None:
    settings = Settings(
        database_url="postgresql://owner:hush@localhost/x", secret_key="hush", kafka_sasl_password="hush"
    )

    assert "hush" not in repr(settings)


@pytest.mark.parametrize("name", ["secret_key", "jwt_secret", "webhook_secret"])
def test_a_secret_that_is_set_is_taken_anywhere(name: str) -> None:
    assert Settings(**PRODUCTION, **{name: "long and random"}).secret(name) == "long and random"  # type: ignore[arg-type]


def test_with_a_running_embedded_stack_the_default_is_given(tmp_path: Path) -> None:
    live_stack(tmp_path / "data")
    register(tmp_path / "data")

    settings = Settings(kafka="localhost:40001", database_url="postgresql://postgres@127.0.0.1:40002/other")

    assert settings.secret("secret_key") == EMBEDDED_SECRET


@pytest.mark.parametrize(
    ("kafka", "database_port"),
    [
        ("127.0.0.1:40009", 40002),
        ("127.0.0.1:40001", 40009),
        ("127.0.0.1:40001,kafka.example.com:9092", 40002),
        ("kafka.example.com:40001", 40002),
    ],
)
def test_both_addresses_must_be_the_embedded_stacks(tmp_path: Path, kafka: str, database_port: int) -> None:
    live_stack(tmp_path / "data")
    register(tmp_path / "data")
    settings = Settings(kafka=kafka, database_url=f"postgresql://postgres@127.0.0.1:{database_port}/success")

    with pytest.raises(SettingsError, match="SUCCESS_SECRET_KEY is not set"):
        settings.secret("secret_key")


def test_the_addresses_of_two_different_stacks_are_not_one_stack(tmp_path: Path) -> None:
    for name, kafka, postgres in (("a", 40001, 40002), ("b", 40011, 40012)):
        live_stack(tmp_path / name, kafka, postgres)
        register(tmp_path / name)
    settings = Settings(kafka="127.0.0.1:40001", database_url="postgresql://postgres@127.0.0.1:40012/success")

    with pytest.raises(SettingsError, match="SUCCESS_SECRET_KEY"):
        settings.secret("secret_key")


def test_a_loopback_address_alone_proves_nothing(tmp_path: Path) -> None:
    live_stack(tmp_path / ".success")  # recorded, but not in the registry

    with pytest.raises(SettingsError, match="SUCCESS_JWT_SECRET is not set"):
        Settings().secret("jwt_secret")


def test_a_stack_whose_processes_are_gone_proves_nothing(tmp_path: Path) -> None:
    live_stack(tmp_path / "data")
    register(tmp_path / "data")
    path = tmp_path / "data" / "stack.json"
    document = json.loads(path.read_text())
    document["processes"]["kafka"]["created"] -= 60  # another process had that id then
    path.write_text(json.dumps(document))

    with pytest.raises(SettingsError, match="SUCCESS_SECRET_KEY"):
        Settings(state_dir=tmp_path / "data").secret("secret_key")


def test_a_registry_that_others_can_write_to_is_not_believed(tmp_path: Path) -> None:
    live_stack(tmp_path / "data")
    register(tmp_path / "data")
    registry_dir().chmod(0o777)

    with pytest.raises(SettingsError, match="SUCCESS_SECRET_KEY"):
        Settings(state_dir=tmp_path / "data").secret("secret_key")
    with pytest.raises(PermissionError, match="open to other users"):
        register(tmp_path / "data")


def test_the_public_default_set_by_hand_is_refused_in_production() -> None:
    settings = Settings(**PRODUCTION, secret_key=EMBEDDED_SECRET)

    with pytest.raises(SettingsError, match="SUCCESS_SECRET_KEY has the embedded stack's public default"):
        settings.secret("secret_key")

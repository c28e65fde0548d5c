"""Where settings come from, what is said of wrong ones, and when a secret may have its public default."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import psutil
import pytest

from embedded import registry as embedded
from embedded.registry import ProcessRecord, StackRecord, register, registry_dir
from runtime import settings as module
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
    long = "long and random, at least 32 bytes of it"
    assert Settings(**PRODUCTION, **{name: long}).secret(name) == long  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["secret_key", "jwt_secret"])
def test_a_signing_secret_below_32_bytes_is_refused_outside_the_embedded_stack(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=f"SUCCESS_{name.upper()} has fewer than 32 bytes"):
        Settings(**PRODUCTION, **{name: "x" * 31}).secret(name)  # type: ignore[arg-type]
    assert Settings(**PRODUCTION, **{name: "ä" * 16}).secret(name)  # type: ignore[arg-type]
    live_stack(tmp_path / "data")
    register(tmp_path / "data")
    embedded_one = {"kafka": "127.0.0.1:40001", "database_url": "postgresql://postgres@127.0.0.1:40002/x"}
    assert Settings(**embedded_one, **{name: "short"}).secret(name) == "short"  # type: ignore[arg-type]


ISSUED = {"jwt_audience": "authenticated", "jwt_issuer": "https://issuer.example"}


def test_an_issuers_keys_need_an_audience_and_an_issuer() -> None:
    with pytest.raises(SettingsError, match="SUCCESS_JWT_AUDIENCE and SUCCESS_JWT_ISSUER"):
        Settings(jwks_url="https://issuer.example/keys")
    with pytest.raises(SettingsError, match="needs SUCCESS_JWT_ISSUER"):
        Settings(jwks_url="https://issuer.example/keys", jwt_audience="us")


def test_an_issuers_keys_come_over_https_unless_from_this_machine() -> None:
    with pytest.raises(SettingsError, match="SUCCESS_JWKS_URL must begin with https"):
        Settings(jwks_url="http://issuer.example/keys", **ISSUED)
    assert Settings(jwks_url="https://issuer.example/keys", **ISSUED).jwks_url
    assert Settings(jwks_url="http://127.0.0.1:99/keys", **ISSUED).jwks_url


@pytest.mark.parametrize("wrong", ["authenticated", "a=admin", "=agent"])
def test_foreign_roles_are_mapped_to_ours_only(wrong: str) -> None:
    with pytest.raises(SettingsError, match="SUCCESS_JWT_ROLES"):
        Settings(jwt_roles=wrong)
    assert Settings(jwt_roles="authenticated=supplier, service_role=service").jwt_roles


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


def test_a_secret_comes_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("of-the-file-" + "x" * 32 + "\n")
    for name in ("SECRET_KEY", "KAFKA_SASL_PASSWORD"):
        monkeypatch.setenv(f"SUCCESS_{name}_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("SUCCESS_KAFKA_SASL_PASSWORD", "of-the-environment")

    settings = Settings()

    assert settings.secret_key == "of-the-file-" + "x" * 32
    assert settings.kafka_sasl_password == "of-the-environment"


def test_a_secrets_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUCCESS_JWT_SECRET_FILE", "/no/such/file")

    with pytest.raises(SettingsError, match=r"^SUCCESS_JWT_SECRET_FILE: can't read /no/such/file: No such"):
        Settings()


def test_a_secret_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    for name in ("jwt_secret", "secret_key", "webhook_mailgun_key", "kafka_sasl_password"):
        file.write_text(f"{name} from a file, long and random\n", "utf-8")
        monkeypatch.setenv(f"SUCCESS_{name.upper()}_FILE", str(file))
        assert getattr(Settings(), name) == f"{name} from a file, long and random"
    monkeypatch.setenv("SUCCESS_JWT_SECRET", "the variable itself goes before")
    assert Settings().jwt_secret == "the variable itself goes before"


@pytest.mark.parametrize("content", [None, b"", b"\xff"])
def test_a_file_of_a_secret_that_is_of_no_use_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    monkeypatch.setenv("SUCCESS_SECRET_KEY_FILE", str(tmp_path / "secret"))
    with pytest.raises(SettingsError, match=r"^SUCCESS_SECRET_KEY_FILE: "):
        Settings()


def test_earlier_secrets_stand_a_line_each() -> None:
    settings = Settings(
        **PRODUCTION, secret_key="n" * 40, secret_key_previous="the one before\n the first \n"
    )
    keys = settings.keys("secret_key")
    assert keys.every == ("n" * 40, "the one before", "the first")
    assert "before" not in repr(keys) + repr(settings)


@pytest.mark.parametrize("is_embedded", [True, False])
def test_settled_settings_look_for_the_stack_once(
    monkeypatch: pytest.MonkeyPatch, *, is_embedded: bool
) -> None:
    looks = []
    monkeypatch.setattr(module, "is_embedded", lambda *given: looks.append(given) or is_embedded)
    settled = Settings().settled()
    for _ in range(3):
        if is_embedded:
            assert settled.secret("secret_key") == EMBEDDED_SECRET
        else:
            with pytest.raises(SettingsError):
                settled.secret("secret_key")
        assert settled.is_development() is is_embedded
    assert len(looks) == 1

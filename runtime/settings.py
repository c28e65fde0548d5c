"""Settings from the environment (prefix `SUCCESS_`), each with a default that fits the embedded stack."""

from __future__ import annotations

from email.errors import MessageError
from email.headerregistry import Address
from email.utils import parseaddr
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from limits import parse as parse_rate
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from runtime.embedded import (
    DEFAULT_KAFKA_PORT,
    DEFAULT_POSTGRES_PORT,
    DEFAULT_SMTP_PORT,
    database_url,
    endpoints,
    is_embedded,
    read_record,
)
from runtime.errors import SettingsError

EMBEDDED_SECRET = "embedded-stack-only"  # noqa: S105 - refused outside the embedded stack
PREFIX = "SUCCESS_"
STATE_DIR = Path(".success")

__all__ = ["EMBEDDED_SECRET", "Secret", "Settings", "SettingsError"]

Secret = Literal["jwt_secret", "webhook_secret", "secret_key"]


class EmbeddedStackSource(PydanticBaseSettingsSource):
    """The addresses of the stack that was started in the state folder; asked after the environment."""

    def get_field_value(self, _field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Nothing a field: `__call__` gives all at once."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Kafka, database and SMTP addresses, if `<state_dir>/stack.json` names them."""
        state_dir = Path(self.current_state.get("state_dir") or STATE_DIR).resolve()
        record = read_record(state_dir)
        addresses = record.addresses(state_dir) if record else None
        if addresses is None:
            return {}
        return {
            "kafka": addresses.kafka,
            "database_url": addresses.database_url,
            "smtp_url": addresses.smtp,
        }


class Settings(BaseSettings):
    """One object a process; see `docs/settings.md` for what each setting does.

    Raises SettingsError, one line that names every wrong variable.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    kafka: str = f"127.0.0.1:{DEFAULT_KAFKA_PORT}"
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    kafka_sasl_username: str | None = None
    kafka_sasl_password: str | None = Field(default=None, repr=False)
    kafka_ssl_cafile: Path | None = None
    database_url: str = Field(default=database_url(DEFAULT_POSTGRES_PORT), repr=False)
    smtp_url: str = Field(default=f"smtp://127.0.0.1:{DEFAULT_SMTP_PORT}", repr=False)
    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8000, ge=0, le=65535)
    cors_origins: str = ""
    rate_limit: str = "30000/minute"
    jwt_secret: str | None = Field(default=None, repr=False)
    jwks_url: str | None = None
    public_url: str = "http://127.0.0.1:8000"
    mail_from: str = "WedSync <hello@wedsync.example>"
    mail_return_path: str = "bounces@wedsync.example"
    mail_address: str = "WedSync Ltd, 1 Example Street, London, United Kingdom"
    dkim_key: Path | None = None
    dkim_selector: str = Field(default="success", pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?$")
    webhook_secret: str | None = Field(default=None, repr=False)
    secret_key: str | None = Field(default=None, repr=False)
    policy: Path | None = None
    shadow_policy: Path | None = None
    topic_prefix: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,200}$")
    partitions: int = Field(default=8, ge=1)
    state_dir: Path = STATE_DIR
    snapshot_seconds: float = Field(default=300.0, ge=0)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SettingsError("; ".join(_complaints(error))) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments before the environment before the stack of the state folder before the defaults."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, EmbeddedStackSource(settings_cls)

    @field_validator("kafka")
    @classmethod
    def _check_kafka(cls, value: str) -> str:
        if endpoints(value) is None:
            raise ValueError("give bootstrap servers as host:port, several with commas")
        return value

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, value: str) -> str:
        return _checked_url(
            value, {"postgresql", "postgres"}, "postgresql://user:password@host:port/database"
        )

    @field_validator("smtp_url")
    @classmethod
    def _check_smtp_url(cls, value: str) -> str:
        return _checked_url(value, {"smtp", "smtps"}, "smtp://user:password@host:port or smtps://…")

    @field_validator("jwks_url")
    @classmethod
    def _check_jwks_url(cls, value: str | None) -> str | None:
        return value and _checked_url(value, {"http", "https"}, "https://issuer.example.com/keys")

    @field_validator("kafka_ssl_cafile")
    @classmethod
    def _check_cafile(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError("there is no such file; give the certificates of the brokers' authority (PEM)")
        return value

    @field_validator("mail_from", "mail_return_path")
    @classmethod
    def _check_sender(cls, value: str) -> str:
        try:
            sender = Address(addr_spec=parseaddr(value)[1])
        except (MessageError, ValueError, IndexError):
            sender = Address()
        if not (sender.username and sender.domain):
            raise ValueError("give an address like WedSync <hello@wedsync.example>")
        return value

    @field_validator("rate_limit")
    @classmethod
    def _check_rate_limit(cls, value: str) -> str:
        try:
            if value != "off":
                parse_rate(value)
        except ValueError:
            raise ValueError("give a limit like 30000/minute, or off") from None
        return value

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, value: str) -> str:
        return _checked_url(value, {"http", "https"}, "https://host").rstrip("/")

    @model_validator(mode="after")
    def _check_sasl(self) -> Self:
        if self.kafka_security_protocol.startswith("SASL"):
            names = ("kafka_sasl_username", "kafka_sasl_password")
            missing = [variable(name) for name in names if not getattr(self, name)]
            if missing:
                raise ValueError(
                    f"{variable('kafka_security_protocol')}={self.kafka_security_protocol} "
                    f"needs {' and '.join(missing)}"
                )
        return self

    def secret(self, name: Secret) -> str:
        """A secret by its setting's name; the default is given only where the embedded stack is used.

        Raises SettingsError, which names the variable to set.
        """
        value: str | None = getattr(self, name)
        if value and value != EMBEDDED_SECRET:
            return value
        if is_embedded(self.kafka, self.database_url):
            return EMBEDDED_SECRET
        problem = "has the embedded stack's public default" if value else "is not set"
        raise SettingsError(
            f"{variable(name)} {problem}, and the addresses are not those of a running embedded stack: "
            "set it to a long random text, or start one with `success up`"
        )

    def as_env(self) -> dict[str, str]:
        """The environment variables that give another process these same settings."""
        values = self.model_dump(exclude_none=True)
        return {variable(name): str(value) for name, value in values.items() if value != ""}


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def _checked_url(value: str, schemes: set[str], example: str) -> str:
    """The URL; never repeated in the complaint, it may hold a password."""
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        parts = None
    if parts is None or parts.scheme not in schemes or not (parts.hostname or "host=" in parts.query):
        raise ValueError(f"give a URL like {example}")
    return value


def _complaints(error: ValidationError) -> list[str]:
    complaints = []
    for problem in error.errors(include_url=False, include_input=False):
        message = problem["msg"].removeprefix("Value error, ")
        name = ".".join(str(part) for part in problem["loc"])
        complaints.append(f"{variable(name)}: {message}" if name else message)
    return complaints

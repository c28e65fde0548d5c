"""Settings from the environment (prefix `SUCCESS_`), each with a default that fits the embedded stack."""

from __future__ import annotations

import base64
import os
from email.errors import MessageError
from email.headerregistry import Address
from email.utils import parseaddr
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, PrivateAttr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from embedded.registry import (
    DEFAULT_KAFKA_PORT,
    DEFAULT_POSTGRES_PORT,
    DEFAULT_SMTP_PORT,
    database_url,
    endpoints,
    is_embedded,
    read_record,
    servers_down,
)
from runtime.errors import SettingsError
from runtime.keys import Keys

EMBEDDED_SECRET = "embedded-stack-only, public to everybody"  # noqa: S105 - refused outside the embedded stack
SHORTEST_SECRET = 32
"""Bytes of a secret that signs with HMAC-SHA256, outside the embedded stack (RFC 7518, 3.2)."""
PREFIX = "SUCCESS_"
STAND_IN = "/demo/host"
"""Of the product, on the API of a development machine."""
STATE_DIR = Path(".success")
NOTE_KINDS = ("risk", "task", "call")

__all__ = ["EMBEDDED_SECRET", "ProviderSecret", "Secret", "Settings", "SettingsError"]

Secret = Literal["jwt_secret", "webhook_secret", "secret_key"]
_SIGNING = ("jwt_secret", "secret_key")
ProviderSecret = Literal[
    "webhook_sendgrid_key", "webhook_postmark_auth", "webhook_mailgun_key", "webhook_resend_secret"
]


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


class SecretFileSource(PydanticBaseSettingsSource):
    """Secrets from files: `SUCCESS_JWT_SECRET_FILE=/run/secrets/jwt`; asked after the variable itself.

    Every field that is kept out of `repr` can come so. Raises SettingsError where a file can't be read.
    """

    def get_field_value(self, _field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Nothing a field: `__call__` gives all at once."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """The contents of the files that are named, without the line break at their end."""
        named = {name: os.environ.get(f"{variable(name)}_FILE") for name in secret_settings()}
        return {name: _read_secret(name, file) for name, file in named.items() if file}


def _read_secret(name: str, file: str) -> str:
    try:
        content = Path(file).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f"{variable(name)}_FILE: can't read {file}: {reason}") from None
    if not content:
        raise SettingsError(f"{variable(name)}_FILE: {file} is empty")
    return content


class Settings(BaseSettings):
    """One object a process; see `docs/settings.md` for what each setting does.

    Raises SettingsError, one line that names every wrong variable.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )
    _embedded: bool | None = PrivateAttr(None)

    kafka: str = f"127.0.0.1:{DEFAULT_KAFKA_PORT}"
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = None
    kafka_sasl_username: str | None = None
    kafka_sasl_password: str | None = Field(default=None, repr=False)
    kafka_oauth_token_url: str | None = None
    kafka_oauth_client_id: str | None = None
    kafka_oauth_client_secret: str | None = Field(default=None, repr=False)
    kafka_oauth_scope: str | None = None
    kafka_ssl_cafile: Path | None = None
    kafka_ssl_certfile: Path | None = None
    kafka_ssl_keyfile: Path | None = None
    database_url: str = Field(default=database_url(DEFAULT_POSTGRES_PORT), repr=False)
    migrate_database_url: str | None = Field(default=None, repr=False)
    smtp_url: str = Field(default=f"smtp://127.0.0.1:{DEFAULT_SMTP_PORT}", repr=False)
    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8000, ge=0, le=65535)
    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    metrics_host: str | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"
    cors_origins: str = ""
    rate_limit: str = "30000/minute"
    jwt_secret: str | None = Field(default=None, repr=False)
    jwt_secret_previous: str | None = Field(default=None, repr=False)
    jwks_url: str | None = None
    jwt_audience: str | None = None
    jwt_issuer: str | None = None
    jwt_role_claim: str = "role"
    jwt_supplier_claim: str = "sub"
    jwt_roles: str = ""
    oidc_issuer: str | None = None
    oidc_client_id: str | None = None
    oidc_client_secret: str | None = Field(default=None, repr=False)
    oidc_scope: str = "openid profile email"
    oidc_agent_claim: str = "role"
    oidc_agent_value: str = "agent"
    oidc_name_claim: str = "sub"
    rules_editors: str = ""
    development: bool | None = None
    public_url: str = "http://127.0.0.1:8000"
    app_url: str | None = None
    mail_from: str = "WedSync <hello@wedsync.example>"
    mail_return_path: str = "bounces@wedsync.example"
    mail_address: str = "WedSync Ltd, 1 Example Street, London, United Kingdom"
    dkim_key: Path | None = None
    dkim_selector: str = Field(default="success", pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?$")
    webhook_secret: str | None = Field(default=None, repr=False)
    webhook_secret_previous: str | None = Field(default=None, repr=False)
    webhook_ses_topics: str = ""
    webhook_sendgrid_key: str | None = Field(default=None, repr=False)
    webhook_sendgrid_key_previous: str | None = Field(default=None, repr=False)
    webhook_postmark_auth: str | None = Field(default=None, repr=False)
    webhook_postmark_auth_previous: str | None = Field(default=None, repr=False)
    webhook_mailgun_key: str | None = Field(default=None, repr=False)
    webhook_mailgun_key_previous: str | None = Field(default=None, repr=False)
    webhook_resend_secret: str | None = Field(default=None, repr=False)
    webhook_resend_secret_previous: str | None = Field(default=None, repr=False)
    agents_webhook_url: str | None = Field(default=None, repr=False)
    agents_webhook_shape: Literal["standard", "slack", "teams"] = "standard"
    agents_webhook_types: str = ",".join(NOTE_KINDS)
    agents_webhook_secret: str | None = Field(default=None, repr=False)
    agents_webhook_secret_previous: str | None = Field(default=None, repr=False)
    secret_key: str | None = Field(default=None, repr=False)
    secret_key_previous: str | None = Field(default=None, repr=False)
    config_dir: Path | None = None
    policy: Path | None = None
    shadow_policy: Path | None = None
    topic_prefix: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,200}$")
    partitions: int = Field(default=8, ge=1)
    state_dir: Path = STATE_DIR
    keep_hits_days: int = Field(default=400, ge=30)
    keep_bounces_days: int = Field(default=400, ge=30)
    keep_words_days: int = Field(default=400, ge=30)
    keep_audit_days: int = Field(default=730, ge=30)
    keep_history_days: int = Field(default=800, ge=30)

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
        """Arguments, environment, files of secrets, the stack of the state folder, defaults: the first that has it."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, SecretFileSource(settings_cls), EmbeddedStackSource(settings_cls)

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("kafka")
    @classmethod
    def _check_kafka(cls, value: str) -> str:
        if endpoints(value) is None:
            raise ValueError("give bootstrap servers as host:port, several with commas")
        return value

    @field_validator("database_url", "migrate_database_url")
    @classmethod
    def _check_database_url(cls, value: str | None) -> str | None:
        return value and _checked_url(
            value, {"postgresql", "postgres"}, "postgresql://user:password@host:port/database"
        )

    @field_validator("smtp_url")
    @classmethod
    def _check_smtp_url(cls, value: str) -> str:
        return _checked_url(value, {"smtp", "smtps"}, "smtp://user:password@host:port or smtps://…")

    @field_validator("jwks_url", "oidc_issuer", "kafka_oauth_token_url")
    @classmethod
    def _check_jwks_url(cls, value: str | None) -> str | None:
        return value and _checked_url(value, {"http", "https"}, "https://issuer.example.com/keys")

    @field_validator("kafka_ssl_cafile", "kafka_ssl_certfile", "kafka_ssl_keyfile")
    @classmethod
    def _check_pem(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and not value.is_file():
            what = {
                "kafka_ssl_cafile": "the certificates of the brokers' authority",
                "kafka_ssl_certfile": "this client's certificate, with those between it and its authority",
            }.get(str(info.field_name), "the private key of this client's certificate, without a password")
            raise ValueError(f"there is no such file; give {what} (PEM)")
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
        from limits import parse  # noqa: PLC0415 - slow to import, and most commands are told no limit

        try:
            if value != "off":
                parse(value)
        except ValueError:
            raise ValueError("give a limit like 30000/minute, or off") from None
        return value

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, value: str) -> str:
        return _checked_url(value, {"http", "https"}, "https://host").rstrip("/")

    @field_validator("app_url")
    @classmethod
    def _check_app_url(cls, value: str | None) -> str | None:
        return value and _checked_url(value, {"http", "https"}, "https://app.example.com").rstrip("/")

    @model_validator(mode="after")
    def _check_sasl(self) -> Self:
        if self.kafka_security_protocol.startswith("SASL"):
            names: tuple[str, ...] = ("kafka_sasl_username", "kafka_sasl_password")
            if self.kafka_sasl_mechanism == "OAUTHBEARER":
                names = (
                    "kafka_oauth_token_url",
                    "kafka_oauth_client_id",
                    "kafka_oauth_client_secret",
                )
            missing = [variable(name) for name in names if not getattr(self, name)]
            if missing:
                raise ValueError(
                    f"{variable('kafka_security_protocol')}={self.kafka_security_protocol} "
                    f"needs {' and '.join(missing)}"
                )
        return self

    @model_validator(mode="after")
    def _check_client_certificate(self) -> Self:
        if self.kafka_ssl_keyfile and not self.kafka_ssl_certfile:
            raise ValueError(f"{variable('kafka_ssl_keyfile')} needs {variable('kafka_ssl_certfile')}")
        if self.kafka_ssl_certfile and self.kafka_security_protocol not in {"SSL", "SASL_SSL"}:
            raise ValueError(
                f"{variable('kafka_ssl_certfile')} needs {variable('kafka_security_protocol')}=SSL or SASL_SSL"
            )
        return self

    @field_validator("jwt_roles")
    @classmethod
    def _check_roles(cls, value: str) -> str:
        for pair in filter(None, (each.strip() for each in value.split(","))):
            foreign, _, ours = pair.partition("=")
            if not foreign.strip() or ours.strip() not in {"supplier", "agent", "service"}:
                raise ValueError("give pairs like authenticated=supplier; ours are supplier, agent, service")
        return value

    @field_validator("agents_webhook_types")
    @classmethod
    def _check_kinds(cls, value: str) -> str:
        if not set(filter(None, map(str.strip, value.split(",")))) <= set(NOTE_KINDS):
            raise ValueError(f"give some of {', '.join(NOTE_KINDS)}, with commas")
        return value

    @model_validator(mode="after")
    def _check_agents_webhook(self) -> Self:
        if self.agents_webhook_url is None:
            return self
        name = variable("agents_webhook_url")
        if not is_safe_address(_checked_url(self.agents_webhook_url, {"http", "https"}, "https://host/path")):
            raise ValueError(f"{name} must begin with https://")
        if self.agents_webhook_shape == "standard" and not self.agents_webhook_secret:
            raise ValueError(
                f"{name} needs {variable('agents_webhook_secret')}, by which its receiver knows us"
            )
        for key in self._agents_webhook_secrets():
            try:
                base64.b64decode(key.removeprefix("whsec_") + "==", validate=False)
            except ValueError:
                raise ValueError(
                    f"{variable('agents_webhook_secret')}: give whsec_ and base64, as Standard Webhooks have it"
                ) from None
        return self

    @model_validator(mode="after")
    def _check_oidc(self) -> Self:
        if self.oidc_issuer is None:
            return self
        if not self.oidc_client_id:
            raise ValueError(f"{variable('oidc_issuer')} needs {variable('oidc_client_id')}")
        if not is_safe_address(self.oidc_issuer):
            raise ValueError(f"{variable('oidc_issuer')} must begin with https://")
        return self

    @model_validator(mode="after")
    def _check_issuer(self) -> Self:
        if self.jwks_url is None:
            return self
        names = ("jwt_audience", "jwt_issuer")
        missing = [variable(name) for name in names if not getattr(self, name)]
        if missing:
            raise ValueError(
                f"{variable('jwks_url')} needs {' and '.join(missing)}: "
                "whom its tokens are for and who issues them, as their `aud` and `iss` say"
            )
        if not is_safe_address(self.jwks_url) and not self._is_embedded():
            raise ValueError(f"{variable('jwks_url')} must begin with https://")
        return self

    def secret(self, name: Secret) -> str:
        """A secret by its setting's name; the default is given only where the embedded stack is used.

        Raises SettingsError, which names the variable to set.
        """
        value: str | None = getattr(self, name)
        if value and value != EMBEDDED_SECRET:
            if name in _SIGNING and len(value.encode()) < SHORTEST_SECRET and not self._is_embedded():
                raise SettingsError(
                    f"{variable(name)} has fewer than {SHORTEST_SECRET} bytes: set it to a long random text"
                )
            return value
        if self._is_embedded():
            return EMBEDDED_SECRET
        problem = "has the embedded stack's public default" if value else "is not set"
        if down := servers_down(self.kafka, self.database_url):
            # The default stays refused: another program may listen there by now.
            raise SettingsError(
                f"{' and '.join(down)} of the embedded stack has ended: `success up` starts it again (it is what may "
                f"do without {variable(name)})"
            )
        raise SettingsError(
            f"no embedded stack is known at {self.kafka} and at the database's address (`success up` starts one), and "
            f"with servers of your own {variable(name)} {problem}: set it to a long random text"
        )

    def owner_database_url(self) -> str:
        """Where `migrate` and `retention` log in: as the owner, whom no service can become."""
        return self.migrate_database_url or self.database_url

    def product_url(self) -> str:
        """The product's own address, where buttons lead; on a development machine a page that stands in for it."""
        return self.app_url or self.public_url + (STAND_IN if self.is_development() else "")

    def knows_the_product(self) -> bool:
        """Whether there is a page behind the product's address: a production engine without one has none of its own."""
        return self.app_url is not None or self.is_development()

    def is_development(self) -> bool:
        """Whether this is a development machine: links sign in, and the demo's host page is there."""
        return self._is_embedded() if self.development is None else self.development

    def settled(self) -> Self:
        """A copy for a service that has begun: whether this is the embedded stack is not looked up any more.

        The look reads files and processes, milliseconds each time.
        """
        settled = self.model_copy()
        settled.settle()
        return settled

    def settle(self) -> None:
        """Look it up once for good."""
        self._embedded = self._is_embedded()

    def _is_embedded(self) -> bool:
        return is_embedded(self.kafka, self.database_url) if self._embedded is None else self._embedded

    def keys(self, name: Secret) -> Keys:
        """A secret with those before it (`…_PREVIOUS`, one a line), which still verify. Errors as of `secret`."""
        return Keys(self.secret(name), self._previous(name))

    def provider_keys(self, name: ProviderSecret) -> Keys | None:
        """What a mail provider signs its webhook with, and what it did before; None if it is not set."""
        value: str | None = getattr(self, name)
        return Keys(value, self._previous(name)) if value else None

    def agents_webhook_keys(self) -> Keys | None:
        """What notes to agents are signed with: by all of them, so that a receiver may change over in its own time."""
        secrets = self._agents_webhook_secrets()
        return Keys(secrets[0], secrets[1:]) if self.agents_webhook_secret else None

    def _agents_webhook_secrets(self) -> tuple[str, ...]:
        own = (self.agents_webhook_secret,) if self.agents_webhook_secret else ()
        return (*own, *self._previous("agents_webhook_secret"))

    def agents_webhook_kinds(self) -> set[str]:
        """Of what agents are told: some of `NOTE_KINDS`."""
        return set(filter(None, map(str.strip, self.agents_webhook_types.split(","))))

    def editors(self) -> set[str]:
        """The agents, by the subject they sign in with, who may put rules into force from the dashboard."""
        return set(filter(None, map(str.strip, self.rules_editors.split(","))))

    def ses_topics(self) -> list[str]:
        """The ARNs of the SNS topics that are listened to."""
        return [topic for topic in map(str.strip, self.webhook_ses_topics.split(",")) if topic]

    def _previous(self, name: str) -> tuple[str, ...]:
        before: str = getattr(self, f"{name}_previous") or ""
        return tuple(line for line in map(str.strip, before.splitlines()) if line)

    def as_env(self) -> dict[str, str]:
        """The environment variables that give another process these same settings."""
        values = self.model_dump(exclude_none=True)
        return {variable(name): str(value) for name, value in values.items() if value != ""}


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def is_safe_address(url: str) -> bool:
    """Whether nobody between here and there can read or change what is fetched: HTTPS, or this very machine."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    return parts.scheme == "https" or host in {"localhost", "127.0.0.1", "::1"}


def secret_settings() -> list[str]:
    """The names of the settings that are never shown, each of which may come from a file."""
    return [name for name, field in Settings.model_fields.items() if not field.repr]


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

"""Settings from the environment (prefix `SUCCESS_`), each with a default that fits the embedded stack."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

EMBEDDED_SECRET = "embedded-stack-only"  # noqa: S105 - refused outside the embedded stack


class Settings(BaseSettings):
    """One object a process; see `docs/settings.md` for what each setting does."""

    model_config = SettingsConfigDict(env_prefix="SUCCESS_", extra="ignore")

    kafka: str = "127.0.0.1:19092"
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: str | None = None
    kafka_sasl_username: str | None = None
    kafka_sasl_password: str | None = None
    kafka_ssl_cafile: Path | None = None
    database_url: str = "postgresql://postgres@127.0.0.1:15432/success"
    smtp_url: str = "smtp://127.0.0.1:11025"
    api_host: str = "127.0.0.1"
    api_port: int = 8000
    cors_origins: str = ""
    jwt_secret: str | None = None
    jwks_url: str | None = None
    public_url: str = "http://127.0.0.1:8000"
    mail_from: str = "WedSync <hello@wedsync.example>"
    mail_return_path: str = "bounces@wedsync.example"
    mail_address: str = "WedSync Ltd, 1 Example Street, London, United Kingdom"
    dkim_key: Path | None = None
    webhook_secret: str | None = None
    secret_key: str | None = None
    policy: Path | None = None
    topic_prefix: str = ""
    partitions: int = Field(default=8, ge=1)
    state_dir: Path = Path(".success")

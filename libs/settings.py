"""Settings: one class per service, read once at start; nothing else reads the environment.

What is secret and must be the same for several processes (role passwords, the key that signs the inner hop) is kept in one
file, `secrets.json` in the state folder, made by `outrider migrate` and readable by its owner only. An environment
variable of the same meaning always wins.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import AliasChoices, Field, ModelWrapValidatorHandler, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from libs.errors import PermanentError
from libs.state import state_root

PORTS = {"gateway": 8080, "webhook_ingest": 8081, "provider_sync": 8082, "reconciliation": 8083, "analytics": 8084}


class BadSetting(PermanentError):
    code = "bad_setting"


class Secrets:
    """The secrets file. Reading it is enough for a service; only `ensure` and `set` write."""

    def __init__(self, folder: Path | None = None) -> None:
        self.path = (folder or state_root()) / "secrets.json"
        self._values: dict[str, str] = json.loads(self.path.read_text()) if self.path.exists() else {}

    def get(self, name: str) -> str | None:
        return self._values.get(name)

    def ensure(self, names: Iterable[str], make: Any = lambda: secrets.token_urlsafe(24)) -> dict[str, str]:
        """The values of `names`, made and kept where missing."""
        names = list(names)
        missing = [name for name in names if name not in self._values]
        if missing:
            self._values |= {name: make() for name in missing}
            self._write()
        return {name: self._values[name] for name in names}

    def set(self, name: str, value: str) -> None:
        if self._values.get(name) != value:
            self._values[name] = value
            self._write()

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        new.unlink(missing_ok=True)  # one that a crash left keeps the mode it had
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(self._values, file, indent=1, sort_keys=True)
        new.replace(self.path)


def with_login(address: str, user: str, password: str) -> str:
    """`postgresql://host:port/name` (any login in it is replaced) with this one."""
    parts = urlsplit(address)
    host = parts.netloc.rsplit("@", 1)[-1]
    return urlunsplit(
        (parts.scheme, f"{quote(user, safe='')}:{quote(password, safe='')}@{host}", parts.path, parts.query, "")
    )


class ServiceSettings(BaseSettings):
    """What every service can be told. A service adds its own fields and gives `env_prefix` (`GATEWAY_`)."""

    model_config = SettingsConfigDict(extra="ignore", populate_by_name=True)

    # "production" refuses what is only for a machine of one's own.
    environment: Literal["development", "production"] = Field("development", validation_alias="OUTRIDER_ENVIRONMENT")
    host: str = "127.0.0.1"
    port: int = 0
    database_url: SecretStr | None = (
        None  # <SERVICE>_DATABASE_URL; derived from the address and secrets.json when absent
    )
    database_pool: int = 10
    database_address: str | None = Field(
        None, validation_alias=AliasChoices("OUTRIDER_DATABASE_ADDRESS", "DATABASE_URL")
    )  # a login in it is not used
    amqp_url: SecretStr | None = Field(None, validation_alias="AMQP_URL")
    # So long a publish may wait for its confirm; then the channel is given up and the rows are told again.
    publish_timeout_seconds: float = Field(15.0, validation_alias="OUTRIDER_PUBLISH_TIMEOUT_SECONDS", gt=0)
    otlp_endpoint: str | None = Field(None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    trace_ratio: float = Field(0.05, validation_alias="OUTRIDER_TRACE_RATIO", ge=0, le=1)
    log_level: str = Field("info", validation_alias="OUTRIDER_LOG_LEVEL")
    http_connections: int = Field(
        1000, validation_alias="OUTRIDER_HTTP_CONNECTIONS", ge=1
    )  # what comes in beyond is answered 503
    ledger_fold_seconds: float = Field(2.0, validation_alias="OUTRIDER_LEDGER_FOLD_SECONDS", gt=0)
    # How long an event's id is remembered after it was handled: what comes again later is not applied but a dead letter.
    # Longer than any provider, broker backlog or retry repeats itself.
    inbox_days: int = Field(30, validation_alias="OUTRIDER_INBOX_DAYS", ge=14)
    # Whether an org_admin may put the content of a dead letter right by hand (libs.messaging.editing).
    edit_dead_letters: bool = Field(False, validation_alias="OUTRIDER_EDIT_DEAD_LETTERS")
    # For tests of what comes after a crash: where this process is to fail, and how (libs.crash).
    crash_at: str = Field("", validation_alias="CRASH_AT")
    context_public_keys: str | None = Field(
        None, validation_alias="OUTRIDER_CONTEXT_PUBLIC_KEYS"
    )  # hex, comma-separated

    @model_validator(mode="wrap")
    @classmethod
    def _named(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Raises: BadSetting, naming the variable; pydantic's own error shows what it holds, which may be a secret."""
        try:
            return handler(given)
        except ValidationError as error:
            wrong = error.errors(include_input=False, include_url=False, include_context=False)[0]
            name = str(wrong["loc"][0]) if wrong["loc"] else "a setting"
            if name in cls.model_fields:
                name = f"{cls.model_config.get('env_prefix', '')}{name}".upper()
            raise BadSetting(f"{name} is wrong: {wrong['msg'][:1].lower()}{wrong['msg'][1:]}") from None

    def url_of(self, service: str, *, role_of: Any) -> str:
        """The login URL of `service`: as given, or derived from the address and the password in secrets.json.

        Raises:
            BadSetting: neither a URL nor an address, or no password was made for the role.
        """
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        secrets_file = Secrets()
        address = self.database_address or secrets_file.get("database_address")
        if address is None:
            raise BadSetting(
                f"no database: set {service.upper()}_DATABASE_URL or DATABASE_URL, or let `outrider up` start one for you"
            )
        role = role_of(urlsplit(address).path.removeprefix("/"), service)
        password = secrets_file.get(f"role:{role}")
        if password is None:
            raise BadSetting(
                f"no password is known for {role}: run `outrider migrate`, or set {service.upper()}_DATABASE_URL"
            )
        return with_login(address, role, password)

    def crash(self) -> str:
        """Where the process is to fail; nothing, as a rule.

        Raises:
            BadSetting: in production nothing fails on purpose.
        """
        if self.crash_at and self.environment == "production":
            raise BadSetting(
                "CRASH_AT is for tests on one's own machine: take it away, or set OUTRIDER_ENVIRONMENT to development"
            )
        return self.crash_at

    def verify_keys(self) -> list[str]:
        """The public keys with which the gateway's signed context is verified.

        Raises:
            BadSetting: none is set and none was made.
        """
        found = self.context_public_keys or Secrets().get("context_public_key")
        if not found:
            raise BadSetting(
                "no key to verify the gateway's context: run `outrider migrate` or set OUTRIDER_CONTEXT_PUBLIC_KEYS"
            )
        return [key.strip() for key in found.split(",") if key.strip()]

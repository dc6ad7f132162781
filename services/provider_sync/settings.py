"""What provider_sync can be told, and what it must know."""

from __future__ import annotations

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from libs.settings import BadSetting, Secrets, ServiceSettings


class ProviderSyncSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="PROVIDER_SYNC_", extra="ignore", populate_by_name=True)

    credential_key: SecretStr | None = None  # 32 bytes as hex; seals credentials and tokens
    cursor_key: SecretStr | None = None
    # Where the door is reached from outside; providers are told addresses below it.
    public_webhook_url: str = "http://127.0.0.1:8081"
    # Besides a provider's own host: hosts that an account's `base_url` may name, comma-separated. Loopback is for
    # simulators; anything else inside would let an org's administrator make us call it.
    base_url_hosts: str = "127.0.0.1,localhost"
    jobs_at_once: int = Field(8, gt=0)
    poll_seconds: float = Field(0.5, gt=0)

    def key_for_credentials(self) -> str:
        return _found(self.credential_key, "credential_key")

    def key_for_cursors(self) -> str:
        return _found(self.cursor_key, "cursor_key")


def _found(given: SecretStr | None, name: str) -> str:
    """Raises: BadSetting when the key is neither set nor made."""
    found = given.get_secret_value() if given is not None else Secrets().get(name)
    if not found:
        raise BadSetting(f"no {name}: run `outrider migrate`, or set PROVIDER_SYNC_{name.upper()}")
    return found

"""What the gateway can be told."""

from __future__ import annotations

from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from libs.settings import PORTS, BadSetting, Secrets, ServiceSettings


class GatewaySettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="GATEWAY_", extra="ignore", populate_by_name=True)

    port: int = PORTS["gateway"]
    key_pepper: SecretStr | None = None  # several, joined by commas, oldest first: new keys take the last
    context_private_key: SecretStr | None = None  # hex
    owner_deadline_seconds: float = 15.0
    webhook_ingest_url: str = f"http://127.0.0.1:{PORTS['webhook_ingest']}"
    provider_sync_url: str = f"http://127.0.0.1:{PORTS['provider_sync']}"
    reconciliation_url: str = f"http://127.0.0.1:{PORTS['reconciliation']}"
    analytics_url: str = f"http://127.0.0.1:{PORTS['analytics']}"

    @property
    def owners(self) -> dict[str, str]:
        """Where each owner of rows answers, by its process name."""
        return {
            "webhook-ingest": self.webhook_ingest_url.rstrip("/"),
            "provider-sync": self.provider_sync_url.rstrip("/"),
            "reconciliation": self.reconciliation_url.rstrip("/"),
            "analytics": self.analytics_url.rstrip("/"),
        }

    def pepper(self) -> str:
        """Raises BadSetting: none is set and none was made."""
        return _secret(self.key_pepper, "key_pepper", "GATEWAY_KEY_PEPPER")

    def private_key(self) -> str:
        """Raises BadSetting: none is set and none was made."""
        return _secret(self.context_private_key, "context_private_key", "GATEWAY_CONTEXT_PRIVATE_KEY")


def _secret(given: SecretStr | None, name: str, variable: str) -> str:
    found = given.get_secret_value() if given is not None else Secrets().get(name)
    if not found:
        raise BadSetting(f"the gateway has no {name}: run `outrider migrate` or set {variable}")
    return found

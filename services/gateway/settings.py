"""What the gateway can be told."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from libs.settings import PORTS, BadSetting, Secrets, ServiceSettings
from libs.web.sources import Network, trusted


class Oidc(NamedTuple):
    issuer: str
    audiences: tuple[str, ...]
    jwks_url: str


class GatewaySettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="GATEWAY_", extra="ignore", populate_by_name=True)

    port: int = PORTS["gateway"]
    key_pepper: SecretStr | None = None  # several, joined by commas, oldest first: new keys take the last
    context_private_key: SecretStr | None = None  # hex
    owner_deadline_seconds: float = 15.0
    rate_limit_per_org: int = Field(6000, ge=1, le=10_000_000)  # requests a minute, of all its keys and people
    rate_limit_per_key: int = Field(6000, ge=1, le=10_000_000)  # of one key or person
    failed_sign_ins_per_address: int = Field(120, ge=1, le=10_000_000)  # a minute, at each replica
    # Addresses or CIDR blocks, comma-separated, of the proxies in front. X-Forwarded-For counts from them only.
    trusted_proxies: str = ""
    oidc_issuer: str | None = None  # exactly as tokens say it in `iss`; absent: keys alone open
    oidc_audiences: str | None = None  # what tokens for us say in `aud`, joined by commas
    oidc_jwks_url: str | None = None
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

    @property
    def oidc(self) -> Oidc | None:
        """The identity provider, if one is set.

        Raises:
            BadSetting: set by half, or its keys would come over a line that anyone could change.
        """
        given = {"ISSUER": self.oidc_issuer, "AUDIENCES": self.oidc_audiences, "JWKS_URL": self.oidc_jwks_url}
        if not any(given.values()):
            return None
        for name, value in given.items():
            if not value:
                raise BadSetting(f"sign-in is set by half: set GATEWAY_OIDC_{name} too, or none of the three")
        url = urlsplit(self.oidc_jwks_url or "")
        if url.scheme != "https" and url.hostname not in ("127.0.0.1", "::1", "localhost"):
            raise BadSetting("GATEWAY_OIDC_JWKS_URL must be https: who changes the keys signs in as anyone")
        audiences = tuple(one.strip() for one in (self.oidc_audiences or "").split(",") if one.strip())
        return Oidc(self.oidc_issuer or "", audiences, self.oidc_jwks_url or "")

    def trusted_networks(self) -> tuple[Network, ...]:
        """Raises: BadSetting."""
        return trusted(self.trusted_proxies, "GATEWAY_TRUSTED_PROXIES")

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

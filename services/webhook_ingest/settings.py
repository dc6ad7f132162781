"""What webhook_ingest can be told (`WEBHOOK_INGEST_…`), beside what every service can."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from libs.settings import ServiceSettings
from libs.web.sources import Network, trusted


class WebhookIngestSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="WEBHOOK_INGEST_", extra="ignore", populate_by_name=True)

    # Gains of a larger batch flatten at 200 rows; 500 leaves room for a burst.
    max_batch: int = Field(500, ge=1)
    # Deliveries that wait for their commit; beyond either bound the door answers 503. One org may hold half of each.
    max_pending: int = Field(10_000, ge=2)
    max_pending_bytes: int = Field(128 * 1024 * 1024, ge=4 * 1024 * 1024)
    # How long a delivery is kept with its bytes; a quarantined one for as long as it is quarantined.
    delivery_days: int = Field(90, ge=14)
    # Addresses or CIDR blocks, comma-separated, of the proxies in front of the door. X-Forwarded-For counts from them only.
    trusted_proxies: str = ""

    def trusted_networks(self) -> tuple[Network, ...]:
        """Raises: BadSetting."""
        return trusted(self.trusted_proxies, "WEBHOOK_INGEST_TRUSTED_PROXIES")

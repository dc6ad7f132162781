"""What analytics can be told."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from libs.settings import ServiceSettings


class AnalyticsSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="ANALYTICS_", extra="ignore", populate_by_name=True)

    # After this long an event that was sent and not heard is unaccounted for: retries are `due`, so nothing is still flying.
    settle_seconds: float = Field(300, ge=0)
    # How often every organization's ledger is judged.
    audit_seconds: float = Field(60, gt=0)

"""What analytics can be told."""

from __future__ import annotations

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from libs.settings import ServiceSettings


class AnalyticsSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="ANALYTICS_", extra="ignore", populate_by_name=True)

    # After this long an event that was sent and not heard is unaccounted for: retries are `due`, so nothing is still flying.
    settle_seconds: float = Field(300, ge=0)
    cursor_key: SecretStr | None = Field(None, validation_alias="OUTRIDER_CURSOR_KEY")

    def key_of_cursors(self) -> str:
        """What all replicas share. Without a key of their own, cursors are only guarded against mix-ups: rows have RLS."""
        return self.cursor_key.get_secret_value() if self.cursor_key is not None else ",".join(self.verify_keys())

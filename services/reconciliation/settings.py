"""What reconciliation can be told."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from libs.settings import ServiceSettings


class ReconciliationSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="RECONCILIATION_", extra="ignore", populate_by_name=True)

    # Nothing heard of a run for so long: what was asked of the provider is lost, or the account cannot be read.
    run_timeout_seconds: float = Field(1800, gt=0)
    watch_seconds: float = Field(30, gt=0)
    # How late a slot starts at most.
    schedule_seconds: float = Field(10, gt=0)

"""What the door reads of a body: its dedupe key, or why it goes to quarantine. Never more."""

from __future__ import annotations

from collections.abc import Mapping

from libs.observability.logs import get_logger
from libs.providers.registry import Provider
from libs.providers.sightings import DoorReading
from libs.web import strict_json
from services.webhook_ingest import domain

log = get_logger()


def read(providers: Mapping[str, Provider], provider: str, body: bytes) -> DoorReading:
    """Never raises on any bytes, whatever an adapter does."""
    known = providers.get(provider)
    if known is None:
        return DoorReading(quarantine_reason=f"this build knows no provider {provider}")
    if fault := strict_json.structure_fault(body):
        return DoorReading(quarantine_reason=fault)
    try:
        return domain.storable(known.webhooks.read_at_door(body))
    except Exception as error:
        log.error("door_reading_failed", provider=provider, exc_info=error)
        return DoorReading(quarantine_reason="unreadable")

"""What an adapter can do, as small interfaces: a service asks for the capability, never for the provider's name.

Shapes follow the capability, not any provider's API. An account whose provider lacks one is refused with
`libs.errors.Unsupported`, which names it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar, runtime_checkable

from libs.errors import Unsupported
from libs.providers.sightings import DoorReading, Reading


@runtime_checkable
class WebhookParsing(Protocol):
    """Pure: bytes in, statements out."""

    def read_at_door(self, body: bytes) -> DoorReading:
        """The dedupe key, or why these bytes go to quarantine. Never raises on any bytes."""
        ...

    def read_webhook(self, body: bytes) -> Reading:
        """All that the payload states.

        Raises:
            ContractViolated: no payload of this provider; the message says which field is at fault.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteMessageKey:
    """One message as the provider lists it: enough to count and compare, without its text."""

    key: str
    kind: str  # "sent" or "reply"
    campaign_external_id: str
    lead_key: str
    occurred_at: datetime


@runtime_checkable
class Snapshots(Protocol):
    """What the provider says it holds, to be compared with what we hold."""

    async def list_campaign_ids(self) -> Sequence[str]: ...

    async def list_message_keys(self, campaign_external_id: str) -> Sequence[RemoteMessageKey]:
        """Every message of the campaign, all pages or an error: a partial list would look like deletions."""
        ...


@runtime_checkable
class CampaignPulls(Protocol):
    """Reading a campaign back, as a sighting with source `pull`."""

    async def read_campaign(self, campaign_external_id: str) -> Reading: ...


@runtime_checkable
class Pulls(CampaignPulls, Protocol):
    """Reading the truth back, messages included, as sightings with source `pull`."""

    async def read_messages(self, campaign_external_id: str, lead_keys: Sequence[str]) -> Reading:
        """The messages of these leads in this campaign."""
        ...


@runtime_checkable
class WebhookRegistration(Protocol):
    async def register_webhook(self, *, url: str, name: str) -> str:
        """Make the provider post every event type it can to `url`; answers the provider's id of the registration."""
        ...


T = TypeVar("T")


def require(client: object, capability: type[T], provider: str) -> T:
    """`client` seen as `capability`.

    Raises:
        Unsupported: this provider cannot do it.
    """
    if isinstance(client, capability):
        return client
    raise Unsupported(f"{provider} accounts cannot do this: the provider offers no {capability.__name__}")

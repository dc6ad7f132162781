"""What an adapter can do, as small interfaces: a service asks for the capability, never for the provider's name.

Shapes follow the capability, not any provider's API; what they speak of stands in records.py. An account whose provider
lacks one is refused with `libs.errors.Unsupported`, which names it. One interface is one question that some provider
answers with no, so an adapter implements an interface whole or not at all; a single wish within it that it cannot fulfil
(a rename, a lead without an address) raises Unsupported too, and names the wish.

Reading methods may be repeated. Writing methods (effects.WRITES names them) make their call at most once and never repeat
it by themselves: effects.py says what can be learnt of one whose answer was lost.

Every method raises RateLimited or ProviderUnavailable (later may work), CredentialRefused (the key no longer opens the
account), NotThere (the record is gone), ProviderRefused (any other no, in the provider's words) or ContractViolated (it
answered what its fact sheet does not know).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar, runtime_checkable

from libs.errors import Unsupported
from libs.providers.feeds import Feed, FeedCampaigns, FeedPage
from libs.providers.records import (
    Answer,
    Campaign,
    CampaignChanges,
    CampaignFigures,
    CampaignLead,
    ConversationRef,
    EmailStep,
    InboxEntry,
    LeadRef,
    LeadsAdded,
    LinkedInNode,
    NewLead,
    Page,
    Registration,
)
from libs.providers.sightings import DoorReading, LeadSighting, MessageSighting, Reading


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
class Feeds(Protocol):
    """Following all that an account holds, page by page, as sightings with source `pull`. Additive: a row may come twice,
    and no deletion is read from a row that does not come."""

    def feeds(self) -> Sequence[Feed]:
        """In the order in which they are to be read."""
        ...

    async def list_feed_campaigns(self) -> FeedCampaigns: ...

    async def read_feed(
        self, feed: str, campaign_external_id: str | None, *, since: datetime | None, after: str | None
    ) -> FeedPage:
        """One page of what there is since then (None: of all), which may tell older rows too.

        Raises:
            ListMoved: the pages do not make one list; begin again without `after`.
        """
        ...


# The connection


@runtime_checkable
class ConnectionCheck(Protocol):
    """Asking whether the credentials are good."""

    async def check_connection(self) -> None:
        """One cheap call that only good credentials get an answer to."""
        ...


# Campaigns


@runtime_checkable
class Campaigns(Protocol):
    """Looking at campaigns."""

    async def list_campaigns(self) -> Sequence[Campaign]:
        """Every campaign that the key shows, all pages or an error."""
        ...

    async def get_campaign(self, campaign_external_id: str) -> Campaign: ...


@runtime_checkable
class CampaignEditing(Protocol):
    """Making campaigns, and changing what is not their sequence."""

    async def create_campaign(self, *, name: str, client_external_id: str | None = None) -> str:
        """Answers its external id; it is a draft. `client_external_id` is the sub-account it is for."""
        ...

    async def update_campaign(self, campaign_external_id: str, changes: CampaignChanges) -> None:
        """Changes what `changes` names and nothing else, also at a provider that replaces all at once."""
        ...


@runtime_checkable
class CampaignControl(Protocol):
    """Letting campaigns send and making them rest. A 200 is no proof: the status may follow seconds later."""

    async def start_campaign(self, campaign_external_id: str) -> None:
        """Launches a draft."""
        ...

    async def pause_campaign(self, campaign_external_id: str) -> None: ...

    async def resume_campaign(self, campaign_external_id: str) -> None: ...


@runtime_checkable
class CampaignStopping(Protocol):
    """Ending a campaign for good, with leads left who will not be written to."""

    async def stop_campaign(self, campaign_external_id: str) -> None: ...


@runtime_checkable
class EmailSequences(Protocol):
    """The steps of an e-mail campaign and the variants of their text."""

    async def list_steps(self, campaign_external_id: str) -> Sequence[EmailStep]:
        """In order of their numbers; none for a campaign without a sequence."""
        ...

    async def replace_steps(self, campaign_external_id: str, steps: Sequence[EmailStep]) -> None:
        """Makes `steps` the whole sequence. What has an external id is changed in place and keeps its figures; what is
        not among them is deleted."""
        ...


@runtime_checkable
class LinkedInSequences(Protocol):
    """The sequence of a LinkedIn campaign: a tree, as it branches on what is known of the lead."""

    async def get_sequence(self, campaign_external_id: str) -> LinkedInNode | None:
        """Its first node; None for a campaign without a sequence."""
        ...

    async def replace_sequence(self, campaign_external_id: str, first: LinkedInNode) -> None: ...


# Leads. A lead is named by our natural key (`LeadRef`); its external id, when known, spares the adapter a search.


@runtime_checkable
class CampaignLeads(Protocol):
    """Who is in a campaign."""

    async def list_leads(self, campaign_external_id: str, *, after: str | None = None) -> Page[CampaignLead]:
        """One page, to be followed by `after` of the page before. While the campaign grows a lead may come twice or not
        at all: merge, and delete by no such list."""
        ...

    async def find_campaign_lead(self, campaign_external_id: str, lead: LeadRef) -> CampaignLead | None:
        """One lead as the campaign has it; None when the lead is not in it."""
        ...


@runtime_checkable
class LeadAdding(Protocol):
    """Putting leads into a campaign."""

    async def add_leads(self, campaign_external_id: str, leads: Sequence[NewLead]) -> LeadsAdded:
        """At most `largest_batch_of_leads` at once. Who is in the campaign already is counted, and not added twice."""
        ...

    def largest_batch_of_leads(self) -> int: ...


@runtime_checkable
class LeadPausing(Protocol):
    """Making one lead of a campaign rest, and go on."""

    async def pause_lead(self, campaign_external_id: str, lead: LeadRef) -> None: ...

    async def resume_lead(self, campaign_external_id: str, lead: LeadRef) -> None: ...


@runtime_checkable
class LeadStopping(Protocol):
    """Ending the sequence for one lead, who stays listed in the campaign."""

    async def stop_lead(self, campaign_external_id: str, lead: LeadRef) -> None: ...


@runtime_checkable
class LeadRemoving(Protocol):
    """Taking a lead out of a campaign, history included."""

    async def remove_lead(self, campaign_external_id: str, lead: LeadRef) -> None: ...


@runtime_checkable
class Leads(Protocol):
    """Leads whatever campaign they are in."""

    async def find_lead(self, lead_key: str) -> LeadSighting | None:
        """None: the provider does not know (any more) whom we name."""
        ...

    async def list_campaigns_of_lead(self, lead: LeadRef) -> Sequence[str]:
        """The external ids of the campaigns that the lead is in."""
        ...


@runtime_checkable
class LeadUnsubscribing(Protocol):
    """Never writing to a lead again, from any campaign of the account."""

    async def unsubscribe_lead(self, lead: LeadRef) -> None: ...


@runtime_checkable
class LeadCategories(Protocol):
    """The account's words for what became of a lead in a campaign."""

    async def list_categories(self) -> Sequence[str]: ...

    async def categorize_lead(self, campaign_external_id: str, lead: LeadRef, category: str | None) -> None:
        """`category` is one of `list_categories`; None takes the present one away."""
        ...


# Conversations


@runtime_checkable
class Inbox(Protocol):
    """Conversations with those who answered."""

    async def list_conversations(
        self, *, campaign_external_id: str | None = None, after: str | None = None
    ) -> Page[InboxEntry]:
        """One page, the latest reply first. Additive, like CampaignLeads.list_leads."""
        ...

    async def list_messages(self, conversation: ConversationRef) -> Sequence[MessageSighting]:
        """All messages of one conversation in order of time, source `pull`. It may lag behind the webhook that told of
        the last one, by seconds to hours."""
        ...

    async def reply(self, conversation: ConversationRef, answer: Answer) -> str | None:
        """Send a message into the conversation, in the name of the sender it has. Answers the new message's key, None
        where the provider only says that it will be sent."""
        ...


# Webhooks


@runtime_checkable
class WebhookRegistration(Protocol):
    """Being told by the provider. All registrations that an address needs are one: the id may name several."""

    async def register_webhook(self, *, url: str, name: str) -> str:
        """Make the provider post every event type it can to `url`; answers the provider's id of the registration."""
        ...


@runtime_checkable
class WebhookUpkeep(Protocol):
    """Looking after a registration: providers pause, narrow and lose them without a word."""

    async def check_webhook(self, webhook_id: str, *, url: str) -> Registration | None:
        """The registration as the provider has it now; None when it is gone. `Registration.faults` says what is wrong."""
        ...

    async def repair_webhook(self, webhook_id: str, *, url: str, name: str) -> str:
        """Make it whole; answers its id from now on, which may be another one. Nothing is sent when nothing is wrong."""
        ...

    async def delete_webhook(self, webhook_id: str) -> None:
        """Done also when it was gone already."""
        ...


@runtime_checkable
class WebhookListing(Protocol):
    """Finding registrations whose id we do not know (a lost answer, somebody else's)."""

    async def list_webhooks(self) -> Sequence[Registration]:
        """Every registration of the account, all pages or an error."""
        ...


# Figures


@runtime_checkable
class Statistics(Protocol):
    """The provider's own counters: to be compared with ours, never to be added to them."""

    async def read_figures(self, campaign_external_id: str) -> CampaignFigures: ...


@runtime_checkable
class EmailCampaigns(Campaigns, CampaignEditing, CampaignControl, EmailSequences, CampaignLeads, LeadAdding, Protocol):
    """All that running e-mail campaigns needs."""


@runtime_checkable
class LinkedInCampaigns(Campaigns, CampaignControl, CampaignLeads, LeadAdding, Protocol):
    """All that running LinkedIn campaigns needs; making them is LinkedInSequences and CampaignEditing."""


# In the order in which people are shown them. WebhookParsing is no client's: every provider has it.
CAPABILITIES: tuple[type[object], ...] = (
    ConnectionCheck,
    Campaigns,
    CampaignEditing,
    CampaignControl,
    CampaignStopping,
    EmailSequences,
    LinkedInSequences,
    CampaignLeads,
    LeadAdding,
    LeadPausing,
    LeadStopping,
    LeadRemoving,
    Leads,
    LeadUnsubscribing,
    LeadCategories,
    Inbox,
    WebhookRegistration,
    WebhookUpkeep,
    WebhookListing,
    Statistics,
    CampaignPulls,
    Pulls,
    Snapshots,
    Feeds,
)

T = TypeVar("T")


def require(client: object, capability: type[T], provider: str) -> T:
    """`client` seen as `capability`.

    Raises:
        Unsupported: this provider cannot do it.
    """
    if isinstance(client, capability):
        return client
    raise Unsupported(f"{provider} accounts cannot do this: the provider offers no {capability.__name__}")

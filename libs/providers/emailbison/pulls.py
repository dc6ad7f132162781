"""Reading the truth back: snapshots of keys, campaigns with their steps, leads with their mail.

All or nothing: a list of which one page is missing would read as deletions, so whatever smells of one raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from libs.errors import ContractViolated
from libs.providers.capabilities import RemoteMessageKey
from libs.providers.emailbison import inbox, keys, steps
from libs.providers.emailbison.campaign_calls import CampaignCalls
from libs.providers.emailbison.campaigns import read_status
from libs.providers.emailbison.inbox import RowKind
from libs.providers.emailbison.lead_calls import LeadCalls
from libs.providers.emailbison.story import Addresses, Story, is_own_mail, kind_of, lead_sighting
from libs.providers.emailbison.transport import data_of, in_path, required
from libs.providers.fields import Fields
from libs.providers.sightings import CampaignSighting, ConversationSighting, LeadSighting, MessageSighting, Reading


class PullCalls(CampaignCalls, LeadCalls):
    """Snapshots, CampaignPulls and Pulls.

    The lists are the truth of what was sent (scheduled e-mails with a `sent_at`; they outlive an archived campaign) and of
    what was answered (the campaign's part of the master inbox). Untracked mail belongs to no campaign and is in neither.
    Openings are counts only, so no list can give back one that a webhook failed to tell.
    """

    async def list_campaign_ids(self) -> Sequence[str]:
        """Every campaign of the workspace."""
        return [required(row, "id", row.identifier("id")) for row in await self._campaign_rows()]

    async def list_message_keys(self, campaign_external_id: str) -> Sequence[RemoteMessageKey]:
        """What was sent and what the master inbox holds of the campaign, mails by hand included."""
        found: list[RemoteMessageKey] = []
        addresses = Addresses()
        own_mail: set[str] = set()

        def add(key: str, kind: str, address: str, at: datetime) -> None:
            found.append(
                RemoteMessageKey(
                    key=key,
                    kind=kind,
                    campaign_external_id=campaign_external_id,
                    lead_key=keys.lead(address),
                    occurred_at=at,
                )
            )

        for row in await self._list(f"/campaigns/{in_path(campaign_external_id)}/scheduled-emails"):
            sent_at = row.moment("sent_at")
            if sent_at is None:  # yet to go, or never to go; after a bounce the row may say sent or bounced
                continue
            mail_id = required(row, "id", row.identifier("id"))
            lead = row.nested("lead")
            address = required(lead, "email", lead.address("email"))
            addresses.learn(row, mail_id, address)
            own_mail.add(row.token("raw_message_id") or "")
            add(keys.sent(mail_id), "sent", address, sent_at)
        for row in await self._list(f"/campaigns/{in_path(campaign_external_id)}/replies", {"folder": "all"}):
            kind = kind_of(row)
            if kind is RowKind.BOUNCE or is_own_mail(row, kind, own_mail):
                continue
            address = addresses.find(row) or await self._address_of_lead(row)
            is_reply, row_id = kind is RowKind.REPLY, inbox.id_of(row)
            at = row.moment("date_received", "created_at")
            if at is None:
                raise row.refuse("date_received", "is missing")
            add(keys.reply(row_id) if is_reply else keys.manual(row_id), "reply" if is_reply else "sent", address, at)
        return found

    async def read_campaign(self, campaign_external_id: str) -> Reading:
        """The campaign and its steps, as of the provider's clock at the time of the answer."""
        campaign, answer = await self._campaign(campaign_external_id)
        # The state is that of now, and `updated_at` need not move with the status: the answer's time is the version.
        seen_at = answer.answered_at or campaign.moment("updated_at", "created_at")
        if seen_at is None:
            raise ContractViolated("campaign.updated_at is missing")
        return Reading(
            event_type="pull.campaign",
            campaigns=(
                CampaignSighting(
                    external_id=campaign_external_id,
                    seen_at=seen_at,
                    name=campaign.filled("name"),
                    status=read_status(campaign),
                ),
            ),
            steps=steps.sightings(await self._steps(campaign_external_id), campaign_external_id, seen_at),
        )

    async def read_messages(self, campaign_external_id: str, lead_keys: Sequence[str]) -> Reading:
        """The leads and their mail in this campaign. A lead whom the provider does not know (any more) is left out."""
        numbers = steps.numbers_of(await self._steps(campaign_external_id))
        leads: list[LeadSighting] = []
        conversations: list[ConversationSighting] = []
        messages: list[MessageSighting] = []
        for lead_key in dict.fromkeys(lead_keys):
            address = keys.address_of(lead_key)
            known = await self._lead(address)
            if known is None:
                continue
            lead, lead_id, seen_at = known
            mails = await self._list(f"/leads/{lead_id}/scheduled-emails")
            rows = await self._list(f"/leads/{lead_id}/replies", {"folder": "all"})
            story = Story(campaign_external_id, address, numbers)
            messages += story.messages(mails, rows)
            leads.append(lead_sighting(lead, lead_id, address, seen_at))
            conversations.append(story.conversation(seen_at))
        return Reading(
            event_type="pull.messages",
            leads=tuple(leads),
            conversations=tuple(conversations),
            messages=tuple(messages),
        )

    async def _address_of_lead(self, row: Fields) -> str:
        """Of a row whose lead none of the campaign's mails names."""
        lead_id = required(row, "lead_id", row.identifier("lead_id"))
        lead = data_of(await self._get(f"/leads/{lead_id}"), "lead")
        return required(lead, "email", lead.address("email"))

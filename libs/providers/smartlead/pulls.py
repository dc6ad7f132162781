"""Reading the truth back: campaigns, messages, and what there is to be compared.

All or nothing: a list of which one page is missing would read as deletions, so whatever smells of one raises.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta

from libs import clock
from libs.errors import ContractViolated, ProviderUnavailable
from libs.providers.calls import NotThere
from libs.providers.capabilities import RemoteMessageKey
from libs.providers.fields import Fields
from libs.providers.sightings import (
    CampaignSighting,
    ConversationSighting,
    Direction,
    LeadSighting,
    MessageSighting,
    Reading,
    SequenceStepSighting,
)
from libs.providers.smartlead import keys
from libs.providers.smartlead.campaign_calls import CampaignCalls
from libs.providers.smartlead.campaigns import read_status
from libs.providers.smartlead.inbox_calls import InboxCalls
from libs.providers.smartlead.leads import KnownLead, read_lead
from libs.providers.smartlead.transport import as_object, in_path, is_nothing, list_of_objects, required

STATISTICS_PAGE = 1000  # the provider's cap
MOST_PAGES = 2000  # two million mails in one campaign; ends a provider that gives row by row, or for ever
LISTING_TRIES = 3  # a running campaign grows while it is listed; thrice in a row is no chance any more
HISTORY_LAG = timedelta(minutes=10)  # histories follow the statistics within seconds; later, the reply is gone for good


class PullCalls(CampaignCalls, InboxCalls):
    """Snapshots and Pulls."""

    async def list_campaign_ids(self) -> Sequence[str]:
        """Every campaign of the account; the provider does not page this list."""
        rows = list_of_objects(await self._get("/campaigns"), "campaigns")
        found = [required(row.identifier("id"), "campaigns[].id") for row in rows]
        if len(set(found)) != len(found):
            raise ContractViolated("campaigns: one id is listed twice")
        return found

    async def list_message_keys(self, campaign_external_id: str) -> Sequence[RemoteMessageKey]:
        """What the statistics say was sent, and the histories (replies, answers by hand) of all who replied."""
        found: dict[str, RemoteMessageKey] = {}
        replied: dict[str, datetime] = {}  # address -> the latest reply that the statistics know
        for row in await self._statistics(campaign_external_id):
            address = required(row.address("lead_email"), "statistics.data[].lead_email")
            sent_at = row.moment("sent_time")
            if sent_at is None:  # a row is a sent e-mail; without a time it is one that is yet to go
                continue
            key = keys.sent(required(row.token("stats_id"), "statistics.data[].stats_id"))
            found[key] = RemoteMessageKey(
                key=key,
                kind="sent",
                campaign_external_id=campaign_external_id,
                lead_key=keys.lead(address),
                occurred_at=sent_at,
            )
            reply_at = row.moment("reply_time")
            if reply_at is not None:
                replied[address] = max(reply_at, replied.get(address, reply_at))
        for address, latest in replied.items():
            for message in await self._of_one_who_replied(campaign_external_id, address, latest):
                is_reply = message.direction is Direction.INBOUND
                found.setdefault(
                    message.key,
                    RemoteMessageKey(
                        key=message.key,
                        kind="reply" if is_reply else "sent",
                        campaign_external_id=campaign_external_id,
                        lead_key=message.lead_key,
                        occurred_at=message.occurred_at or message.seen_at,
                    ),
                )
        return list(found.values())

    async def read_campaign(self, campaign_external_id: str) -> Reading:
        """The campaign and its steps, as of the provider's clock at the time of the answer."""
        campaign, answer = await self._campaign(campaign_external_id)
        # The state is that of now, and `updated_at` need not move with the status: the answer's time is the version.
        seen_at = answer.answered_at or campaign.moment("updated_at", "created_at")
        if seen_at is None:
            raise ContractViolated("campaign.updated_at is missing")
        rows = await self._sequence(campaign_external_id)
        return Reading(
            event_type="pull.campaign",
            campaigns=(
                CampaignSighting(
                    external_id=campaign_external_id,
                    seen_at=seen_at,
                    name=campaign.filled("name"),
                    status=read_status(campaign),
                    client_external_id=(campaign.identifier("client_id") or "")
                    if campaign.states("client_id")
                    else None,
                ),
            ),
            steps=tuple(step_sighting(row, campaign_external_id, seen_at) for row in rows),
        )

    async def read_messages(self, campaign_external_id: str, lead_keys: Sequence[str]) -> Reading:
        """The leads and their histories. A lead whom the provider does not know (any more) is left out."""
        leads: list[LeadSighting] = []
        conversations: list[ConversationSighting] = []
        messages: list[MessageSighting] = []
        for lead_key in dict.fromkeys(lead_keys):
            address = keys.address_of(lead_key)
            lead = await self._lead(address)
            if lead is None:
                continue
            try:
                found, answer = await self._history(campaign_external_id, address, lead.id)
            except NotThere:
                continue
            messages += found
            seen_at = lead.seen_at or answer.answered_at
            if seen_at is not None:
                leads.append(read_lead(lead.fields, lead.id, address, seen_at))
                conversations.append(_conversation_sighting(lead, campaign_external_id, lead_key, seen_at))
        return Reading(
            event_type="pull.messages",
            leads=tuple(leads),
            conversations=tuple(conversations),
            messages=tuple(messages),
        )

    async def _of_one_who_replied(self, campaign: str, address: str, latest: datetime) -> Sequence[MessageSighting]:
        """Raises: ProviderUnavailable while the history does not tell (yet) what the statistics do."""
        lead = await self._lead(address)
        if lead is None:
            raise ProviderUnavailable(f"campaign {campaign}: a lead who replied cannot be found")
        try:
            messages, _ = await self._history(campaign, address, lead.id)
        except NotThere:
            raise ProviderUnavailable(f"campaign {campaign}: a lead who replied has no history") from None
        listed = [message.seen_at for message in messages if message.direction is Direction.INBOUND]
        behind = not listed or max(listed) < latest - timedelta(seconds=1)
        if behind and clock.now() - latest < HISTORY_LAG:
            raise ProviderUnavailable(f"campaign {campaign}: the history lags behind the statistics")
        return messages

    async def _statistics(self, campaign: str) -> list[Fields]:
        for _ in range(LISTING_TRIES - 1):
            try:
                return await self._statistics_once(campaign)
            except _Moved:
                continue
        return await self._statistics_once(campaign)

    async def _statistics_once(self, campaign: str) -> list[Fields]:
        """Raises: _Moved when the pages do not make one list."""
        rows: list[Fields] = []
        seen: set[str] = set()
        expected: int | None = None
        for page_number in itertools.count():
            if expected is not None and len(rows) >= expected:
                break
            if page_number == MOST_PAGES:
                raise ContractViolated(f"campaign {campaign}: more than {MOST_PAGES} pages of statistics")
            value = await self._get(
                f"/campaigns/{in_path(campaign)}/statistics", {"offset": len(rows), "limit": STATISTICS_PAGE}
            )
            if is_nothing(value):
                raise ProviderUnavailable(f"campaign {campaign}: an empty answer instead of statistics")
            page = as_object(value, "statistics")
            total = int(required(page.identifier("total_stats"), "statistics.total_stats"))
            offset = page.identifier("offset")
            if offset is not None and offset != str(len(rows)):
                raise _Moved(f"campaign {campaign}: another page of statistics than the one asked for")
            if not page.states("data"):
                raise ContractViolated("statistics.data is missing")
            data = page.rows("data")
            if expected not in (None, total) or (not data and len(rows) < total):
                raise _Moved(f"campaign {campaign}: the statistics changed while they were read")
            expected = total
            for row in data:
                stats_id = required(row.token("stats_id"), "statistics.data[].stats_id")
                if stats_id in seen:
                    raise _Moved(f"campaign {campaign}: a row of the statistics is told twice")
                seen.add(stats_id)
                row.raw.pop("email_message", None)  # ~10 KB each, and nobody asks for it
            rows += data
        if len(rows) != expected:
            raise _Moved(f"campaign {campaign}: more statistics than their total says")
        return rows


class _Moved(ProviderUnavailable):
    """Pages that were not cut from one list. Not told to callers apart: for them it is "later may work"."""


def step_sighting(row: Fields, campaign: str, seen_at: datetime) -> SequenceStepSighting:
    number = row.step("seq_number")
    if number is None:
        raise ContractViolated("sequences[].seq_number is missing")
    delay = row.nested("seq_delay_details").identifier("delayInDays")
    subjects = [row.filled("subject")]
    subjects += [
        variant.filled("subject") for variant in row.rows("sequence_variants") if not variant.flag("is_deleted")
    ]
    return SequenceStepSighting(
        campaign_external_id=campaign,
        number=number,
        seen_at=seen_at,
        external_id=row.identifier("id"),
        subject=next(filter(None, subjects), ""),  # blank: the same thread as the step before
        delay_days=int(delay) if delay is not None else None,
    )


def _conversation_sighting(lead: KnownLead, campaign: str, lead_key: str, seen_at: datetime) -> ConversationSighting:
    enrolment = lead.enrolment(campaign)
    return ConversationSighting(
        key=keys.conversation(campaign, lead_key),
        lead_key=lead_key,
        seen_at=seen_at,
        campaign_external_id=campaign,
        external_id=enrolment.identifier("campaign_lead_map_id") if enrolment is not None else None,
    )

"""Following an account, as far as that goes: its campaigns' leads, and the conversations of all senders.

No list of HeyReach's is the truth about messages (see the client): a conversation names no campaign and no step, so what is
read here adds messages that no webhook told, and leaves open whose campaign they are of (provider_sync infers it of some).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from libs import clock
from libs.clock import rfc3339
from libs.errors import ContractViolated
from libs.providers.feeds import OVER, Feed, FeedCampaign, FeedCampaigns, FeedPage, ListMoved
from libs.providers.fields import Fields
from libs.providers.heyreach import keys
from libs.providers.heyreach.campaigns import read_status
from libs.providers.heyreach.inbox_calls import InboxCalls, read_messages_of
from libs.providers.heyreach.lead_calls import LeadCalls
from libs.providers.heyreach.leads import read_lead
from libs.providers.heyreach.transport import required
from libs.providers.sightings import (
    CampaignSighting,
    Channel,
    ConversationSighting,
    EnrolmentSighting,
    LeadSighting,
    MessageSighting,
    Reading,
)

LEADS, INBOX = "leads", "inbox"
FEEDS = (
    Feed(name=LEADS, overlap=timedelta(0)),
    # Late arrivals are dated back to LinkedIn's time, and one reader found the filter to know whole days only.
    Feed(name=INBOX, overlap=timedelta(days=1), of_campaign=False),
)


class FeedCalls(LeadCalls, InboxCalls):
    """Feeds."""

    def feeds(self) -> Sequence[Feed]:
        return FEEDS

    async def list_feed_campaigns(self) -> FeedCampaigns:
        found: dict[str, FeedCampaign] = {}
        as_of: datetime | None = None
        async for row, page in self._rows("/campaign/GetAll", "campaigns"):
            as_of = as_of or page.answer.answered_at
            external_id, status = required(row.identifier("id"), "campaigns.items[].id"), read_status(row)
            sighting = CampaignSighting(
                external_id=external_id,
                seen_at=page.answer.answered_at or clock.now(),
                channel=Channel.LINKEDIN,
                name=row.filled("name"),
                status=status,
            )
            # Its counters speak of leads whose turn came: one who waits is in none.
            found[external_id] = FeedCampaign(sighting=sighting, marks={LEADS: str(status)} if status in OVER else {})
        return FeedCampaigns(campaigns=tuple(found.values()), as_of=as_of or clock.now())

    async def read_feed(
        self, feed: str, campaign_external_id: str | None, *, since: datetime | None, after: str | None
    ) -> FeedPage:
        if feed == INBOX:
            return await self._inbox_feed(since, after)
        return await self._leads_feed(required(campaign_external_id, "the feed's campaign"), after)

    async def _leads_feed(self, campaign: str, after: str | None) -> FeedPage:
        page = await self.list_leads(campaign, after=after)
        enrolments = tuple(
            EnrolmentSighting(
                campaign_external_id=campaign,
                lead_key=one.lead.key,
                seen_at=one.lead.seen_at,
                channel=Channel.LINKEDIN,
                external_id=one.enrolment_external_id,
                state=one.state,
                added_at=one.added_at,
            )
            for one in page.items
        )
        reading = Reading(event_type="feed.leads", leads=tuple(one.lead for one in page.items), enrolments=enrolments)
        return FeedPage(reading=reading, rows=len(page.items), after=page.after)

    async def _inbox_feed(self, since: datetime | None, after: str | None) -> FeedPage:
        """The latest message first. A conversation of which a message comes meanwhile moves to the front, and is told by
        the next reading."""
        page = await self._conversations({}, after, since=None if since is None else rfc3339(since))
        threads = [
            _thread(row) for row in page.rows("items") if row.flag("groupChat") is not True and row.rows("messages")
        ]
        following: str | None = None
        if page.flag("hasNextPage") is True:
            following = required(page.token("nextCursor"), "conversations.nextCursor")
            if not page.rows("items"):
                raise ListMoved("conversations: an empty page before the last")
        reading = Reading(
            event_type="feed.inbox",
            leads=tuple(lead for lead, _, _ in threads),
            conversations=tuple(conversation for _, conversation, _ in threads),
            messages=tuple(message for _, _, messages in threads for message in messages),
        )
        return FeedPage(reading=reading, rows=len(page.rows("items")), after=following)


def _thread(row: Fields) -> tuple[LeadSighting, ConversationSighting, Sequence[MessageSighting]]:
    conversation_id = required(row.token("id"), "conversations.items[].id")
    # A list has no time of its own; the last message is the latest that it can know of.
    seen_at = row.moment("lastMessageAt")
    if seen_at is None:
        raise ContractViolated("conversations.items[].lastMessageAt is missing")
    lead = read_lead(row.nested("correspondentProfile"), "conversations.items[].correspondentProfile", seen_at)
    conversation = ConversationSighting(
        key=keys.conversation(conversation_id),
        lead_key=lead.key,
        seen_at=seen_at,
        channel=Channel.LINKEDIN,
        external_id=conversation_id,
        sender_external_id=row.identifier("linkedInAccountId"),
    )
    return lead, conversation, read_messages_of(row, lead.key, conversation_id)

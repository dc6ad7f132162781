"""Following an account: its campaigns' steps, leads, sent mail and parts of the master inbox.

Lists come with the newest id first, and by cursor, which nothing that is added shifts. The counters of a campaign's row tell
whether a list has anything new, so most are not asked for at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from libs import clock
from libs.providers.calls import Answer, NotThere
from libs.providers.emailbison import events, inbox, keys, pages, steps
from libs.providers.emailbison.campaigns import read_status
from libs.providers.emailbison.inbox import RowKind
from libs.providers.emailbison.inbox_calls import InboxCalls
from libs.providers.emailbison.story import kind_of, sent_mail
from libs.providers.emailbison.transport import in_path, required
from libs.providers.emailbison.webhooks import read_payload
from libs.providers.feeds import OVER, Feed, FeedCampaign, FeedCampaigns, FeedPage
from libs.providers.fields import Fields
from libs.providers.sightings import (
    CampaignSighting,
    EnrolmentSighting,
    MessageSighting,
    Reading,
    Source,
)

STEPS, LEADS, SENT, REPLIES = "steps", "leads", "sent", "replies"
# What no list but the log of events names one by one, and the types that it has them under.
LOGGED = {
    "openings": events.EMAIL_OPENED,
    "bounces": events.EMAIL_BOUNCED,
    "unsubscriptions": events.LEAD_UNSUBSCRIBED,
}
FEEDS = (
    Feed(name=STEPS, overlap=timedelta(0)),
    Feed(name=LEADS, overlap=timedelta(0)),
    # By the day on which a mail was due, of the lead's time zone; one that waited for its campaign goes later.
    Feed(name=SENT, overlap=timedelta(days=2)),
    # A mailbox is read now and then, and the row is made then: by the time of its making a minute is plenty.
    Feed(name=REPLIES, overlap=timedelta(minutes=10)),
    *(Feed(name=name, overlap=timedelta(minutes=10), of_campaign=False) for name in LOGGED),
)


class FeedCalls(InboxCalls):
    """Feeds."""

    def feeds(self) -> Sequence[Feed]:
        return FEEDS

    async def list_feed_campaigns(self) -> FeedCampaigns:
        answered: list[Answer] = []
        found = []

        async def get(page: pages.Params) -> object:
            value, answer = await self._call("GET", "/campaigns", page)
            answered.append(answer)
            return value

        rows = await pages.read_all(get, "campaigns")
        as_of = (answered[0].answered_at if answered else None) or clock.now()
        for row in rows:
            status = read_status(row)
            sighting = CampaignSighting(
                external_id=required(row, "id", row.identifier("id")),
                seen_at=as_of,
                name=row.filled("name"),
                status=status,
            )
            found.append(FeedCampaign(sighting=sighting, marks=_marks(row, str(status), is_over=status in OVER)))
        return FeedCampaigns(campaigns=tuple(found), as_of=as_of)

    async def read_feed(
        self, feed: str, campaign_external_id: str | None, *, since: datetime | None, after: str | None
    ) -> FeedPage:
        if feed in LOGGED:
            return await self._logged_feed(LOGGED[feed], since, after)
        campaign = in_path(campaign_external_id or "")
        if feed == STEPS:
            return await self._steps_feed(campaign)
        if feed == LEADS:
            return await self._leads_feed(campaign, after)
        if feed == SENT:
            return await self._sent_feed(campaign, since, after)
        return await self._replies_feed(campaign, since, after)

    async def _steps_feed(self, campaign: str) -> FeedPage:
        rows = await self._steps(campaign)
        reading = Reading(event_type="feed.steps", steps=steps.sightings(rows, campaign, clock.now()))
        return FeedPage(reading=reading, rows=len(rows))

    async def _leads_feed(self, campaign: str, after: str | None) -> FeedPage:
        """All of them: a lead of long ago who is attached today stands among the leads of long ago."""
        page = await self.list_leads(campaign, after=after)
        reading = Reading(
            event_type="feed.leads",
            leads=tuple(one.lead for one in page.items),
            enrolments=tuple(
                EnrolmentSighting(
                    campaign_external_id=campaign, lead_key=one.lead.key, seen_at=one.lead.seen_at, state=one.state
                )
                for one in page.items
            ),
        )
        return FeedPage(reading=reading, rows=len(page.items), after=page.after)

    async def _sent_feed(self, campaign: str, since: datetime | None, after: str | None) -> FeedPage:
        filters: dict[str, str | int] = {}
        if since is not None:  # an instance that does not know the filter tells all
            filters = {
                "scheduled_date_local[criteria]": ">=",
                "scheduled_date_local[value]": since.date().isoformat(),
            }
        rows, following = await self._feed_page(f"/campaigns/{campaign}/scheduled-emails", filters, after)
        numbers = await self._step_numbers(campaign)
        messages = [_sent(row, campaign, numbers) for row in rows if row.moment("sent_at") is not None]
        return FeedPage(
            reading=Reading(event_type="feed.sent", messages=tuple(messages)), rows=len(rows), after=following
        )

    async def _replies_feed(self, campaign: str, since: datetime | None, after: str | None) -> FeedPage:
        """Answers and mails by hand, the newest row first: a page of nothing but older ones is the last that is read."""
        rows, following = await self._feed_page(f"/campaigns/{campaign}/replies", {"folder": "all"}, after)
        messages = [one for row in rows if (one := await self._reply(row, campaign)) is not None]
        made = [at for row in rows if (at := row.moment("created_at")) is not None]
        is_newest_first = made == sorted(made, reverse=True) and len(made) == len(rows)
        if since is not None and rows and is_newest_first and made[0] < since:
            following = None
        return FeedPage(
            reading=Reading(event_type="feed.replies", messages=tuple(messages)), rows=len(rows), after=following
        )

    async def _logged_feed(self, event_type: str, since: datetime | None, after: str | None) -> FeedPage:
        """Events as webhooks tell them, of the last ten days, whether they were posted or not; the newest first. Only what
        happened to a mail is taken from them: all else other lists tell better."""
        filters: dict[str, str | int] = {"type": events.subscription_id(event_type)}
        try:
            rows, following = await self._feed_page("/events", filters, after)
        except NotThere:  # an instance of before 2026 keeps no log
            return FeedPage(reading=Reading(event_type="feed.events"), rows=0)
        told = [read_payload(row.nested("payload").raw) for row in rows]
        made = [at for row in rows if (at := row.moment("created_at")) is not None]
        is_newest_first = made == sorted(made, reverse=True) and len(made) == len(rows)
        if since is not None and rows and is_newest_first and made[0] < since:
            following = None
        reading = Reading(
            event_type="feed.events",
            leads=tuple(lead for one in told for lead in one.leads),
            engagements=tuple(
                engagement for one in told if one.event_type == event_type for engagement in one.engagements
            ),
        )
        return FeedPage(reading=reading, rows=len(rows), after=following)

    async def _reply(self, row: Fields, campaign: str) -> MessageSighting | None:
        kind = kind_of(row)
        if kind is RowKind.BOUNCE:
            return None
        version = inbox.version_of(row)
        if version is None:
            raise row.refuse("date_received", "is missing")
        address = row.nested("lead").address("email") or await self._address_of_lead(row)
        lead_key = keys.lead(address)
        return inbox.read_row(
            row,
            kind,
            conversation_key=keys.conversation(campaign, lead_key),
            lead_key=lead_key,
            campaign=campaign,
            mailbox=None,
            seen_at=version,
            answers=row.identifier("scheduled_email_id"),  # whose step is the reply's, too
            step_source=Source.PULL,
        )

    async def _feed_page(
        self, path: str, filters: Mapping[str, str | int], after: str | None
    ) -> tuple[Sequence[Fields], str | None]:
        async def get(page: pages.Params) -> object:
            return await self._get(path, {**filters, **page})

        return await pages.read_page(get, path.strip("/"), after)

    async def _step_numbers(self, campaign: str) -> Mapping[str, int]:
        """Asked for once in a client's life, which is that of one turn."""
        known: dict[str, Mapping[str, int]] = self.__dict__.setdefault("_numbers_known", {})
        if campaign not in known:
            known[campaign] = steps.numbers_of(await self._steps(campaign))
        return known[campaign]


def _marks(row: Fields, status: str, *, is_over: bool) -> Mapping[str, str]:
    """A counter that stands still is a list without news; one that is not told says nothing."""
    counted = {LEADS: row.identifier("total_leads"), SENT: row.identifier("emails_sent")}
    marks = {feed: f"{status} {count}" for feed, count in counted.items() if count is not None}
    return {**marks, STEPS: status, REPLIES: status} if is_over else marks


def _sent(row: Fields, campaign: str, numbers: Mapping[str, int]) -> MessageSighting:
    lead = row.nested("lead")
    address = required(lead, "email", lead.address("email"))
    step = numbers.get(row.identifier("sequence_step_id") or "")
    return sent_mail(row, campaign, address, step, row.nested("sender_email").address("email"))

"""Following an account: its campaigns' steps, leads and sent mail, and the inbox of all of them.

Smartlead pages by offset. Each page begins with the last row of the page before, so that it can be seen whether both were
cut from one list; where that row is gone, a few rows further back are asked for, and then the list is begun anew.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from libs import clock
from libs.clock import rfc3339
from libs.errors import ContractViolated, Invalid, ProviderRefused, ProviderUnavailable
from libs.providers.feeds import OVER, Feed, FeedCampaign, FeedCampaigns, FeedPage, ListMoved
from libs.providers.fields import Fields
from libs.providers.records import CampaignLead
from libs.providers.sightings import (
    CampaignSighting,
    ConversationSighting,
    Direction,
    EngagementKind,
    EngagementSighting,
    EnrolmentSighting,
    LeadSighting,
    MessageSighting,
    Reading,
    Source,
)
from libs.providers.smartlead import history, keys
from libs.providers.smartlead.campaigns import read_status
from libs.providers.smartlead.inbox_calls import INBOX_PAGE, completed
from libs.providers.smartlead.pulls import HISTORY_LAG, PullCalls, step_sighting
from libs.providers.smartlead.transport import as_object, in_path, is_nothing, list_of_objects, required

STEPS, LEADS, SENT, INBOX = "steps", "leads", "sent", "inbox"
# Filters by day, of whose time zone nobody knows: two days reach over every one. Replies are told to the second, and
# histories follow within seconds; mail servers are slower.
_BY_DAY = timedelta(days=1)
_LATE = timedelta(hours=1)
FEEDS = (
    Feed(name=STEPS, overlap=timedelta(0)),
    Feed(name=LEADS, overlap=_BY_DAY),
    Feed(name=SENT, overlap=_BY_DAY),
    Feed(name=INBOX, overlap=_LATE, of_campaign=False),
)
# The rows from an offset on, and how many there are, where that is told.
Get = Callable[[int], Awaitable[tuple[Sequence[Fields], int | None]]]
SENT_PAGE = 500  # the cap is 1000; each row carries a rendered body of ~10 KB
_STEP_BACK = 10


@dataclass(frozen=True, slots=True)
class _Cut:
    """What a page told beyond the one before it; `end` is where it ends in the list."""

    rows: Sequence[Fields]
    told: int
    end: int


class FeedCalls(PullCalls):
    """Feeds."""

    _knows_created_at_gt = True

    def feeds(self) -> Sequence[Feed]:
        return FEEDS

    async def list_feed_campaigns(self) -> FeedCampaigns:
        """The provider does not page this list."""
        value, answer = await self._call("GET", "/campaigns")
        seen_at = answer.answered_at or clock.now()
        found: dict[str, FeedCampaign] = {}
        for row in list_of_objects(value, "campaigns"):
            external_id, status = required(row.identifier("id"), "campaigns[].id"), read_status(row)
            sighting = CampaignSighting(
                external_id=external_id,
                seen_at=seen_at,
                name=row.filled("name"),
                status=status,
                client_external_id=(row.identifier("client_id") or "") if row.states("client_id") else None,
            )
            marks = dict.fromkeys((STEPS, LEADS, SENT), str(status)) if status in OVER else {}
            found[external_id] = FeedCampaign(sighting=sighting, marks=marks)
        return FeedCampaigns(campaigns=tuple(found.values()), as_of=seen_at)

    async def read_feed(
        self, feed: str, campaign_external_id: str | None, *, since: datetime | None, after: str | None
    ) -> FeedPage:
        if feed == INBOX:
            return await self._inbox_feed(since, after)
        campaign = required(campaign_external_id, "the feed's campaign")
        if feed == STEPS:
            return await self._steps_feed(campaign)
        if feed == LEADS:
            return await self._leads_feed(campaign, since, after)
        return await self._sent_feed(campaign, since, after)

    async def _steps_feed(self, campaign: str) -> FeedPage:
        value, answer = await self._call("GET", f"/campaigns/{in_path(campaign)}/sequences")
        rows = list_of_objects(value, "sequences") if not is_nothing(value) else ()
        seen_at = answer.answered_at or clock.now()
        steps = tuple(step_sighting(row, campaign, seen_at) for row in rows)
        return FeedPage(reading=Reading(event_type="feed.steps", steps=steps), rows=len(rows))

    async def _leads_feed(self, campaign: str, since: datetime | None, after: str | None) -> FeedPage:
        """Those added since. A lead's state changes without a trace that could be asked for: it is as of the last reading of
        all."""
        filters: dict[str, str] = {}
        if since is not None and self._knows_created_at_gt:
            filters["created_at_gt"] = (since - _BY_DAY).date().isoformat()  # exclusive
        try:
            page = await self._leads_page(campaign, after, filters)
        except ProviderRefused as refusal:
            # One page of the documents has the filter, and bodies are known to be refused for a key too many.
            if "created_at_gt" not in str(refusal):
                raise
            self._knows_created_at_gt = False
            page = await self._leads_page(campaign, after, {})
        reading = Reading(
            event_type="feed.leads",
            leads=tuple(one.lead for one in page.items),
            enrolments=tuple(enrolment_sighting(one, campaign) for one in page.items),
        )
        return FeedPage(reading=reading, rows=len(page.items), after=page.after)

    async def _sent_feed(self, campaign: str, since: datetime | None, after: str | None) -> FeedPage:
        """One row per e-mail of the sequence, with its text; answers by hand are in the inbox only."""

        async def get(offset: int) -> tuple[Sequence[Fields], int | None]:
            params: dict[str, str | int] = {"offset": offset, "limit": SENT_PAGE}
            if since is not None:
                params["sent_time_start_date"] = since.date().isoformat()
            value = await self._get(f"/campaigns/{in_path(campaign)}/statistics", params)
            if is_nothing(value):
                raise ProviderUnavailable(f"campaign {campaign}: an empty answer instead of statistics")
            page = as_object(value, "statistics")
            told = page.identifier("offset")
            if told is not None and told != str(offset):
                raise ListMoved(f"campaign {campaign}: another page of statistics than the one asked for")
            if not page.states("data"):
                raise ContractViolated("statistics.data is missing")
            return page.rows("data"), int(required(page.identifier("total_stats"), "statistics.total_stats"))

        cut, total = await _cut(get, _stats_id, SENT_PAGE, after, f"campaign {campaign}: its mail")
        mails = [(row, one) for row in cut.rows if (one := _sent(row, campaign)) is not None]
        reading = Reading(
            event_type="feed.sent",
            messages=tuple(mail for _, mail in mails),
            engagements=tuple(found for row, mail in mails for found in _happened(row, mail)),
        )
        following = f"{cut.end}:{_stats_id(cut.rows[-1])}" if cut.rows and cut.end < (total or 0) else None
        return FeedPage(reading=reading, rows=cut.told, after=following)

    async def _inbox_feed(self, since: datetime | None, after: str | None) -> FeedPage:
        """Those who replied, in all campaigns, with their histories: also what a person answered. The latest reply comes
        first, so who replies while it is read moves to the front, and is told by the next reading."""
        answered_at: datetime | None = None

        async def get(offset: int) -> tuple[Sequence[Fields], int | None]:
            nonlocal answered_at
            filters: dict[str, object] = {"emailStatus": "Replied"}
            if since is not None:
                filters["replyTimeBetween"] = [rfc3339(since), rfc3339(clock.now() + _BY_DAY)]
            value, answer = await self._call(
                "POST",
                "/master-inbox/inbox-replies",
                {"fetch_message_history": "true"},
                {"offset": offset, "limit": INBOX_PAGE, "filters": filters, "sortBy": "REPLY_TIME_DESC"},
                idempotent=True,
            )
            answered_at = answer.answered_at
            page = as_object(value, "inbox")
            if not page.states("data"):
                raise ContractViolated("inbox.data is missing")
            return page.rows("data"), None

        cut, _ = await _cut(get, _map_id, INBOX_PAGE, after, "the inbox")
        names = await self._category_names() if any(row.identifier("lead_category_id") for row in cut.rows) else {}
        seen_at = answered_at or clock.now()
        threads = [_thread(row, names, seen_at) for row in cut.rows]
        behind = [late for row in cut.rows if (late := _not_told_yet(row)) is not None]
        reading = Reading(
            event_type="feed.inbox",
            leads=tuple(lead for lead, _, _ in threads),
            conversations=tuple(conversation for _, conversation, _ in threads),
            messages=tuple(message for _, _, messages in threads for message in messages),
        )
        return FeedPage(
            reading=reading,
            rows=cut.told,
            # No total is told, so the list ends with a page that has nothing new.
            after=f"{cut.end}:{_map_id(cut.rows[-1])}" if cut.rows else None,
            whole_until=min(behind, default=None),
        )


def enrolment_sighting(one: CampaignLead, campaign: str) -> EnrolmentSighting:
    return EnrolmentSighting(
        campaign_external_id=campaign,
        lead_key=one.lead.key,
        seen_at=one.lead.seen_at,
        external_id=one.enrolment_external_id,
        state=one.state,
        added_at=one.added_at,
    )


async def _cut(
    get: Get, id_of: Callable[[Fields], str], size: int, after: str | None, name: str
) -> tuple[_Cut, int | None]:
    """The rows after the one that `after` names, and how many the list has.

    Raises:
        ListMoved: that row is gone, or nothing follows it though the list goes on.
    """
    offset, anchor = _place(after)
    start = max(0, offset - 1) if anchor is not None else 0
    rows, total = await get(start)
    found = rows if anchor is None else _following(rows, id_of, anchor)
    if found is None:  # rows before it were taken away
        start = max(0, start - _STEP_BACK)
        rows, total = await get(start)
        found = _following(rows, id_of, str(anchor))
    if found is None:
        raise ListMoved(f"{name} moved while it was read")
    end = start + len(rows)
    is_full = len(rows) >= size if total is None else end < total
    if (not found and is_full) or (total is not None and end > total):
        raise ListMoved(f"{name}: another page than the one asked for")
    return _Cut(found, len(found), end), total


def _following(rows: Sequence[Fields], id_of: Callable[[Fields], str], anchor: str) -> Sequence[Fields] | None:
    for index, row in enumerate(rows):
        if id_of(row) == anchor:
            return rows[index + 1 :]
    return None


def _place(after: str | None) -> tuple[int, str | None]:
    if after is None:
        return 0, None
    offset, _, anchor = after.partition(":")
    if not (offset.isascii() and offset.isdigit() and anchor):
        raise Invalid("this is no place in a list of Smartlead's", pointer="after")
    return int(offset), anchor


def _stats_id(row: Fields) -> str:
    return required(row.token("stats_id"), "statistics.data[].stats_id")


def _map_id(row: Fields) -> str:
    return required(row.identifier("email_lead_map_id"), "inbox.data[].email_lead_map_id")


def _sent(row: Fields, campaign: str) -> MessageSighting | None:
    """None for a mail that is yet to go."""
    sent_at = row.moment("sent_time")
    if sent_at is None:
        return None
    address = required(row.address("lead_email"), "statistics.data[].lead_email")
    lead_key, step = keys.lead(address), row.step("sequence_number")
    return MessageSighting(
        key=keys.sent(_stats_id(row)),
        conversation_key=keys.conversation(campaign, lead_key),
        lead_key=lead_key,
        direction=Direction.OUTBOUND,
        seen_at=sent_at,  # what was sent does not change
        campaign_external_id=campaign,
        step_number=step,
        step_source=Source.PULL if step is not None else None,
        occurred_at=sent_at,
        to_address=address,
        subject=row.text("email_subject"),
        body_html=row.filled("email_message"),
    )


def _happened(row: Fields, mail: MessageSighting) -> Sequence[EngagementSighting]:
    """What happens to a mail once. The row does not say when: the time of sending stands in, until a webhook tells it.

    Openings and clicks are counted only, with the time of one of them: nothing says which those are that webhooks told of.
    """
    campaign = str(mail.campaign_external_id)
    found = []
    for flag, kind, key in (
        ("is_bounced", EngagementKind.BOUNCED, keys.bounced(_stats_id(row))),
        ("is_unsubscribed", EngagementKind.UNSUBSCRIBED, keys.unsubscribed(campaign, mail.lead_key)),
    ):
        if row.flag(flag):
            found.append(
                EngagementSighting(
                    key=key,
                    kind=kind,
                    lead_key=mail.lead_key,
                    occurred_at=mail.seen_at,
                    seen_at=mail.seen_at,
                    campaign_external_id=campaign,
                    message_key=mail.key,
                    step_number=mail.step_number,
                    details={"time_is": "time of sending"},
                )
            )
    return found


def _thread(
    row: Fields, names: Mapping[str, str], seen_at: datetime
) -> tuple[LeadSighting, ConversationSighting, Sequence[MessageSighting]]:
    address = required(row.address("lead_email"), "inbox.data[].lead_email")
    campaign = required(row.identifier("email_campaign_id"), "inbox.data[].email_campaign_id")
    lead_key, category = keys.lead(address), row.identifier("lead_category_id")
    lead = LeadSighting(
        key=lead_key,
        seen_at=seen_at,
        external_id=row.identifier("email_lead_id"),
        email=address,
        first_name=row.filled("lead_first_name"),
        last_name=row.filled("lead_last_name"),
    )
    conversation = ConversationSighting(
        key=keys.conversation(campaign, lead_key),
        lead_key=lead_key,
        seen_at=seen_at,
        campaign_external_id=campaign,
        external_id=_map_id(row),
        category=names.get(category) if category else "",
    )
    found = []
    for told in _history(row):
        message = history.read_row(told, campaign=campaign, lead_key=lead_key, source=Source.PULL, seen_at=None)
        if message is None:
            raise ContractViolated("inbox.data[].email_history[] has a row without type, time or id")
        found.append(message)
    steps = {message.key: message.step_number for message in found if message.step_number is not None}
    mailbox = next((message.from_address for message in found if message.direction is Direction.OUTBOUND), None)
    return lead, conversation, [completed(message, address, mailbox, steps) for message in found]


def _not_told_yet(row: Fields) -> datetime | None:
    """When the reply came that the row knows of and its history does not; after a while it is gone for good."""
    last = row.moment("last_reply_time")
    if last is None or clock.now() - last > HISTORY_LAG:
        return None
    told = [one.moment("time") for one in _history(row) if one.text("type") == history.REPLY]
    known = [at for at in told if at is not None]
    return last if not known or max(known) < last - timedelta(seconds=1) else None


def _history(row: Fields) -> Sequence[Fields]:
    """Under one name in the documents, and under another in readers' code."""
    return row.rows("email_history") if row.states("email_history") else row.rows("message_history")

"""HeyReach's webhooks: bytes in, statements out. No order, no database, no network.

Three surprises shape everything here. Messages have no ids, so they are known by place, time, author and text. One reply
comes as several types, and `recent_messages` may tell older messages beside the one it is about: of those nothing is known
but that they were said, as they may be another campaign's or written by hand. And nothing ever names a sequence step.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from libs.errors import ContractViolated
from libs.providers.fields import Fields, read_address
from libs.providers.heyreach import door, events, keys
from libs.providers.heyreach.campaigns import read_status
from libs.providers.heyreach.profiles import profile_url, read_profile
from libs.providers.payloads import parse
from libs.providers.sightings import (
    CampaignSighting,
    CampaignStatus,
    Channel,
    ConversationSighting,
    Direction,
    DoorReading,
    EngagementKind,
    EngagementSighting,
    LeadSighting,
    MessageSighting,
    ReadBack,
    Reading,
)

LONGEST_DETAIL = 500  # tags are a few words

_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_UNBELIEVABLE = "names no time that can be believed"


class HeyReachWebhooks:
    """Implements WebhookParsing."""

    def read_at_door(self, body: bytes) -> DoorReading:
        return door.read_at_door(body)

    def read_webhook(self, body: bytes) -> Reading:
        payload = parse(body)
        if not isinstance(payload, dict):
            raise ContractViolated("not a JSON object")
        event_type = door.event_type_of(payload)
        if event_type is None:
            raise ContractViolated("event_type is missing")
        read = _READERS.get(event_type)
        if read is None:
            return Reading(event_type=event_type, recognized=False)
        try:
            return read(event_type, Fields(payload))
        except ContractViolated as refusal:
            raise ContractViolated(f"{event_type}: {refusal}") from None


@dataclass(frozen=True, slots=True)
class _Told:
    """Who and where of a payload about one lead, and when the provider says it was."""

    event_type: str
    fields: Fields
    at: datetime
    profile: str  # the lead's
    campaign: str | None  # None: a reply outside any campaign, a tag
    sender: str | None

    @property
    def lead_key(self) -> str:
        return keys.lead(self.profile)

    def reading(
        self,
        *,
        conversations: Iterable[ConversationSighting] = (),
        messages: Iterable[MessageSighting] = (),
        engagements: Iterable[EngagementSighting] = (),
    ) -> Reading:
        campaign = _campaign(self.fields, self.at)
        return Reading(
            event_type=self.event_type,
            campaigns=() if campaign is None else (campaign,),
            leads=(self.lead(),),
            conversations=tuple(conversations),
            messages=tuple(messages),
            engagements=tuple(engagements),
        )

    def lead(self) -> LeadSighting:
        lead = self.fields.nested("lead")
        # `full_name` is not cut in two: a guess that is newer would replace what was stated. An address that is none is
        # not worth a message: people type custom_email by hand.
        addresses = (lead.filled(name) for name in ("email_address", "custom_email", "enriched_email"))
        return LeadSighting(
            key=self.lead_key,
            seen_at=self.at,
            external_id=lead.token("id"),
            email=next(filter(None, (read_address(address) for address in addresses if address)), None),
            profile_url=profile_url(self.profile),
            first_name=lead.filled("first_name"),
            last_name=lead.filled("last_name"),
            company_name=lead.filled("company_name"),
            title=lead.filled("position"),
            location=lead.filled("location"),
        )

    def engagement(self, kind: EngagementKind, details: dict[str, str], *, what: str | None = None) -> Reading:
        at = None if self.event_type in events.ONCE else self.at
        if self.sender is not None:
            details = {**details, "sender": self.sender}
        engagement = EngagementSighting(
            key=keys.engagement(what or kind.value, self.campaign, self.lead_key, self.sender, at),
            kind=kind,
            lead_key=self.lead_key,
            occurred_at=self.at,
            seen_at=self.at,
            channel=Channel.LINKEDIN,
            campaign_external_id=self.campaign,
            details=details,
        )
        return self.reading(engagements=[engagement])


@dataclass(frozen=True, slots=True)
class _Entry:
    """A member of recent_messages."""

    at: datetime
    direction: Direction
    text: str | None


def _told(event_type: str, fields: Fields, at: datetime | None = None) -> _Told:
    """`at` is what else in the payload tells a time, should its own be missing.

    Raises:
        ContractViolated: no time, or nobody named. There is nowhere to read it back, so a person has to look.
    """
    moment = fields.moment("timestamp") or at
    if moment is None:
        raise fields.refuse("timestamp", _UNBELIEVABLE)
    lead = fields.nested("lead")
    url = lead.filled("profile_url")
    if url is None:
        raise lead.refuse("profile_url", "is missing")
    profile = read_profile(url)
    if profile is None:
        raise lead.refuse("profile_url", "is not a LinkedIn profile")
    return _Told(
        event_type,
        fields,
        moment,
        profile,
        fields.nested("campaign").identifier("id"),
        fields.nested("sender").identifier("id"),
    )


def _campaign(fields: Fields, at: datetime) -> CampaignSighting | None:
    campaign = fields.nested("campaign")
    campaign_id = campaign.identifier("id")
    if campaign_id is None:
        return None
    return CampaignSighting(
        external_id=campaign_id,
        seen_at=at,
        channel=Channel.LINKEDIN,
        name=campaign.filled("name"),
        status=read_status(campaign),
    )


def _message(event_type: str, fields: Fields) -> Reading:
    """What was said: the message that the payload is about, with its campaign, and those that it tells along."""
    direction = Direction.INBOUND if event_type in events.INBOUND else Direction.OUTBOUND
    conversation_id = fields.token("conversation_id")
    if conversation_id is None:
        raise fields.refuse("conversation_id", "is missing")
    entries = [_entry(row) for row in fields.rows("recent_messages")]
    own = max((entry for entry in entries if entry.direction is direction), key=_age, default=None)
    if own is None:
        raise fields.refuse("recent_messages", f"holds no {direction} message")
    told = _told(event_type, fields, own.at)
    is_inmail = fields.flag("is_inmail")
    if is_inmail is None and event_type in (events.INMAIL_SENT, events.INMAIL_REPLY_RECEIVED):
        is_inmail = True
    us, them = fields.nested("sender").filled("profile_url"), profile_url(told.profile)
    our_profile = read_profile(us) if us is not None else None
    ours = profile_url(our_profile) if our_profile is not None else None
    messages: dict[str, MessageSighting] = {}
    for entry in sorted(entries, key=lambda entry: entry is not own):  # its own first: it says more
        is_own, is_outbound = entry is own, entry.direction is Direction.OUTBOUND
        key = keys.message(conversation_id, entry.at, entry.direction, entry.text or "")
        message = MessageSighting(
            key=key,
            conversation_key=keys.conversation(conversation_id),
            lead_key=told.lead_key,
            direction=entry.direction,
            seen_at=told.at,
            channel=Channel.LINKEDIN,
            campaign_external_id=told.campaign if is_own else None,
            occurred_at=entry.at,
            from_address=ours if is_outbound else them,
            to_address=them if is_outbound else ours,
            body_text=None if entry.text is None else _BREAK.sub("\n", entry.text),
            # Only what a campaign sends is reported as sent; who wrote the rest cannot be known.
            is_manual=False if is_own and is_outbound else None,
            is_inmail=is_inmail if is_own else None,
        )
        messages.setdefault(key, message)
    conversation = ConversationSighting(
        key=keys.conversation(conversation_id),
        lead_key=told.lead_key,
        seen_at=told.at,
        channel=Channel.LINKEDIN,
        campaign_external_id=told.campaign,
        external_id=conversation_id,
        sender_external_id=told.sender,
    )
    return told.reading(conversations=[conversation], messages=messages.values())


def _entry(row: Fields) -> _Entry:
    at, is_reply = row.moment("creation_time"), row.flag("is_reply")
    if at is None:
        raise row.refuse("creation_time", _UNBELIEVABLE)
    if is_reply is None:
        raise row.refuse("is_reply", "is missing")
    direction = Direction.INBOUND if is_reply else Direction.OUTBOUND
    return _Entry(at, direction, row.text("message"))  # empty: a voice message, and sometimes a written one


def _age(entry: _Entry) -> tuple[datetime, str]:
    return entry.at, keys.bare(entry.text or "")


def _connection(event_type: str, fields: Fields) -> Reading:
    kinds = {
        events.CONNECTION_REQUEST_SENT: EngagementKind.CONNECTION_REQUESTED,
        events.CONNECTION_REQUEST_ACCEPTED: EngagementKind.CONNECTION_ACCEPTED,
    }
    # connection_message stays untold: details travel with the event, and what people wrote stays here.
    return _told(event_type, fields).engagement(kinds[event_type], {})


def _gesture(event_type: str, fields: Fields) -> Reading:
    kinds = {
        events.VIEWED_PROFILE: EngagementKind.PROFILE_VIEWED,
        events.FOLLOW_SENT: EngagementKind.FOLLOWED,
        events.LIKED_POST: EngagementKind.LIKED,
    }
    return _told(event_type, fields).engagement(kinds[event_type], {})


def _tagged(event_type: str, fields: Fields) -> Reading:
    """A person changed the lead's tags: the payload tells all that it has now, not what came or went."""
    told = _told(event_type, fields)
    lead = fields.nested("lead")
    tags = lead.raw.get("tags")
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise lead.refuse("tags", "is not a list of tags")
    words = sorted({tag.strip() for tag in tags} - {""})
    details = {"category": ", ".join(words)[:LONGEST_DETAIL], "automatic": "false"}
    return told.engagement(EngagementKind.CATEGORIZED, details, what="categorized:tags")


def _auto_tagged(event_type: str, fields: Fields) -> Reading:
    """HeyReach judged a reply. Its word is the type's: the payload need not repeat it."""
    category, sentiment = {
        events.LEAD_AUTO_TAGGED_INTERESTED: ("Interested", "positive"),
        events.LEAD_AUTO_TAGGED_NOT_INTERESTED: ("Not interested", "negative"),
        events.LEAD_AUTO_TAGGED_GENERIC: ("Generic", ""),
    }[event_type]
    details = {"category": category, "sentiment": sentiment, "automatic": "true"}
    # With the word in the key, as LEAD_TAG_UPDATED of the same second is another statement.
    what = f"categorized:{category.lower().replace(' ', '_')}"
    return _told(event_type, fields).engagement(EngagementKind.CATEGORIZED, details, what=what)


def _completed(event_type: str, fields: Fields) -> Reading:
    campaign = fields.nested("campaign")
    campaign_id = campaign.identifier("id")
    if campaign_id is None:
        raise campaign.refuse("id", "is missing")
    at = fields.moment("timestamp")
    if at is None:
        wish = ReadBack(kind="campaign", external_id=campaign_id, reason=f"{event_type} without a time")
        return Reading(event_type=event_type, read_backs=(wish,))
    # Whatever word it carries: the API's status follows later, the type has said it all.
    completed = CampaignSighting(
        external_id=campaign_id,
        seen_at=at,
        channel=Channel.LINKEDIN,
        name=campaign.filled("name"),
        status=CampaignStatus.COMPLETED,
    )
    return Reading(event_type=event_type, campaigns=(completed,))


_READERS: dict[str, Callable[[str, Fields], Reading]] = {
    events.CONNECTION_REQUEST_SENT: _connection,
    events.CONNECTION_REQUEST_ACCEPTED: _connection,
    events.MESSAGE_SENT: _message,
    events.MESSAGE_REPLY_RECEIVED: _message,
    events.INMAIL_SENT: _message,
    events.INMAIL_REPLY_RECEIVED: _message,
    events.EVERY_MESSAGE_REPLY_RECEIVED: _message,
    events.FOLLOW_SENT: _gesture,
    events.LIKED_POST: _gesture,
    events.VIEWED_PROFILE: _gesture,
    events.CAMPAIGN_COMPLETED: _completed,
    events.LEAD_TAG_UPDATED: _tagged,
    events.LEAD_AUTO_TAGGED_INTERESTED: _auto_tagged,
    events.LEAD_AUTO_TAGGED_NOT_INTERESTED: _auto_tagged,
    events.LEAD_AUTO_TAGGED_GENERIC: _auto_tagged,
}

"""Smartlead's webhooks: bytes in, statements out. No order, no database, no network.

Three surprises shape everything here. The lead is not always whom `to_email` or `from_email` suggests. One e-mail's
stats id is shared by all that happens to it, and each of those payloads repeats the e-mail: so an open also states what
was sent, and a lost EMAIL_SENT loses nothing. And two types name no time: they state nothing and ask for a read-back.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from libs.errors import ContractViolated
from libs.providers.fields import Fields
from libs.providers.payloads import parse
from libs.providers.sightings import (
    CampaignSighting,
    ConversationSighting,
    Direction,
    DoorReading,
    EngagementKind,
    EngagementSighting,
    LeadSighting,
    MessageSighting,
    ReadBack,
    Reading,
    SequenceStepSighting,
    Source,
)
from libs.providers.smartlead import door, events, history, keys
from libs.providers.smartlead.campaigns import read_status

LONGEST_REASON = 500  # a bounce's text is a whole mail of a mail server; its first lines tell


class SmartleadWebhooks:
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
    """Who and where of a payload about one lead in one campaign, and when the provider says it was."""

    event_type: str
    fields: Fields
    campaign: str
    address: str
    at: datetime

    @property
    def lead_key(self) -> str:
        return keys.lead(self.address)

    @property
    def conversation_key(self) -> str:
        return keys.conversation(self.campaign, self.lead_key)

    def reading(
        self,
        *,
        lead: LeadSighting | None = None,
        conversation: ConversationSighting | None = None,
        messages: Iterable[MessageSighting | None] = (),
        engagements: Iterable[EngagementSighting] = (),
    ) -> Reading:
        told = tuple(message for message in messages if message is not None)
        engaged = tuple(engagements)
        steps = {message.step_number for message in told} | {engagement.step_number for engagement in engaged}
        return Reading(
            event_type=self.event_type,
            campaigns=(_campaign(self.fields, self.campaign, self.at),),
            steps=tuple(
                SequenceStepSighting(campaign_external_id=self.campaign, number=number, seen_at=self.at)
                for number in sorted(number for number in steps if number is not None)
            ),
            leads=(lead or self.lead(),),
            conversations=(conversation or self.conversation(),),
            messages=told,
            engagements=engaged,
        )

    def lead(self) -> LeadSighting:
        # `to_name` is not cut into first and last name: a guess that is newer would replace what lead_data stated.
        return LeadSighting(
            key=self.lead_key, seen_at=self.at, external_id=_lead_external_id(self.fields), email=self.address
        )

    def conversation(self) -> ConversationSighting:
        return ConversationSighting(
            key=self.conversation_key,
            lead_key=self.lead_key,
            seen_at=self.at,
            campaign_external_id=self.campaign,
            external_id=self.fields.identifier("sl_email_lead_map_id"),
            subject=self.fields.filled("subject"),
        )

    def sent_message(self, stats_id: str | None) -> MessageSighting | None:
        """The e-mail that the payload is about."""
        if stats_id is None:
            return None
        fields, sent = self.fields, self.fields.nested("sent_message")
        is_sending = self.event_type in (events.EMAIL_SENT, events.FIRST_EMAIL_SENT)
        step = fields.step("sequence_number")
        return MessageSighting(
            key=keys.sent(stats_id),
            conversation_key=self.conversation_key,
            lead_key=self.lead_key,
            direction=Direction.OUTBOUND,
            seen_at=self.at,
            campaign_external_id=self.campaign,
            step_number=step,
            step_source=Source.WEBHOOK if step is not None else None,
            occurred_at=sent.moment("time") or fields.moment("time_sent") or (self.at if is_sending else None),
            from_address=fields.address("from_email"),
            to_address=self.address,
            subject=fields.text("subject"),
            body_text=sent.filled("text"),
            body_html=sent.filled("html") or fields.filled("sent_message_body"),
            internet_message_id=sent.token("message_id") or (fields.token("message_id") if is_sending else None),
        )


def _told(event_type: str, fields: Fields, at: datetime | None) -> _Told | Reading:
    """The who, where and when; without a when, a reading that states nothing and asks."""
    campaign = _campaign_id(fields)
    address = _lead_address(fields)
    if at is None:
        return _asks_for_lead(event_type, campaign, address)
    return _Told(event_type, fields, campaign, address, at)


def _needed(fields: Fields, name: str, value: str | None) -> str:
    if value is None:
        raise fields.refuse(name, "is missing")
    return value


def _campaign_id(fields: Fields) -> str:
    return _needed(fields, "campaign_id", fields.identifier("campaign_id"))


def _lead_address(fields: Fields) -> str:
    # In EMAIL_REPLY from_email is our mailbox, and to_email is the lead's only as a rule: hence last.
    address = (
        fields.nested("leadCorrespondence").address("targetLeadEmail")
        or fields.address("sl_lead_email", "lead_email")
        or fields.nested("lead_data").address("email")
        or fields.nested("lead").address("email")
        or fields.address("to_email")
    )
    if address is None:
        raise fields.refuse("sl_lead_email, lead_email and to_email", "are missing: nothing names the lead")
    return address


def _lead_external_id(fields: Fields) -> str | None:
    return fields.identifier("sl_email_lead_id", "lead_id") or fields.nested("lead").identifier("id")


def _stats_id(fields: Fields) -> str:
    return _needed(fields, "stats_id", _stats_id_if_told(fields))


def _stats_id_if_told(fields: Fields) -> str | None:
    return fields.token("stats_id") or keys.stats_id_of(fields.nested("sent_message").token("message_id"))


def _campaign(fields: Fields, campaign: str, at: datetime) -> CampaignSighting:
    return CampaignSighting(
        external_id=campaign,
        seen_at=at,
        name=fields.filled("campaign_name"),
        status=read_status(fields, "campaign_status"),
        client_external_id=(fields.identifier("client_id") or "") if fields.states("client_id") else None,
    )


def _asks_for_lead(event_type: str, campaign: str | None, address: str) -> Reading:
    reason = f"{event_type} without a time"
    wish = ReadBack(kind="lead", external_id=keys.lead(address), campaign_external_id=campaign, reason=reason)
    return Reading(event_type=event_type, read_backs=(wish,))


def _sent(event_type: str, fields: Fields) -> Reading:
    stats_id = _stats_id(fields)
    at = fields.moment("event_timestamp", "time_sent", "timestamp") or fields.nested("sent_message").moment("time")
    told = _told(event_type, fields, at)
    return told if isinstance(told, Reading) else told.reading(messages=[told.sent_message(stats_id)])


def _opened(event_type: str, fields: Fields) -> Reading:
    stats_id = _stats_id(fields)
    told = _told(event_type, fields, fields.moment("event_timestamp", "time_opened", "timestamp"))
    if isinstance(told, Reading):
        return told
    opened = _engagement(told, EngagementKind.OPENED, keys.opened(stats_id, told.at), stats_id, {})
    return told.reading(messages=[told.sent_message(stats_id)], engagements=[opened])


def _clicked(event_type: str, fields: Fields) -> Reading:
    stats_id = _stats_id(fields)
    told = _told(event_type, fields, fields.moment("event_timestamp", "time_clicked", "timestamp"))
    if isinstance(told, Reading):
        return told
    clicks = []
    for link in _links(fields):
        key, details = keys.clicked(stats_id, told.at, link), ({"link": link} if link else {})
        clicks.append(_engagement(told, EngagementKind.CLICKED, key, stats_id, details))
    return told.reading(messages=[told.sent_message(stats_id)], engagements=clicks)


def _links(fields: Fields) -> list[str]:
    """The links clicked, each once; a click whose link is not told is still one click."""
    value = fields.raw.get("link_clicked")
    links = [value] if isinstance(value, str) else value
    if links is None:
        return [""]
    if not isinstance(links, list) or not all(isinstance(link, str) for link in links):
        raise fields.refuse("link_clicked", "is not a list of links")
    return list(dict.fromkeys(links)) or [""]


def _replied(event_type: str, fields: Fields) -> Reading:
    # One old integration nests the reply as `reply`.
    reply = fields.nested("reply_message") if fields.states("reply_message") else fields.nested("reply")
    message_id = _needed(fields, "reply_message.message_id", reply.token("message_id") or fields.token("message_id"))
    at = fields.moment("event_timestamp", "time_replied", "timestamp") or reply.moment("time")
    told = _told(event_type, fields, at)
    if isinstance(told, Reading):
        return told
    stats_id = _stats_id_if_told(fields)
    step = fields.step("sequence_number")
    message = MessageSighting(
        key=keys.reply(message_id),
        conversation_key=told.conversation_key,
        lead_key=told.lead_key,
        direction=Direction.INBOUND,
        seen_at=told.at,
        campaign_external_id=told.campaign,
        step_number=step,
        step_source=Source.WEBHOOK if step is not None else None,
        occurred_at=reply.moment("time") or told.at,
        from_address=fields.nested("leadCorrespondence").address("replyReceivedFrom"),  # may be a colleague of the lead
        to_address=fields.address("from_email"),
        # No subject: the payload's is that of the e-mail answered.
        body_text=reply.filled("text") or fields.filled("preview_text"),
        body_html=reply.filled("html") or fields.filled("reply_body"),
        internet_message_id=message_id,
        in_reply_to_key=keys.sent(stats_id) if stats_id else None,
    )
    return told.reading(messages=[told.sent_message(stats_id), message])


def _bounced(event_type: str, fields: Fields) -> Reading:
    stats_id = _stats_id(fields)
    if fields.flag("is_bounced") is False:
        raise fields.refuse("is_bounced", "is false in a bounce")
    bounce = fields.nested("bounce_message")
    # event_timestamp repeats the time of sending; the bounce's own message knows when it happened.
    known = bounce.moment("time")
    told = _told(event_type, fields, known or fields.moment("event_timestamp", "timestamp"))
    if isinstance(told, Reading):
        return told
    details = {}
    by_sender = fields.flag("is_sender_originated_bounce")
    if by_sender is not None:
        details["sender_originated"] = "true" if by_sender else "false"  # true: our mailbox failed, the lead is well
    reason = bounce.filled("text") or fields.filled("bounce_reply_email_preview", "bounce_reply_email")
    if reason is not None:
        details["reason"] = html.unescape(reason).strip()[:LONGEST_REASON]
    if known is None:
        details["time_is"] = "time of sending"
    engagement = _engagement(told, EngagementKind.BOUNCED, keys.bounced(stats_id), stats_id, details)
    return told.reading(messages=[told.sent_message(stats_id)], engagements=[engagement])


def _unsubscribed(event_type: str, fields: Fields) -> Reading:
    told = _told(event_type, fields, fields.moment("event_timestamp", "timestamp"))
    if isinstance(told, Reading):
        return told
    # Through a link the payload tells the e-mail, from the inbox an empty one.
    stats_id = _stats_id_if_told(fields)
    key = keys.unsubscribed(told.campaign, told.lead_key)
    engagement = _engagement(told, EngagementKind.UNSUBSCRIBED, key, stats_id, {})
    return told.reading(messages=[told.sent_message(stats_id)], engagements=[engagement])


def _engagement(
    told: _Told, kind: EngagementKind, key: str, stats_id: str | None, details: dict[str, str]
) -> EngagementSighting:
    return EngagementSighting(
        key=key,
        kind=kind,
        lead_key=told.lead_key,
        occurred_at=told.at,
        seen_at=told.at,
        campaign_external_id=told.campaign,
        message_key=keys.sent(stats_id) if stats_id else None,
        step_number=told.fields.step("sequence_number"),
        details=details,
    )


def _categorized(event_type: str, fields: Fields) -> Reading:
    told = _told(event_type, fields, fields.moment("event_timestamp", "timestamp"))
    if isinstance(told, Reading):
        return told
    change, data = fields.nested("lead_category"), fields.nested("lead_data")
    kind = data.nested("category")
    if change.states("new_name"):
        category = change.text("new_name") or ""  # null: the category was taken away
    else:
        category = fields.filled("category") or kind.filled("name") or ""
    # A category without a known sentiment states "none": that of an older category must not shine through.
    sentiment = (kind.text("sentiment_type") or "") if category and kind.text("name") in (category, None) else ""
    details = {"category": category, "sentiment": sentiment, "previous": change.text("old_name") or ""}

    rows = [*fields.rows("history"), *(fields.nested(name) for name in ("lastReply", "last_reply"))]
    told_messages: dict[str, MessageSighting] = {}
    last_reply: MessageSighting | None = None
    for row in rows:
        message = history.read_row(
            row, campaign=told.campaign, lead_key=told.lead_key, source=Source.WEBHOOK, seen_at=told.at
        )
        if message is not None:
            told_messages.setdefault(message.key, message)
            if message.direction is Direction.INBOUND:
                last_reply = message
    return told.reading(
        lead=LeadSighting(
            key=told.lead_key,
            seen_at=told.at,
            external_id=_lead_external_id(fields),
            email=told.address,
            profile_url=data.filled("linkedin_profile"),
            first_name=data.filled("first_name"),
            last_name=data.filled("last_name"),
            company_name=data.filled("company_name"),
            phone=data.filled("phone_number"),
            location=data.filled("location"),
        ),
        conversation=ConversationSighting(
            key=told.conversation_key,
            lead_key=told.lead_key,
            seen_at=told.at,
            campaign_external_id=told.campaign,
            category=category,
            sentiment=sentiment,
        ),
        messages=told_messages.values(),
        engagements=[
            EngagementSighting(
                key=keys.categorized(told.campaign, told.lead_key, told.at),
                kind=EngagementKind.CATEGORIZED,
                lead_key=told.lead_key,
                occurred_at=told.at,
                seen_at=told.at,
                campaign_external_id=told.campaign,
                message_key=last_reply.key if last_reply else None,
                step_number=fields.step("current_sequence"),
                details=details,
            )
        ],
    )


def _status_changed(event_type: str, fields: Fields) -> Reading:
    campaign = _campaign_id(fields)
    at = fields.moment("event_timestamp", "timestamp")  # not documented for this type; believed should it ever come
    if at is not None:
        return Reading(event_type=event_type, campaigns=(_campaign(fields, campaign, at),))
    wish = ReadBack(kind="campaign", external_id=campaign, reason=f"{event_type} names no time")
    return Reading(event_type=event_type, read_backs=(wish,))


def _manual_step(event_type: str, fields: Fields) -> Reading:
    return _asks_for_lead(event_type, _campaign_id(fields), _lead_address(fields))


def _untracked(event_type: str, fields: Fields) -> Reading:
    """A mail to one of our mailboxes that Smartlead can tie to no campaign and no lead."""
    reply = fields.nested("reply_message")
    message_id = _needed(fields, "reply_message.message_id", reply.token("message_id"))
    author = _needed(fields, "sender_detail", fields.address("sender_detail"))
    mailbox = _needed(fields, "recipient_detail", fields.address("recipient_detail"))
    at = fields.moment("event_timestamp", "timestamp") or reply.moment("time")
    if at is None:
        return _asks_for_lead(event_type, None, author)
    lead_key, key = keys.lead(author), keys.untracked_conversation(mailbox, author)
    subject = fields.text("subject")
    return Reading(
        event_type=event_type,
        leads=(LeadSighting(key=lead_key, seen_at=at, email=author),),
        conversations=(ConversationSighting(key=key, lead_key=lead_key, seen_at=at, subject=subject),),
        messages=(
            MessageSighting(
                key=keys.reply(message_id),
                conversation_key=key,
                lead_key=lead_key,
                direction=Direction.INBOUND,
                seen_at=at,
                occurred_at=reply.moment("time") or at,
                from_address=author,
                to_address=mailbox,
                subject=subject,
                body_text=reply.filled("text") or fields.filled("visible_text"),
                body_html=reply.filled("html"),
                internet_message_id=message_id,
            ),
        ),
    )


_READERS: dict[str, Callable[[str, Fields], Reading]] = {
    events.EMAIL_SENT: _sent,
    events.FIRST_EMAIL_SENT: _sent,
    events.EMAIL_OPEN: _opened,
    events.EMAIL_LINK_CLICK: _clicked,
    events.EMAIL_REPLY: _replied,
    events.EMAIL_BOUNCE: _bounced,
    events.LEAD_UNSUBSCRIBED: _unsubscribed,
    events.LEAD_CATEGORY_UPDATED: _categorized,
    events.CAMPAIGN_STATUS_CHANGED: _status_changed,
    events.UNTRACKED_REPLIES: _untracked,
    events.MANUAL_STEP_REACHED: _manual_step,
}

"""EmailBison's webhooks: bytes in, statements out. No order, no database, no network.

A payload is `event` (who posts) and `data`, up to six blocks. Most repeat the campaign's mail that they are about, so an
opening also states what was sent and a lost EMAIL_SENT loses nothing. Times that look like UTC are not all: `*_local`
and `*_est` are wall clocks with a Z behind them, and are never read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from libs.errors import ContractViolated
from libs.providers.emailbison import door, events, inbox, keys
from libs.providers.emailbison.inbox import RowKind
from libs.providers.fields import Fields, JsonObject
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

LONGEST_REASON = 500  # a bounce's text is a whole mail of a mail server; its first lines tell
INTERESTED = "Interested"  # the one judgement that the provider has; also the name of its built-in tag


class EmailBisonWebhooks:
    """Implements WebhookParsing."""

    def read_at_door(self, body: bytes) -> DoorReading:
        return door.read_at_door(body)

    def read_webhook(self, body: bytes) -> Reading:
        payload = parse(body)
        if not isinstance(payload, dict):
            raise ContractViolated("not a JSON object")
        return read_payload(payload)


def read_payload(payload: JsonObject) -> Reading:
    """What is posted; the log of events tells the same.

    Raises:
        ContractViolated: no payload of EmailBison's.
    """
    event_type = door.event_type_of(payload)
    if event_type is None:
        raise ContractViolated("event.type is missing")
    read = _READERS.get(event_type)
    if read is None:
        return Reading(event_type=event_type, recognized=False)
    try:
        fields = Fields(payload)
        workspace = fields.nested("event").identifier("workspace_id")
        reading = read(event_type, fields.nested("data"))
    except ContractViolated as refusal:
        raise ContractViolated(f"{event_type}: {refusal}") from None
    return replace(reading, workspace_external_id=workspace)


@dataclass(frozen=True, slots=True)
class _Told:
    """Who and where of a payload about one lead in one campaign, and when the provider says it was."""

    event_type: str
    data: Fields
    campaign: str
    address: str
    at: datetime

    @property
    def lead_key(self) -> str:
        return keys.lead(self.address)

    @property
    def conversation_key(self) -> str:
        return keys.conversation(self.campaign, self.lead_key)

    @property
    def mail(self) -> Fields:
        return self.data.nested("scheduled_email")

    @property
    def mail_id(self) -> str | None:
        return self.mail.identifier("id")

    @property
    def step(self) -> int | None:
        return self.mail.step("sequence_step_order")

    def reading(
        self,
        *,
        message: MessageSighting | None = None,
        engagement: EngagementSighting | None = None,
        is_interested: bool | None = None,
    ) -> Reading:
        messages = tuple(told for told in (self.sent_message(), message) if told is not None)
        step = self.step
        return Reading(
            event_type=self.event_type,
            campaigns=(
                CampaignSighting(
                    external_id=self.campaign, seen_at=self.at, name=self.data.nested("campaign").filled("name")
                ),
            ),
            # Without `sequence_step_id`: for a variant it is the variant's, and the step's own is its parent's.
            steps=()
            if step is None
            else (SequenceStepSighting(campaign_external_id=self.campaign, number=step, seen_at=self.at),),
            leads=(_lead(self.data, self.address, self.at),),
            conversations=(
                ConversationSighting(
                    key=self.conversation_key,
                    lead_key=self.lead_key,
                    seen_at=self.at,
                    campaign_external_id=self.campaign,
                    subject=self.mail.filled("email_subject"),
                    # A later reply says false of itself and nothing of the lead: only true is a statement.
                    category=INTERESTED if is_interested else None,
                    sentiment="positive" if is_interested else None,
                ),
            ),
            messages=messages,
            engagements=() if engagement is None else (engagement,),
        )

    def sent_message(self) -> MessageSighting | None:
        """The campaign's mail that the payload is about; None when it names none. Reply events tell no text of it."""
        mail, step = self.mail, self.step
        if self.mail_id is None:
            return None
        is_sending = self.event_type in events.SENDINGS
        return MessageSighting(
            key=keys.sent(self.mail_id),
            conversation_key=self.conversation_key,
            lead_key=self.lead_key,
            direction=Direction.OUTBOUND,
            seen_at=self.at,
            campaign_external_id=self.campaign,
            step_number=step,
            step_source=Source.WEBHOOK if step is not None else None,
            occurred_at=mail.moment("sent_at") or (self.at if is_sending else None),
            # A person may answer from another mailbox than the one that the sequence writes from.
            from_address=None if self.event_type == events.MANUAL_EMAIL_SENT else _mailbox(self.data),
            to_address=self.address,
            subject=mail.text("email_subject"),
            body_html=mail.filled("email_body"),
            internet_message_id=mail.token("raw_message_id"),
            is_manual=False,
        )

    def engagement(self, kind: EngagementKind, key: str, details: dict[str, str] | None = None) -> EngagementSighting:
        return EngagementSighting(
            key=key,
            kind=kind,
            lead_key=self.lead_key,
            occurred_at=self.at,
            seen_at=self.at,
            campaign_external_id=self.campaign,
            message_key=keys.sent(self.mail_id) if self.mail_id is not None else None,
            step_number=self.step,
            details=details or {},
        )


def _told(event_type: str, data: Fields, at: datetime | None) -> _Told | Reading:
    """The who, where and when; without a when, a reading that states nothing and asks."""
    campaign = _needed(data.nested("campaign"), "id", data.nested("campaign").identifier("id"))
    address = _needed(data.nested("lead"), "email", data.nested("lead").address("email"))
    if at is None:
        return _asks_for_lead(event_type, campaign, address)
    return _Told(event_type, data, campaign, address, at)


def _needed(fields: Fields, name: str, value: str | None) -> str:
    if value is None:
        raise fields.refuse(name, "is missing")
    return value


def _asks_for_lead(event_type: str, campaign: str | None, address: str) -> Reading:
    reason = f"{event_type} without a time"
    wish = ReadBack(kind="lead", external_id=keys.lead(address), campaign_external_id=campaign, reason=reason)
    return Reading(event_type=event_type, read_backs=(wish,))


def _happened_at(data: Fields) -> datetime | None:
    return data.nested("campaign_event").moment("created_at")


def _mailbox(data: Fields) -> str | None:
    return data.nested("sender_email").address("email")


def _lead(data: Fields, address: str, at: datetime) -> LeadSighting:
    lead = data.nested("lead")
    return LeadSighting(
        key=keys.lead(address),
        seen_at=at,
        external_id=lead.identifier("id"),
        email=address,
        first_name=lead.filled("first_name"),
        last_name=lead.filled("last_name"),
        company_name=lead.filled("company"),
        title=lead.filled("title"),
        # No phone: custom variables have the names that each workspace gave them.
    )


def _sent(event_type: str, data: Fields) -> Reading:
    mail = data.nested("scheduled_email")
    _needed(mail, "id", mail.identifier("id"))
    told = _told(event_type, data, _happened_at(data) or mail.moment("sent_at"))
    return told if isinstance(told, Reading) else told.reading()


def _opened(event_type: str, data: Fields) -> Reading:
    happening = data.nested("campaign_event").identifier("id")
    # Without its event an opening has neither name nor time; the mail's are those of the sending.
    told = _told(event_type, data, _happened_at(data) if happening is not None else None)
    if isinstance(told, Reading):
        return told
    assert happening is not None
    return told.reading(engagement=told.engagement(EngagementKind.OPENED, keys.opened(happening)))


def _unsubscribed(event_type: str, data: Fields) -> Reading:
    known = _happened_at(data)
    told = _told(event_type, data, known or data.nested("scheduled_email").moment("sent_at"))
    if isinstance(told, Reading):
        return told
    key = keys.unsubscribed(told.campaign, told.lead_key)
    return told.reading(engagement=told.engagement(EngagementKind.UNSUBSCRIBED, key, _time_is(known)))


def _bounced(event_type: str, data: Fields) -> Reading:
    mail, notice = data.nested("scheduled_email"), data.nested("reply")
    mail_id = _needed(mail, "id", mail.identifier("id"))
    known = _happened_at(data) or notice.moment("date_received", "created_at")
    told = _told(event_type, data, known or mail.moment("sent_at"))
    if isinstance(told, Reading):
        return told
    details = _time_is(known)
    reason = notice.filled("text_body")  # no field says whether it is hard or soft
    if reason is not None:
        details["reason"] = reason.strip()[:LONGEST_REASON]
    return told.reading(engagement=told.engagement(EngagementKind.BOUNCED, keys.bounced(mail_id), details))


def _time_is(known: datetime | None) -> dict[str, str]:
    return {} if known is not None else {"time_is": "time of sending"}


def _replied(event_type: str, data: Fields) -> Reading:
    """LEAD_REPLIED, and LEAD_INTERESTED, which tells the same reply once more when it was judged."""
    row = data.nested("reply")
    reply_id = inbox.id_of(row)
    told = _told(event_type, data, _happened_at(data) or inbox.version_of(row))
    if isinstance(told, Reading):
        return told
    message = inbox.read_row(
        row,
        RowKind.REPLY,
        conversation_key=told.conversation_key,
        lead_key=told.lead_key,
        campaign=told.campaign,
        mailbox=_mailbox(data),
        seen_at=told.at,
        answers=told.mail_id,
        step=told.step,
        step_source=Source.WEBHOOK,
    )
    if event_type != events.LEAD_INTERESTED:
        # Automatic judgement may be there before the reply is told; LEAD_INTERESTED comes all the same.
        return told.reading(message=message, is_interested=row.flag("interested"))
    details = {"category": INTERESTED, "sentiment": "positive", "previous": ""}
    judged = replace(
        told.engagement(EngagementKind.CATEGORIZED, keys.interested(reply_id), details), message_key=message.key
    )
    return told.reading(message=message, engagement=judged, is_interested=True)


def _manual(event_type: str, data: Fields) -> Reading:
    """A mail that a person (or a program through the API) wrote; without a campaign it belongs to no lead's thread."""
    row = data.nested("reply")
    inbox.id_of(row)
    # Not `scheduled_email.sent_at`: that is the sequence's mail before it.
    at = _happened_at(data) or inbox.version_of(row)
    if data.nested("campaign").identifier("id") is not None and data.nested("lead").address("email") is not None:
        told = _told(event_type, data, at)
        if isinstance(told, Reading):
            return told
        message = inbox.read_row(
            row,
            RowKind.MANUAL,
            conversation_key=told.conversation_key,
            lead_key=told.lead_key,
            campaign=told.campaign,
            mailbox=_mailbox(data),
            seen_at=told.at,
        )
        return told.reading(message=message)
    return _untold_campaign(event_type, data, RowKind.MANUAL, at)


def _untracked(event_type: str, data: Fields) -> Reading:
    """A mail to one of our mailboxes that EmailBison can tie to no campaign."""
    inbox.id_of(data.nested("reply"))
    return _untold_campaign(event_type, data, RowKind.REPLY, inbox.version_of(data.nested("reply")))


def _untold_campaign(event_type: str, data: Fields, kind: RowKind, at: datetime | None) -> Reading:
    """A message between a mailbox of ours and somebody, outside of all campaigns."""
    row = data.nested("reply")
    if kind is RowKind.MANUAL:
        address = data.nested("lead").address("email") or inbox.correspondent_of(row)
        mailbox = _mailbox(data) or row.address("from_email_address")
    else:
        address = _needed(row, "from_email_address", row.address("from_email_address"))
        mailbox = _mailbox(data) or row.address("primary_to_email_address")
    mailbox = _needed(data.nested("sender_email"), "email", mailbox)
    if at is None:
        return _asks_for_lead(event_type, None, address)
    lead_key, key = keys.lead(address), keys.untracked_conversation(mailbox, address)
    message = inbox.read_row(
        row, kind, conversation_key=key, lead_key=lead_key, campaign=None, mailbox=mailbox, seen_at=at
    )
    return Reading(
        event_type=event_type,
        leads=(_lead(data, address, at),),
        conversations=(ConversationSighting(key=key, lead_key=lead_key, seen_at=at, subject=message.subject),),
        messages=(message,),
    )


def _states_nothing(event_type: str, _: Fields) -> Reading:
    """Mailboxes, warm-up and tags: without a time, and of things that the model does not hold. So there is nothing to
    state and nothing to read back; the bytes are kept and counted."""
    return Reading(event_type=event_type)


_READERS: dict[str, Callable[[str, Fields], Reading]] = {
    events.EMAIL_SENT: _sent,
    events.LEAD_FIRST_CONTACTED: _sent,
    events.EMAIL_OPENED: _opened,
    events.LEAD_UNSUBSCRIBED: _unsubscribed,
    events.LEAD_REPLIED: _replied,
    events.LEAD_INTERESTED: _replied,
    events.EMAIL_BOUNCED: _bounced,
    events.UNTRACKED_REPLY_RECEIVED: _untracked,
    events.MANUAL_EMAIL_SENT: _manual,
    **dict.fromkeys(events.WITHOUT_TIME, _states_nothing),
}

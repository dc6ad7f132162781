"""One lead in one campaign, told by the rows of that lead; and whose mail is whose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from libs.providers.emailbison import inbox, keys
from libs.providers.emailbison.inbox import RowKind
from libs.providers.emailbison.transport import required
from libs.providers.emailbison.webhooks import INTERESTED
from libs.providers.fields import Fields
from libs.providers.sightings import ConversationSighting, Direction, LeadSighting, MessageSighting, Source


class Addresses:
    """Whose mail is whose, from the rows that say so."""

    def __init__(self) -> None:
        self._by_lead: dict[str, str] = {}
        self._by_mail: dict[str, str] = {}

    def learn(self, row: Fields, mail_id: str, address: str) -> None:
        self._by_mail[mail_id] = address
        lead_id = row.identifier("lead_id") or row.nested("lead").identifier("id")
        if lead_id is not None:
            self._by_lead[lead_id] = address

    def find(self, row: Fields) -> str | None:
        return (
            row.nested("lead").address("email")
            or self._by_lead.get(row.identifier("lead_id") or "")
            or self._by_mail.get(row.identifier("scheduled_email_id") or "")
        )


class Story:
    """One lead in one campaign, told by the rows of that lead."""

    def __init__(self, campaign: str, address: str, numbers: Mapping[str, int]) -> None:
        self._campaign = campaign
        self._address = address
        self._numbers = numbers
        self._is_interested = False

    @property
    def _lead_key(self) -> str:
        return keys.lead(self._address)

    @property
    def _conversation_key(self) -> str:
        return keys.conversation(self._campaign, self._lead_key)

    def messages(self, mails: Sequence[Fields], rows: Sequence[Fields]) -> list[MessageSighting]:
        found: list[MessageSighting] = []
        steps_of: dict[str, int | None] = {}
        mailboxes: dict[str | None, str | None] = {}
        own_mail: set[str] = set()
        for mail in mails:
            sent_at = mail.moment("sent_at")
            if mail.identifier("campaign_id") != self._campaign or sent_at is None:
                continue
            mail_id = required(mail, "id", mail.identifier("id"))
            steps_of[mail_id] = self._numbers.get(mail.identifier("sequence_step_id") or "")
            sender = mail.nested("sender_email")
            mailboxes[mail_id] = sender.address("email")
            own_mail.add(mail.token("raw_message_id") or "")
            found.append(sent_mail(mail, self._campaign, self._address, steps_of[mail_id], mailboxes[mail_id]))
        for row in rows:
            kind, mail_id_answered = kind_of(row), row.identifier("scheduled_email_id")
            if row.identifier("campaign_id") != self._campaign or kind is RowKind.BOUNCE:
                continue
            if is_own_mail(row, kind, own_mail):
                continue
            self._is_interested |= row.flag("interested") is True
            version = inbox.version_of(row)
            if version is None:
                raise row.refuse("date_received", "is missing")
            found.append(
                inbox.read_row(
                    row,
                    kind,
                    conversation_key=self._conversation_key,
                    lead_key=self._lead_key,
                    campaign=self._campaign,
                    mailbox=mailboxes.get(mail_id_answered),
                    seen_at=version,
                    answers=mail_id_answered,
                    step=steps_of.get(mail_id_answered or ""),
                    step_source=Source.PULL,
                )
            )
        return found

    def conversation(self, seen_at: datetime) -> ConversationSighting:
        """Of all replies as they are now: here, unlike in a webhook, no interest is a statement."""
        return ConversationSighting(
            key=self._conversation_key,
            lead_key=self._lead_key,
            seen_at=seen_at,
            campaign_external_id=self._campaign,
            category=INTERESTED if self._is_interested else "",
            sentiment="positive" if self._is_interested else "",
        )


def sent_mail(mail: Fields, campaign: str, address: str, step: int | None, mailbox: str | None) -> MessageSighting:
    """A mail of the sequence that has gone."""
    sent_at = mail.moment("sent_at")
    if sent_at is None:
        raise mail.refuse("sent_at", "is missing")
    lead_key = keys.lead(address)
    return MessageSighting(
        key=keys.sent(required(mail, "id", mail.identifier("id"))),
        conversation_key=keys.conversation(campaign, lead_key),
        lead_key=lead_key,
        direction=Direction.OUTBOUND,
        seen_at=sent_at,  # what was sent does not change, and the row tells no other time of the provider
        campaign_external_id=campaign,
        step_number=step,
        step_source=Source.PULL if step is not None else None,
        occurred_at=sent_at,
        from_address=mailbox,
        to_address=address,
        subject=mail.text("email_subject"),
        body_html=mail.filled("email_body"),
        internet_message_id=mail.token("raw_message_id"),
        is_manual=False,
    )


def kind_of(row: Fields) -> RowKind:
    kind = inbox.kind_of(row)
    if kind is None:  # to guess would make replies of bounces
        raise row.refuse("type", "is none that we know")
    return kind


def is_own_mail(row: Fields, kind: RowKind, own_mail: set[str]) -> bool:
    """Whether an outgoing row is a mail of the sequence, which an inbox that syncs everything holds once more."""
    message_id = row.token("raw_message_id")
    return kind is RowKind.MANUAL and message_id is not None and message_id in own_mail


def lead_sighting(lead: Fields, lead_id: str, address: str, seen_at: datetime) -> LeadSighting:
    return LeadSighting(
        key=keys.lead(address),
        seen_at=seen_at,
        external_id=lead_id,
        email=address,
        first_name=lead.filled("first_name"),
        last_name=lead.filled("last_name"),
        company_name=lead.filled("company"),
        title=lead.filled("title"),
    )

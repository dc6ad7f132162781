"""Webhook bodies, block by block as EmailBison posts them. The blocks are not the objects of the API: other names."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from libs.providers.emailbison import events
from libs.providers.emailbison.simulator.model import Account, Campaign, Enrolment, InboxRow, Mail, Mailbox

Payload = dict[str, object]

LOCAL_TIMEZONE = "America/New_York"
_LOCAL_OFFSET = timedelta(hours=4)

_NAMES = {
    events.LEAD_REPLIED: "Lead Replied",  # the list of types calls it "Contact Replied"
}
_EVENT_WORDS = {
    events.EMAIL_SENT: "sent",
    events.LEAD_FIRST_CONTACTED: "sent",
    events.EMAIL_OPENED: "open",
    events.LEAD_UNSUBSCRIBED: "unsubscribed",
    events.LEAD_REPLIED: "replied",
    events.LEAD_INTERESTED: "interested",
    events.EMAIL_BOUNCED: "bounce",
}


def zulu(at: datetime) -> str:
    """`2026-09-01T14:00:09.000000Z`"""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def wall_clock(at: datetime) -> str:
    """The local time, with a Z behind it all the same."""
    return zulu(at - _LOCAL_OFFSET)


def name_of(event_type: str) -> str:
    return _NAMES.get(event_type, event_type.replace("_", " ").title())


@dataclass(frozen=True, slots=True)
class Payloads:
    """Makes bodies for one workspace."""

    account: Account

    def about_mail(
        self, event_type: str, campaign: Campaign, enrolment: Enrolment, mail: Mail, *, event_id: int, at: datetime
    ) -> Payload:
        """A sending, an opening, an unsubscription."""
        return self._post(
            event_type,
            {
                "scheduled_email": scheduled_email(enrolment, mail, with_text=True),
                "campaign_event": campaign_event(event_type, event_id, at),
                "lead": lead(enrolment),
                "campaign": {"id": campaign.id, "name": campaign.name},
                "sender_email": sender_email(mail.mailbox),
            },
        )

    def about_reply(
        self, event_type: str, campaign: Campaign, enrolment: Enrolment, row: InboxRow, *, event_id: int, at: datetime
    ) -> Payload:
        """A reply, its judgement, a bounce: the mail is told without its text."""
        assert row.mail is not None
        return self._post(
            event_type,
            {
                "reply": reply(row),
                "campaign_event": campaign_event(event_type, event_id, at),
                "lead": lead(enrolment),
                "campaign": {"id": campaign.id, "name": campaign.name},
                "scheduled_email": scheduled_email(enrolment, row.mail, with_text=False),
                "sender_email": sender_email(row.mailbox),
            },
        )

    def untracked(self, row: InboxRow) -> Payload:
        return self._post(
            events.UNTRACKED_REPLY_RECEIVED, {"reply": reply(row), "sender_email": sender_email(row.mailbox)}
        )

    def manual(self, row: InboxRow, enrolment: Enrolment | None) -> Payload:
        """A mail by hand; without an enrolment to somebody whom no campaign knows."""
        told = reply(row)
        del told["uuid"]
        campaign, mail = row.campaign, row.mail
        return self._post(
            events.MANUAL_EMAIL_SENT,
            {
                "reply": told,
                "lead": lead(enrolment) if enrolment is not None else None,
                "campaign": {"id": campaign.id, "name": campaign.name} if campaign is not None else None,
                "scheduled_email": scheduled_email(enrolment, mail, with_text=False)
                if enrolment is not None and mail is not None
                else None,
                "sender_email": sender_email(row.mailbox),
            },
        )

    def about_mailbox(self, event_type: str, mailbox: Mailbox) -> Payload:
        return self._post(event_type, {"sender_email": sender_email(mailbox)})

    def tag(self, event_type: str, tag: tuple[int, str], taggable_id: int, taggable_type: str) -> Payload:
        return self._post(
            event_type,
            {"tag_id": tag[0], "tag_name": tag[1], "taggable_id": taggable_id, "taggable_type": taggable_type},
        )

    def unknown(self, event_type: str, number: int) -> Payload:
        """A type of which only the name is known."""
        return self._post(event_type, {"id": number})

    def _post(self, event_type: str, data: Payload) -> Payload:
        account = self.account
        return {
            "event": {
                "type": event_type,
                "name": name_of(event_type),
                "instance_url": account.instance_url,
                "workspace_id": account.workspace_id,
                "workspace_name": account.workspace_name,
            },
            "data": data,
        }


def scheduled_email(enrolment: Enrolment, mail: Mail, *, with_text: bool) -> Payload:
    text: Payload = {}
    if with_text:
        text = {"lead_id": enrolment.lead.id}
    told: Payload = {
        "id": mail.id,
        **text,
        "sequence_step_id": mail.step.id,
        "sequence_step_order": mail.step.number,
        "sequence_step_variant": mail.variant,
    }
    if with_text:
        told |= {"email_subject": mail.subject, "email_body": mail.html}
    return {
        **told,
        "status": "sent",
        "scheduled_date_est": wall_clock(mail.scheduled_at),
        "scheduled_date_local": wall_clock(mail.scheduled_at),
        "local_timezone": LOCAL_TIMEZONE,
        "sent_at": zulu(mail.sent_at) if mail.sent_at is not None else None,
        "opens": mail.opens,
        "replies": mail.replies,
        "unique_opens": min(mail.opens, 1),
        "unique_replies": min(mail.replies, 1),
        "interested": True if mail.is_interested else None,
        "raw_message_id": mail.message_id,
    }


def campaign_event(event_type: str, event_id: int, at: datetime) -> Payload:
    return {
        "id": event_id,
        "type": _EVENT_WORDS[event_type],
        "created_at_local": wall_clock(at),
        "local_timezone": LOCAL_TIMEZONE,
        "created_at": zulu(at),
    }


def lead(enrolment: Enrolment) -> Payload:
    """With flat counters, where the API nests them."""
    person, opens = enrolment.lead, sum(mail.opens for mail in enrolment.mails)
    return {
        "id": person.id,
        "email": person.address,
        "first_name": person.first_name,
        "last_name": person.last_name,
        "status": person.status,
        "title": person.title,
        "company": person.company,
        "custom_variables": person.custom_variables,
        "emails_sent": len(enrolment.sent),
        "opens": opens,
        "unique_opens": sum(mail.opens > 0 for mail in enrolment.mails),
        "replies": enrolment.replies,
        "unique_replies": min(enrolment.replies, 1),
        "bounces": enrolment.bounces,
    }


def sender_email(mailbox: Mailbox) -> Payload:
    """Without the `_count` that the API puts behind every counter, and with a status in small letters."""
    counts = mailbox.counts
    return {
        "id": mailbox.id,
        "name": mailbox.name,
        "email": mailbox.address,
        "status": "connected" if mailbox.is_connected else "not_connected",
        "type": "google_workspace_oauth",
        "daily_limit": 15,
        "emails_sent": counts["sent"],
        "replied": counts["replied"],
        "opened": counts["opened"],
        "unsubscribed": counts["unsubscribed"],
        "bounced": counts["bounced"],
        "unique_replies": counts["replied"],
        "unique_opens": counts["opened"],
        "total_leads_contacted": counts["sent"],
        "interested": counts["interested"],
        "created_at": zulu(mailbox.created_at),
        "updated_at": zulu(mailbox.updated_at),
    }


def reply(row: InboxRow) -> Payload:
    """`email_subject`, where the API says `subject`; nothing of campaign, lead and mailbox."""
    return {
        "id": row.id,
        "uuid": row.uuid,
        "email_subject": row.subject,
        "interested": row.is_interested,
        "automated_reply": row.is_automated,
        "html_body": row.html,
        "text_body": row.text,
        "raw_body": None,
        "headers": None,
        "date_received": zulu(row.received_at),
        "type": row.type,
        "from_name": row.from_name,
        "from_email_address": row.from_address,
        "primary_to_email_address": row.to_address,
        "to": [{"name": row.to_name, "address": row.to_address}],
        "cc": [{"name": one, "address": one} for one in row.cc] or None,
        "bcc": [{"name": one, "address": one} for one in row.bcc] or None,
        "parent_id": None,
        "folder": row.folder,
        "raw_message_id": row.message_id,
        "created_at": zulu(row.created_at),
        "updated_at": zulu(row.updated_at),
        "attachments": [],
    }

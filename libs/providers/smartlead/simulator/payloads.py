"""Webhook bodies, field by field and type by type as Smartlead posts them: an id is text here and a number there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from libs.providers.smartlead import events
from libs.providers.smartlead.simulator.model import CATEGORIES, Account, Campaign, Enrolment, Reply, Sent

Payload = dict[str, object]

_CATEGORY_NAMES = {number: name for number, name, _ in CATEGORIES}
_SENTIMENTS = {number: sentiment for number, _, sentiment in CATEGORIES}


def offset_time(at: datetime) -> str:
    """`2026-07-11T12:51:48.2+00:00`: milliseconds, cut behind the last digit that is not 0."""
    whole = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{at.microsecond // 1000:03d}".rstrip("0")
    return f"{whole}.{fraction}+00:00" if fraction else f"{whole}+00:00"


def microsecond_time(at: datetime) -> str:
    """`2026-07-11T12:14:02.118881+00:00`"""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f+00:00")


def zulu_time(at: datetime) -> str:
    """`2026-07-11T14:46:19.940Z`"""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


@dataclass(frozen=True, slots=True)
class Payloads:
    """Makes bodies for one account. `webhook_url` is what its registration says, wherever the plan is posted to."""

    account: Account
    webhook_url: str = "https://hooks.example.com/smartlead"
    webhook_name: str = "Outrider"

    def sent(
        self, campaign: Campaign, enrolment: Enrolment, sent: Sent, *, event_type: str = events.EMAIL_SENT
    ) -> Payload:
        number = _number(sent)
        return {
            **self._of_mail(campaign, enrolment, sent, sent.at),
            "time_sent": offset_time(sent.at),
            "event_timestamp": offset_time(sent.at),
            "campaign_name": campaign.name,
            "campaign_id": campaign.id,
            "sequence_number": number,
            "custom_subject": sent.subject,
            "custom_email_message": sent.html,
            "sent_message_body": sent.html,
            "sent_message": sent_message(sent),
            "subject": sent.subject,
            "message_id": sent.message_id,
            **self._tail(
                event_type,
                f"Email {number} sent to {enrolment.lead.address} for campaign - {campaign.name}",
                self._inbox_url(enrolment),
            ),
        }

    def opened(self, campaign: Campaign, enrolment: Enrolment, sent: Sent, at: datetime) -> Payload:
        return {
            **self._of_mail(campaign, enrolment, sent, at),
            "time_opened": microsecond_time(at),
            "event_timestamp": microsecond_time(at),
            **_about(campaign, sent),
            **self._tail(
                events.EMAIL_OPEN,
                f"{enrolment.lead.address} opened Email {_number(sent)} for campaign - {campaign.name}",
                self._inbox_url(enrolment),
            ),
        }

    def clicked(self, campaign: Campaign, enrolment: Enrolment, sent: Sent, at: datetime, link: str) -> Payload:
        return {
            **self._of_mail(campaign, enrolment, sent, at),
            "time_clicked": microsecond_time(at),
            "event_timestamp": microsecond_time(at),
            "link_clicked": [link],
            "link_details": [],
            **_about(campaign, sent),
            **self._tail(
                events.EMAIL_LINK_CLICK,
                f"{enrolment.lead.address} clicked Email {_number(sent)} for campaign - {campaign.name}",
                self._inbox_url(enrolment),
            ),
        }

    def replied(self, campaign: Campaign, enrolment: Enrolment, sent: Sent, reply: Reply) -> Payload:
        lead, number = enrolment.lead, _number(sent)
        payload: Payload = {
            "campaign_status": campaign.status_at(reply.at),
            "stats_id": sent.stats_id,
            "reply_source": "CAMPAIGN",
            "sl_email_lead_id": str(lead.id),
            "sl_email_lead_map_id": enrolment.map_id,
            "sl_lead_email": lead.address,
            "from_email": sent.mailbox.address,
            "cc_emails": [],
            "subject": sent.subject,
            "sent_message_body": sent.html,
            "sent_message": sent_message(sent),
            "to_email": lead.address,
            "to_name": lead.name,
            "time_replied": offset_time(reply.at),
            "event_timestamp": offset_time(reply.at),
            "reply_message": _reply_message(reply),
            "reply_body": reply.html,
            "message_id": reply.message_id,
            "preview_text": reply.text,
            "campaign_name": campaign.name,
            "campaign_id": campaign.id,
            "client_id": campaign.client_id,
            "sequence_number": number,
            "leadCorrespondence": {
                "targetLeadEmail": lead.address,
                "replyReceivedFrom": reply.author,
                "repliedCompanyDomain": reply.company,
            },
        }
        if reply.is_threaded:
            payload["stats_thread_id"] = sent.stats_id
        description = f"{lead.address} replied to Email {number} for campaign - {campaign.name} "
        return {**payload, **self._tail(events.EMAIL_REPLY, description, self._inbox_url(enrolment))}

    def bounced(self, campaign: Campaign, enrolment: Enrolment, sent: Sent, at: datetime) -> Payload:
        """`event_timestamp` is that of the sending, and the id of the pair is missing: so it was captured."""
        bounce_id = f"<{sent.stats_id[:8]}.GMR@mx.example.com>"
        text = "Address not found Your message wasn&#39;t delivered ..."
        payload = self.sent(campaign, enrolment, sent, event_type=events.EMAIL_BOUNCE)
        del payload["sl_email_lead_map_id"]
        del payload["event_type"]
        return {
            **payload,
            "campaign_status": campaign.status_at(at),
            "is_bounced": True,
            "is_sender_originated_bounce": sent.is_bounce_by_sender,
            "bounce_reply_message_id": bounce_id,
            "bounce_reply_email": text,
            "bounce_reply_email_preview": text,
            "bounce_message": {"message_id": bounce_id, "html": text, "text": text, "time": zulu_time(at)},
            "event_type": events.EMAIL_BOUNCE,
        }

    def unsubscribed(self, campaign: Campaign, enrolment: Enrolment, sent: Sent | None, at: datetime) -> Payload:
        """Through the link in `sent`; from the inbox, of which no e-mail is told, when None."""
        lead = enrolment.lead
        payload: Payload = {
            "campaign_status": campaign.status_at(at),
            "client_id": campaign.client_id,
            "event_timestamp": zulu_time(at),
            "lead_email": lead.address,
            "to_email": lead.address,
            "from_email": sent.mailbox.address if sent else "",
            "lead_name": lead.name,
            "to_name": lead.name,
            "campaign_name": campaign.name,
            "sent_message": sent_message(sent) if sent else {"message_id": None, "text": ""},
            "campaign_id": campaign.id,
            "unsubscribed_client_id_map": {},
        }
        if sent is not None:
            payload |= {"subject": sent.subject, "sequence_number": _number(sent)}
        description = f"Lead - {lead.address} unsubscribed from the campaign - {campaign.name}"
        url = "https://app.smartlead.ai/app/master-inbox?leadMap="
        return {**payload, **self._tail(events.LEAD_UNSUBSCRIBED, description, url)}

    def categorized(
        self, campaign: Campaign, enrolment: Enrolment, at: datetime, *, old_id: int | None, new_id: int
    ) -> Payload:
        lead, history = enrolment.lead, message_rows(enrolment, until=at)
        replies = [row for row in history if row["type"] == "REPLY"]
        last_reply = {**replies[-1], "cc_emails": []} if replies else None
        category = _CATEGORY_NAMES[new_id]
        # Integrators have met this id as a number and as text.
        lead_id: int | str = lead.id if lead.id % 2 else str(lead.id)
        steps = [sent.step.number for sent in enrolment.sent if sent.step is not None and sent.at <= at]
        return {
            "campaign_status": campaign.status_at(at),
            "client_id": campaign.client_id,
            "lead_id": lead_id,
            "lead_email": lead.address,
            "lead_name": lead.first_name,
            "lead_data": {
                "email": lead.address,
                "first_name": lead.first_name,
                "last_name": lead.last_name,
                "phone_number": None,
                "company_name": lead.company_name,
                "website": None,
                "location": None,
                "custom_fields": {},
                "linkedin_profile": None,
                "company_url": None,
                "category": {"name": category, "sentiment_type": _SENTIMENTS[new_id]},
            },
            "category": category,
            "lead_category_id": new_id,
            "event_timestamp": zulu_time(at),
            "lead_category": {
                "old_id": old_id,
                "old_name": _CATEGORY_NAMES.get(old_id) if old_id else None,
                "new_id": new_id,
                "new_name": category,
            },
            "current_sequence": max(steps, default=1),
            "campaign_name": campaign.name,
            "campaign_id": campaign.id,
            "from": enrolment.mailbox.address,
            "from_email": enrolment.mailbox.address,
            "to": lead.address,
            "to_email": lead.address,
            "to_name": lead.first_name,
            "history": history,
            "lastReply": last_reply,
            "last_reply": last_reply,
            **self._tail(
                events.LEAD_CATEGORY_UPDATED,
                f"Lead category updated to {category} for {lead.address} in campaign - {campaign.name}",
                self._inbox_url(enrolment),
            ),
        }

    def status_changed(self, campaign: Campaign, previous: str, current: str) -> Payload:
        """No time at all: the same change twice makes the same bytes twice."""
        return {
            "previous_status": previous,
            "current_status": current,
            "campaign_status": current,
            "client_id": campaign.client_id,
            "campaign_name": campaign.name,
            "campaign_id": campaign.id,
            **self._short_tail(
                events.CAMPAIGN_STATUS_CHANGED,
                f"Email Campaign status changed {previous} to {current} for campaign - {campaign.name}",
                f"https://app.smartlead.ai/app/email-campaign/{campaign.id}/analytics",
            ),
        }

    def manual_step(self, campaign: Campaign, enrolment: Enrolment, at: datetime) -> Payload:
        lead, sent = enrolment.lead, enrolment.sent[-1]
        return {
            "lead_name": lead.name,
            "lead_id": str(lead.id),
            "lead_email": lead.address,
            "sent_message_ids": [mail.message_id for mail in enrolment.sent],
            "campaign_status": campaign.status_at(at),
            "campaign_name": campaign.name,
            "client_id": campaign.client_id,
            "campaign_id": campaign.id,
            "current_sequence_number": _number(sent),
            **self._short_tail(
                events.MANUAL_STEP_REACHED,
                f"Manual step reached for Campaign - {campaign.name} and lead email - {lead.address}",
                f"https://app.smartlead.ai/app/email-campaign/{campaign.id}/lead-list",
            ),
        }

    def untracked(self, mailbox: str, reply: Reply, *, name: str, subject: str) -> Payload:
        return {
            "event_timestamp": zulu_time(reply.at),
            "reply_message": {
                "message_id": reply.message_id,
                "html": "",
                "text": reply.text,
                "time": zulu_time(reply.at),
            },
            "secret_key": self.account.secret_key,
            "description": "",
            "sender_detail": f"{name} <{reply.author}>",
            "recipient_detail": mailbox,
            "cc": "",
            "bcc": "",
            "subject": subject,
            "visible_text": reply.text,
            "has_attachment": False,
            **self._registration(events.UNTRACKED_REPLIES),
        }

    def unknown(self, event_type: str, number: int) -> Payload:
        """A type of which only the name is known, with what every type carries."""
        return self._short_tail(event_type, f"Notice {number}", "https://app.smartlead.ai/app/email-accounts")

    def _of_mail(self, campaign: Campaign, enrolment: Enrolment, sent: Sent, at: datetime) -> Payload:
        return {
            "sl_email_lead_id": str(enrolment.lead.id),
            "sl_email_lead_map_id": enrolment.map_id,
            "campaign_status": campaign.status_at(at),
            "client_id": campaign.client_id,
            "stats_id": sent.stats_id,
            "from_email": sent.mailbox.address,
            "to_email": enrolment.lead.address,
            "to_name": enrolment.lead.name,
        }

    def _tail(self, event_type: str, description: str, url: str) -> Payload:
        return {
            "secret_key": self.account.secret_key,
            "app_url": url,
            "ui_master_inbox_link": url,
            "description": description,
            **self._registration(event_type),
        }

    def _short_tail(self, event_type: str, description: str, url: str) -> Payload:
        return {
            "secret_key": self.account.secret_key,
            "app_url": url,
            "description": description,
            **self._registration(event_type),
        }

    def _registration(self, event_type: str) -> Payload:
        return {
            "metadata": {"webhook_created_at": zulu_time(self.account.webhook_created_at)},
            "webhook_url": self.webhook_url,
            "webhook_id": self.account.webhook_id,
            "webhook_name": self.webhook_name,
            "event_type": event_type,
        }

    def _inbox_url(self, enrolment: Enrolment) -> str:
        return f"https://app.smartlead.ai/app/master-inbox?leadMap={enrolment.map_id}"


def sent_message(sent: Sent) -> Payload:
    return {"message_id": sent.message_id, "html": sent.html, "text": sent.text, "time": offset_time(sent.at)}


def message_rows(enrolment: Enrolment, *, until: datetime | None = None) -> list[Payload]:
    """The mail of a lead in order of time, as LEAD_CATEGORY_UPDATED tells it. A reply repeats the stats id it answers."""
    rows: list[tuple[datetime, Payload]] = []
    for sent in enrolment.sent:
        row: Payload = {"stats_id": sent.stats_id, "type": "SENT", "message_id": sent.message_id}
        row |= {"time": zulu_time(sent.at), "email_body": sent.html, "subject": sent.subject, "cc_emails": []}
        rows.append((sent.at, row))
        for reply in sent.replies:
            row = {"stats_id": sent.stats_id, "type": "REPLY", "message_id": reply.message_id}
            rows.append((reply.at, row | {"time": zulu_time(reply.at), "email_body": reply.html}))
    return [row for at, row in sorted(rows, key=lambda pair: pair[0]) if until is None or at <= until]


def _reply_message(reply: Reply) -> Payload:
    return {"message_id": reply.message_id, "html": reply.html, "text": reply.text, "time": offset_time(reply.at)}


def _about(campaign: Campaign, sent: Sent) -> Payload:
    return {
        "campaign_name": campaign.name,
        "campaign_id": campaign.id,
        "sequence_number": _number(sent),
        "subject": sent.subject,
        "sent_message_body": sent.html,
        "sent_message": sent_message(sent),
    }


def _number(sent: Sent) -> int | None:
    return sent.step.number if sent.step is not None else None

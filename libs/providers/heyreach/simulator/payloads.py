"""Webhook bodies, type by type as HeyReach posts them: the whole of a person here, two fields of one there."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from libs.providers.heyreach import events
from libs.providers.heyreach.simulator.model import Campaign, Lead, Said, Sender, Thread, new_uuid

Payload = dict[str, object]


def instant(at: datetime) -> str:
    """`2026-09-04T09:12:44.31Z`: a fraction as long as it has to be."""
    text = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".")
    return f"{text}Z"


def milliseconds(at: datetime) -> str:
    """`2026-09-04T09:12:44.310Z`"""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def whole_seconds(at: datetime) -> str:
    """`2026-09-04T09:13:02Z`"""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Payloads:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng  # its own, so that what is told does not decide what happens

    def connection(self, event_type: str, campaign: Campaign, sender: Sender, lead: Lead, at: datetime) -> Payload:
        note = f"Hi {lead.first_name}, shall we connect?" if int(lead.id) % 3 else None
        return {
            "connection_message": note,
            "campaign": _campaign(campaign, at),
            "sender": _small_sender(sender),
            "lead": {**_small_lead(lead), "tags": list(lead.tags), "lists": [_list(campaign, lead)]},
            **self._envelope(event_type, at),
        }

    def gesture(self, event_type: str, campaign: Campaign, sender: Sender, lead: Lead, at: datetime) -> Payload:
        return {
            "campaign": {"name": campaign.name, "id": campaign.id},
            "sender": _small_sender(sender),
            "lead": {"id": lead.id, "profile_url": lead.profile_url},
            **self._envelope(event_type, at),
        }

    def message(self, event_type: str, campaign: Campaign | None, thread: Thread, said: Said) -> Payload:
        """One that was sent, or a reply; some time after it was said, as the provider learns of it by looking."""
        at = said.at + timedelta(seconds=self._rng.randrange(1, 60 if said.is_reply else 10))
        is_sending = event_type in events.OUTBOUND
        return {
            "is_inmail": thread.is_inmail,
            "recent_messages": self._slice(event_type, thread, said),
            "conversation_id": thread.conversation_id,
            "campaign": None if campaign is None else _campaign(campaign, at),
            "sender": _small_sender(thread.sender) if is_sending else _sender(thread.sender),
            "lead": _small_lead(thread.lead) if is_sending else _lead(thread.lead, campaign),
            **self._envelope(event_type, at),
        }

    def tagged(self, event_type: str, thread: Thread, at: datetime) -> Payload:
        return {
            "campaign": None,
            "sender": _small_sender(thread.sender),
            "lead": {**_small_lead(thread.lead), "tags": list(thread.lead.tags)},
            **self._envelope(event_type, at),
        }

    def completed(self, campaign: Campaign, at: datetime) -> Payload:
        return {"campaign": _campaign(campaign, at), **self._envelope(events.CAMPAIGN_COMPLETED, at)}

    def unknown(self, event_type: str, campaign: Campaign, number: int, at: datetime) -> Payload:
        """A type of which only the name is known, with what every type carries."""
        return {
            "campaign": {"name": campaign.name, "id": campaign.id},
            **self._envelope(event_type, at + timedelta(seconds=number)),
        }

    def _slice(self, event_type: str, thread: Thread, said: Said) -> list[Payload]:
        """What was said up to `said`: all of it, the last of it, or it alone. One type has <br> and milliseconds where
        another has \\n and as many digits as needed."""
        upto = [one for one in thread.said if one.at <= said.at]
        length = self._rng.choice((1, 2, len(upto)))
        with_breaks = event_type in (events.MESSAGE_REPLY_RECEIVED, events.INMAIL_REPLY_RECEIVED)
        return [
            {
                "creation_time": milliseconds(one.at) if with_breaks else instant(one.at),
                "message": one.text.replace("\n", "<br>") if with_breaks else one.text,
                "is_reply": one.is_reply,
            }
            for one in upto[-length:]
        ]

    def _envelope(self, event_type: str, at: datetime) -> Payload:
        return {
            "timestamp": whole_seconds(at),
            "event_type": event_type.lower(),
            "correlation_id": new_uuid(self._rng),
        }


def _campaign(campaign: Campaign, at: datetime) -> Payload:
    return {"name": campaign.name, "id": campaign.id, "status": campaign.status_at(at)}


def _small_sender(sender: Sender) -> Payload:
    return {"id": sender.id, "full_name": sender.name}


def _sender(sender: Sender) -> Payload:
    return {
        "id": sender.id,
        "first_name": sender.first_name,
        "last_name": sender.last_name,
        "full_name": sender.name,
        "email_address": sender.address,
        "profile_url": sender.profile_url,
    }


def _small_lead(lead: Lead) -> Payload:
    return {"id": lead.id, "profile_url": lead.profile_url, "full_name": lead.name}


def _lead(lead: Lead, campaign: Campaign | None) -> Payload:
    number = int(lead.id)
    return {
        "id": lead.id,
        "profile_url": lead.profile_url,
        "first_name": lead.first_name,
        "last_name": lead.last_name,
        "full_name": lead.name,
        "location": lead.location,
        "summary": None,
        "company_name": lead.company_name,
        "company_url": None,
        "position": lead.position,
        "about": None,
        "email_address": None,  # as a rule
        "enriched_email": f"{lead.first_name}{number}@example.com".lower() if number % 20 == 0 else None,
        "custom_email": None,
        "tags": list(lead.tags),
        "lists": [] if campaign is None else [_list(campaign, lead)],
    }


def _list(campaign: Campaign, lead: Lead) -> Payload:
    fields = {"opener": f"Saw the news of {lead.company_name}."}
    return {"name": campaign.list_name, "id": campaign.list_id, "custom_fields": fields}

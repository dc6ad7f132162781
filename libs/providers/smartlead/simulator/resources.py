"""The account's state as the API answers it: the names, types and envelopes differ from those of the webhooks."""

from __future__ import annotations

from datetime import datetime

from libs.providers.smartlead.simulator.model import (
    CATEGORIES,
    Account,
    Campaign,
    Client,
    Mailbox,
    Registration,
    Step,
)
from libs.providers.smartlead.simulator.payloads import zulu_time

Resource = dict[str, object]

_CATEGORY_NAMES = {number: name for number, name, _ in CATEGORIES}


def campaign(account: Account, found: Campaign, now: datetime) -> Resource:
    settings = found.settings
    return {
        "id": found.id,
        "user_id": account.user_id,
        "created_at": zulu_time(found.created_at),
        "updated_at": zulu_time(found.updated_at),
        "status": found.status_at(now),
        "name": found.name,
        "track_settings": settings.track_settings,
        "scheduler_cron_value": settings.schedule,
        "min_time_btwn_emails": settings.minutes_between,
        "max_leads_per_day": settings.new_leads_per_day,
        "stop_lead_settings": settings.stop_lead_settings,
        "schedule_start_time": settings.schedule_start_time,
        "enable_ai_esp_matching": settings.enable_ai_esp_matching,
        "send_as_plain_text": settings.send_as_plain_text,
        "follow_up_percentage": settings.follow_up_percentage,
        "unsubscribe_text": settings.unsubscribe_text,
        "parent_campaign_id": None,
        "client_id": found.client_id,
    }


def sequences(found: Campaign) -> list[Resource]:
    """The copy of a step is in its variants; the step's own subject and body are blank."""
    return [_sequence(found, step) for step in found.steps]


def _sequence(found: Campaign, step: Step) -> Resource:
    at = zulu_time(found.created_at)
    return {
        "id": step.id,
        "created_at": at,
        "updated_at": at,
        "email_campaign_id": found.id,
        "seq_number": step.number,
        "seq_delay_details": {"delayInDays": step.delay_days},
        "subject": "",
        "email_body": "",
        "sequence_variants": [
            {
                "id": variant.id,
                "created_at": at,
                "updated_at": at,
                "is_deleted": variant.is_deleted,
                "subject": variant.subject,
                "email_body": variant.body,
                "email_campaign_seq_id": step.id,
                "variant_label": variant.label,
                "variant_distribution_percentage": None,
            }
            for variant in step.variants
        ],
    }


def mailbox(found: Mailbox) -> Resource:
    """With its password, as the real answer has it: whoever stores or logs a row of these leaks one."""
    return {
        "id": found.id,
        "from_name": found.name,
        "from_email": found.address,
        "username": found.address,
        "password": found.password,
        "type": "SMTP",
        "is_smtp_success": True,
        "is_imap_success": True,
        "message_per_day": 40,
        "client_id": None,
    }


def client(account: Account, found: Client) -> Resource:
    """`client_permision` and `retricted_category` are the provider's own spelling."""
    return {
        "id": found.id,
        "name": found.name,
        "email": found.email,
        "uuid": f"00000000-0000-4000-8000-{found.id:012d}",
        "created_at": zulu_time(found.created_at),
        "user_id": account.user_id,
        "logo": None,
        "logo_url": None,
        "client_permision": {"permission": found.permission, "retricted_category": []},
    }


def registration(found: Registration) -> Resource:
    """One of the account's or of a client's, in maps."""
    return {
        "id": found.id,
        "name": found.name,
        "webhook_url": found.url,
        "event_type_map": dict.fromkeys(found.event_types, True),
    }


def registration_echo(found: Registration) -> Resource:
    """What the creation of a campaign's webhook answers: maps."""
    return {
        "ok": True,
        "id": found.id,
        "name": found.name,
        "webhook_url": found.url,
        "email_campaign_id": found.campaign_id,
        "event_type_map": dict.fromkeys(found.event_types, True),
        "category_id_map": {str(number): True for number in found.categories},
    }


def registration_row(found: Registration) -> Resource:
    """What the list of a campaign's webhooks holds: lists."""
    return {
        "id": found.id,
        "name": found.name,
        "created_at": zulu_time(found.created_at),
        "updated_at": zulu_time(found.created_at),
        "webhook_url": found.url,
        "email_campaign_id": found.campaign_id,
        "event_types": list(found.event_types),
        "categories": [_CATEGORY_NAMES[number] for number in found.categories],
    }


def at_or_none(at: datetime | None) -> str | None:
    return zulu_time(at) if at is not None else None

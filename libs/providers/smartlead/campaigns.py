"""Campaigns as the API writes and reads them: two vocabularies, and many a field has two names."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import time

import orjson

from libs.errors import ContractViolated, Unsupported
from libs.providers.fields import Fields, JsonObject
from libs.providers.records import Campaign, CampaignChanges, EmailStep, Schedule, Variant
from libs.providers.sightings import CampaignStatus
from libs.providers.smartlead.transport import as_number, required

# Reading and writing use different words (START is never read back).
STATUSES = {
    "DRAFTED": CampaignStatus.DRAFT,
    "ACTIVE": CampaignStatus.ACTIVE,
    "PAUSED": CampaignStatus.PAUSED,
    "STOPPED": CampaignStatus.STOPPED,
    "COMPLETED": CampaignStatus.COMPLETED,
    "ARCHIVED": CampaignStatus.ARCHIVED,
}
START, PAUSE, STOP = "START", "PAUSED", "STOPPED"

# What is read as the first is written as the second.
TRACKING = {
    "DONT_EMAIL_OPEN": "DONT_TRACK_EMAIL_OPEN",
    "DONT_LINK_CLICK": "DONT_TRACK_LINK_CLICK",
    "DONT_REPLY_TO_AN_EMAIL": "DONT_TRACK_REPLY_TO_AN_EMAIL",
}
_LABELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def read_status(fields: Fields, name: str = "status") -> CampaignStatus | None:
    """None when not stated. A word we do not know replaces what we knew: the old status is wrong in any case."""
    word = fields.filled(name)
    return STATUSES.get(word.strip().upper(), CampaignStatus.UNKNOWN) if word else None


def read_campaign(row: Fields) -> Campaign:
    new_leads, minutes = row.identifier("max_leads_per_day"), row.identifier("min_time_btwn_emails")
    tracking = _tracking(row)
    return Campaign(
        external_id=required(row.identifier("id"), "campaigns[].id"),
        name=row.text("name") or "",
        status=read_status(row) or CampaignStatus.UNKNOWN,
        created_at=row.moment("created_at"),
        client_external_id=(row.identifier("client_id") or "") if row.states("client_id") else None,
        schedule=read_schedule(row),
        new_leads_per_day=int(new_leads) if new_leads is not None else None,
        minutes_between_mails=int(minutes) if minutes is not None else None,
        tracks_opens="DONT_TRACK_EMAIL_OPEN" not in tracking if tracking is not None else None,
        tracks_clicks="DONT_TRACK_LINK_CLICK" not in tracking if tracking is not None else None,
        is_plain_text=row.flag("send_as_plain_text"),
    )


def _tracking(row: Fields) -> set[str] | None:
    """What is not tracked, in the words that are written; None when not told, or told as the text that it once was."""
    told = row.raw.get("track_settings")
    if not isinstance(told, list):
        return None
    return {TRACKING.get(word, word) for word in told if isinstance(word, str)}


def read_schedule(row: Fields) -> Schedule | None:
    """None for a campaign that has none yet. It used to be a text that holds JSON."""
    value = row.raw.get("scheduler_cron_value")
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            raise row.refuse("scheduler_cron_value", "is not a schedule") from None
    if value in (None, {}):
        return None
    told = Fields({"scheduler_cron_value": value}).nested("scheduler_cron_value")
    days, timezone = told.raw.get("days"), told.filled("tz")
    starts_at, ends_at = _clock_time(told, "startHour"), _clock_time(told, "endHour")
    if timezone is None or starts_at is None or ends_at is None:
        return None
    if not isinstance(days, list) or not all(isinstance(day, int) and 0 <= day <= 7 for day in days):
        raise told.refuse("days", "is not a list of weekdays")
    # Sunday is 0 for most and 7 for some; nobody uses 0 for another day.
    return Schedule(timezone=timezone, days=frozenset(day or 7 for day in days), starts_at=starts_at, ends_at=ends_at)


def schedule_to_write(now: Campaign, changes: CampaignChanges) -> JsonObject:
    """All that the schedule call requires, from what is to change and, for the rest, from what is.

    Raises:
        Unsupported: something of the schedule should change in a campaign that has none.
    """
    schedule = changes.schedule or now.schedule
    if schedule is None:
        raise Unsupported(
            "Smartlead keeps these limits with the schedule, and this campaign has none: give one as well"
        )
    return {
        "timezone": schedule.timezone,
        "days_of_the_week": sorted(day % 7 for day in schedule.days),
        "start_hour": schedule.starts_at.strftime("%H:%M"),
        "end_hour": schedule.ends_at.strftime("%H:%M"),
        "min_time_btw_emails": _first(changes.minutes_between_mails, now.minutes_between_mails, 20),
        "max_new_leads_per_day": _first(changes.new_leads_per_day, now.new_leads_per_day, 100),
    }


def settings_to_write(row: Fields, changes: CampaignChanges) -> JsonObject:
    """Every setting with its present value, so that a call which replaces them all changes only what is to change."""
    tracking = _tracking(row) or set()
    for wished, word in (
        (changes.tracks_opens, "DONT_TRACK_EMAIL_OPEN"),
        (changes.tracks_clicks, "DONT_TRACK_LINK_CLICK"),
    ):
        if wished is not None:
            tracking = tracking - {word} if wished else tracking | {word}
    settings: JsonObject = {"track_settings": sorted(tracking)}
    for name in ("stop_lead_settings", "unsubscribe_text", "follow_up_percentage", "enable_ai_esp_matching"):
        if row.raw.get(name) is not None:
            settings[name] = row.raw[name]
    plain = changes.is_plain_text if changes.is_plain_text is not None else row.flag("send_as_plain_text")
    if plain is not None:
        settings["send_as_plain_text"] = plain
    client = changes.client_external_id if changes.client_external_id is not None else row.identifier("client_id")
    if client:
        settings["client_id"] = as_number(client, "client_external_id")
    elif client == "":
        settings["client_id"] = None
    return settings


# Sequences


def read_step(row: Fields) -> EmailStep:
    """A step has its texts in its variants; one without variants has its own."""
    number = row.step("seq_number")
    if number is None:
        raise ContractViolated("sequences[].seq_number is missing")
    variants = tuple(
        Variant(
            subject=variant.text("subject") or "",
            body_html=variant.text("email_body") or "",
            external_id=variant.identifier("id"),
            label=variant.filled("variant_label"),
        )
        for variant in row.rows("sequence_variants")
        if not variant.flag("is_deleted")
    )
    own = Variant(subject=row.text("subject") or "", body_html=row.text("email_body") or "")
    return EmailStep(
        number=number,
        delay_days=int(row.nested("seq_delay_details").identifier("delayInDays", "delay_in_days") or 0),
        variants=variants or (own,),
        external_id=row.identifier("id"),
    )


def step_to_write(step: EmailStep) -> JsonObject:
    written: JsonObject = {
        "seq_number": step.number,
        "seq_delay_details": {"delay_in_days": step.delay_days},
        **_id_of(step.external_id),
    }
    if step.is_manual:
        written["seq_type"] = "MANUAL"
    (first, *others) = step.variants
    if not others and first.external_id is None and first.label is None:
        return {**written, "subject": first.subject, "email_body": first.body_html}
    taken = {variant.label for variant in step.variants}
    free = iter([label for label in _LABELS if label not in taken])
    return {
        **written,
        "seq_variants": [
            {
                "subject": variant.subject,
                "email_body": variant.body_html,
                "variant_label": variant.label or next(free, "Z"),
                **_id_of(variant.external_id),
            }
            for variant in step.variants
        ],
    }


def same_steps(wanted: Sequence[EmailStep], found: Sequence[EmailStep]) -> bool:
    """Whether `found` says what `wanted` does, whatever ids it was given."""

    def content(steps: Sequence[EmailStep]) -> list[object]:
        return [
            (step.number, step.delay_days, sorted((variant.subject, variant.body_html) for variant in step.variants))
            for step in sorted(steps, key=lambda step: step.number)
        ]

    return content(wanted) == content(found)


def _id_of(external_id: str | None) -> JsonObject:
    return {"id": as_number(external_id, "external_id")} if external_id is not None else {}


def _clock_time(fields: Fields, name: str) -> time | None:
    text = fields.filled(name)
    if text is None:
        return None
    try:
        return time.fromisoformat(text.strip().zfill(5))
    except ValueError:
        raise fields.refuse(name, "is not a time of day") from None


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)

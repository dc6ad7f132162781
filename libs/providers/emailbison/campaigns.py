"""Campaigns as the API writes and reads them, and what their status words mean."""

from __future__ import annotations

from datetime import time

from libs.errors import Unsupported
from libs.providers.emailbison.transport import required
from libs.providers.fields import Fields, JsonObject
from libs.providers.records import Campaign, CampaignChanges, Schedule
from libs.providers.sightings import CampaignStatus

STATUSES = {
    "draft": CampaignStatus.DRAFT,
    # After `resume` a campaign is queued, then launching, then active, within moments and by itself.
    "queued": CampaignStatus.ACTIVE,
    "launching": CampaignStatus.ACTIVE,
    "active": CampaignStatus.ACTIVE,
    "paused": CampaignStatus.PAUSED,
    "stopped": CampaignStatus.STOPPED,
    "failed": CampaignStatus.STOPPED,  # it does not send until a person mends it
    "completed": CampaignStatus.COMPLETED,
    "archived": CampaignStatus.ARCHIVED,
    "pending deletion": CampaignStatus.ARCHIVED,
    "deleted": CampaignStatus.ARCHIVED,
}


def read_status(fields: Fields, name: str = "status") -> CampaignStatus | None:
    """None when not stated. The documents write Active, the wire active; a word we do not know is UNKNOWN."""
    word = fields.filled(name)
    if word is None:
        return None
    return STATUSES.get(word.strip().lower().replace("_", " "), CampaignStatus.UNKNOWN)


def read_campaign(row: Fields) -> Campaign:
    """Clicks are not tracked here at all, and there is no pause between mails to be set: both stay untold."""
    new_leads = row.identifier("max_new_leads_per_day")
    return Campaign(
        external_id=required(row, "id", row.identifier("id")),
        name=row.text("name") or "",
        status=read_status(row) or CampaignStatus.UNKNOWN,
        created_at=row.moment("created_at"),
        new_leads_per_day=int(new_leads) if new_leads is not None else None,
        tracks_opens=row.flag("open_tracking"),
        is_plain_text=row.flag("plain_text"),
    )


def refuse_what_cannot_change(changes: CampaignChanges) -> None:
    """Raises: Unsupported, naming the wish."""
    if changes.client_external_id is not None:
        raise Unsupported("EmailBison has no sub-accounts: an account is one workspace, and a workspace one company's")
    if changes.minutes_between_mails is not None:
        raise Unsupported("EmailBison's API cannot set the minutes between mails")
    if changes.tracks_clicks is not None:
        raise Unsupported("EmailBison does not track clicks")


# What the update call takes and the campaign tells.
_SETTINGS = (
    "name max_emails_per_day max_new_leads_per_day plain_text open_tracking can_unsubscribe unsubscribe_text "
    "include_auto_replies_in_stats sequence_prioritization"
).split()


def settings_to_write(row: Fields, changes: CampaignChanges) -> JsonObject | None:
    """Every setting, the ones that stay with their present values, as what is left out falls back to a default. One that
    cannot be read, `reputation_building`, falls back all the same. None: nothing of it is to change."""
    wished = {
        "name": changes.name,
        "max_new_leads_per_day": changes.new_leads_per_day,
        "open_tracking": changes.tracks_opens,
        "plain_text": changes.is_plain_text,
    }
    stated = {name: value for name, value in wished.items() if value is not None}
    if not stated:
        return None
    present = {name: row.raw[name] for name in _SETTINGS if row.raw.get(name) is not None}
    return {**present, **stated}


def read_schedule(row: Fields) -> Schedule | None:
    """None when it names no zone or no hours: then it is none."""
    timezone, starts_at, ends_at = row.filled("timezone"), _clock_time(row, "start_time"), _clock_time(row, "end_time")
    if timezone is None or starts_at is None or ends_at is None:
        return None
    days = frozenset(number for number, day in enumerate(_DAYS, start=1) if row.flag(day))
    return Schedule(timezone=timezone, days=days, starts_at=starts_at, ends_at=ends_at)


def schedule_to_write(schedule: Schedule) -> JsonObject:
    return {
        **{day: number in schedule.days for number, day in enumerate(_DAYS, start=1)},
        "start_time": schedule.starts_at.strftime("%H:%M"),
        "end_time": schedule.ends_at.strftime("%H:%M"),
        "timezone": schedule.timezone,
        "save_as_template": False,  # said to be optional, and refused without
    }


_DAYS = "monday tuesday wednesday thursday friday saturday sunday".split()


def _clock_time(fields: Fields, name: str) -> time | None:
    """Written as 09:00, read as 09:00:00."""
    text = fields.filled(name)
    if text is None:
        return None
    try:
        return time.fromisoformat(text.strip())
    except ValueError:
        raise fields.refuse(name, "is not a time of day") from None

"""Campaigns by call: what can be asked of them, and what they refuse."""

from __future__ import annotations

import re

from starlette.responses import Response

from libs.providers.smartlead.simulator import people, resources
from libs.providers.smartlead.simulator.joi import Key, no, refusal
from libs.providers.smartlead.simulator.model import Campaign, Step, Variant
from libs.providers.smartlead.simulator.routing import Call, Route, done, route

_STATUSES = {"START": "ACTIVE", "PAUSED": "PAUSED", "STOPPED": "STOPPED"}
_HOUR = re.compile(r"\d{2}:\d{2}")
_TRACKING = {
    "DONT_TRACK_EMAIL_OPEN": "DONT_EMAIL_OPEN",
    "DONT_TRACK_LINK_CLICK": "DONT_LINK_CLICK",
    "DONT_TRACK_REPLY_TO_AN_EMAIL": "DONT_REPLY_TO_AN_EMAIL",
}
_SCHEDULE = {
    "timezone": Key(str, required=True),
    "days_of_the_week": Key(list, required=True),
    "start_hour": Key(str, required=True),
    "end_hour": Key(str, required=True),
    "min_time_btw_emails": Key(int, required=True, least=3),
    "max_new_leads_per_day": Key(int, required=True, least=1),
    "schedule_start_time": Key(str),
}
_SETTINGS = {
    "track_settings": Key(list),
    "stop_lead_settings": Key(str, one_of=("REPLY_TO_AN_EMAIL", "CLICK_ON_A_LINK", "OPEN_AN_EMAIL")),
    "unsubscribe_text": Key(str),
    "send_as_plain_text": Key(bool),
    "force_plain_text": Key(bool),
    "follow_up_percentage": Key(int, least=0, most=100),
    "client_id": Key(int),
    "enable_ai_esp_matching": Key(bool),
    "auto_pause_domain_leads_on_reply": Key(bool),
}
_VARIANT = {
    "id": Key(int),
    "subject": Key(str),
    "email_body": Key(str, required=True),
    "variant_label": Key(str, required=True),
    "variant_distribution_percentage": Key(int),
}
_STEP = {
    "id": Key(int),
    "seq_number": Key(int, required=True, least=1),
    "seq_delay_details": Key(dict, required=True, keys={"delay_in_days": Key(int, required=True, least=0)}),
    "seq_type": Key(str, one_of=("EMAIL", "MANUAL")),
    "subject": Key(str),
    "email_body": Key(str),
    "seq_variants": Key(list, items=_VARIANT),
    "variant_distribution_type": Key(str, one_of=("MANUAL_EQUAL", "MANUAL_PERCENTAGE", "AI_EQUAL")),
    "lead_distribution_percentage": Key(int, least=20, most=100),
    "winning_metric_property": Key(str, one_of=("OPEN_RATE", "CLICK_RATE", "REPLY_RATE", "POSITIVE_REPLY_RATE")),
}


async def _list(call: Call) -> object:
    client_id = call.query.get("client_id")
    rows = [
        resources.campaign(call.account, campaign, call.simulator.now)
        for campaign in call.account.campaigns
        if not client_id or str(campaign.client_id) == client_id
    ]
    return [{**row, "tags": []} for row in rows] if call.query.get("include_tags") == "true" else rows


async def _get(call: Call) -> object:
    found = call.campaign()
    return resources.campaign(call.account, found, call.simulator.now) if found is not None else {}


async def _create(call: Call) -> object:
    body = await call.body({"name": Key(str, required=True), "client_id": Key(int)})
    client_id = body.get("client_id")
    if client_id is not None and client_id not in {client.id for client in call.account.clients}:
        raise no("Client not found - Invalid client_id.")
    made = Campaign(
        id=next(call.account.ids),
        name=str(body["name"]),
        client_id=client_id if isinstance(client_id, int) else None,
        created_at=call.simulator.now,
        steps=[],
        history=[(call.simulator.now, "DRAFTED")],
    )
    call.account.campaigns.append(made)
    row = resources.campaign(call.account, made, call.simulator.now)
    return {"ok": True, "id": made.id, "name": made.name, "created_at": row["created_at"]}


async def _delete(call: Call) -> object:
    call.account.campaigns.remove(call.campaign_to_change())
    return done()


async def _set_status(call: Call) -> object:
    body = await call.body({"status": Key(str, required=True)})
    found = call.campaign_to_change()
    status = _STATUSES.get(str(body["status"]))
    if status is None:
        raise no(f"Invalid status - {body['status']}. Allowed values are - START,STOPPED,PAUSED")
    if status == "ACTIVE":
        missing = [
            what
            for what, there in (
                ("schedule", found.settings.schedule),
                ("sequences", found.steps),
                ("email accounts", found.mailbox_ids),
            )
            if not there
        ]
        if missing:
            raise no(f"Campaign cannot be started without {', '.join(missing)}.")
    call.simulator.live.set_status(found, status)
    return done()


async def _set_schedule(call: Call) -> object:
    body = await call.body(_SCHEDULE)
    settings = call.campaign_to_change().settings
    days = body["days_of_the_week"]
    if not isinstance(days, list) or not days or not all(isinstance(day, int) and 0 <= day <= 7 for day in days):
        raise refusal("body", "days_of_the_week", "must contain numbers of days")
    for name in ("start_hour", "end_hour"):
        if not _HOUR.fullmatch(str(body[name])):
            raise refusal("body", name, "must be in HH:mm format")
    settings.schedule = {
        "tz": body["timezone"],
        "days": days,
        "startHour": body["start_hour"],
        "endHour": body["end_hour"],
    }
    minutes, leads, start = body["min_time_btw_emails"], body["max_new_leads_per_day"], body.get("schedule_start_time")
    assert isinstance(minutes, int)
    assert isinstance(leads, int)
    settings.minutes_between, settings.new_leads_per_day = minutes, leads
    settings.schedule_start_time = str(start) if start is not None else None
    return done()


async def _set_settings(call: Call) -> object:
    """What is left out stays. Tracking is written with longer words than it is read; the short ones pass as well."""
    body = await call.body(_SETTINGS)
    found = call.campaign_to_change()
    tracking = body.pop("track_settings", None)
    if isinstance(tracking, list):
        words = [_TRACKING.get(word, word) for word in tracking if isinstance(word, str)]
        if len(words) != len(tracking) or not set(words) <= set(_TRACKING.values()):
            raise refusal("body", "track_settings[0]", f"must be one of [{', '.join(_TRACKING)}]")
        found.settings.track_settings = words
    if "client_id" in body:
        client_id = body.pop("client_id")
        assert isinstance(client_id, int)
        found.client_id = client_id
    for name, value in body.items():
        if hasattr(found.settings, name):
            setattr(found.settings, name, value)
    return done()


async def _get_sequences(call: Call) -> object:
    found = call.campaign()
    return resources.sequences(found) if found is not None else {}


async def _set_sequences(call: Call) -> object:
    """Replaces them all: what is left out is gone, and its figures with it."""
    body = await call.body({"sequences": Key(list, required=True, items=_STEP)})
    found = call.campaign_to_change()
    if found.status_at(call.simulator.now) == "ACTIVE":
        raise no("Sequences of an active campaign cannot be changed. Pause it first.")
    rows = body["sequences"]
    assert isinstance(rows, list)
    known = {step.id: step for step in found.steps}
    found.steps = sorted((_step(call, row, known) for row in rows), key=lambda step: step.number)
    return {
        "ok": True,
        "data": {"sequences": [{"id": step.id, "seqNumber": step.number} for step in found.steps]},
    }


def _step(call: Call, row: dict[str, object], known: dict[int, Step]) -> Step:
    step_id = row.get("id")
    if step_id is not None and step_id not in known:
        raise no(f"Sequence not found - Invalid id {step_id}.")
    variants = [
        Variant(
            id=_id(variant.get("id")) or next(call.account.ids),
            label=str(variant["variant_label"]),
            subject=str(variant.get("subject") or ""),
            body=str(variant["email_body"]),
        )
        for variant in _rows(row.get("seq_variants"))
    ]
    own = Variant(next(call.account.ids), "A", str(row.get("subject") or ""), str(row.get("email_body") or ""))
    first, *others = variants or [own]
    delay = row["seq_delay_details"]
    assert isinstance(delay, dict)
    return Step(
        id=_id(step_id) or next(call.account.ids),
        variant_id=first.id,
        number=_id(row["seq_number"]) or 1,
        delay_days=_id(delay["delay_in_days"]) or 0,
        subject=first.subject,
        body=first.body,
        is_manual=row.get("seq_type") == "MANUAL",
        others=others,
    )


async def _list_mailboxes(call: Call) -> object:
    found = call.campaign()
    if found is None:
        return {}
    return [resources.mailbox(one) for one in call.account.mailboxes if one.id in found.mailbox_ids]


async def _add_mailboxes(call: Call) -> object:
    body = await call.body({"email_account_ids": Key(list, required=True)})
    found, ids = call.campaign_to_change(), _numbers(body["email_account_ids"])
    for one in ids:
        if one not in {mailbox.id for mailbox in call.account.mailboxes}:
            raise no(f"Email account id - {one} not allowed. Permission Error.")
    found.mailbox_ids = list(dict.fromkeys([*found.mailbox_ids, *ids]))
    return {"ok": True, "result": len(ids)}


async def _remove_mailboxes(call: Call) -> object:
    body = await call.body({"email_account_ids": Key(list), "email_accounts_ids": Key(list)})
    found = call.campaign_to_change()
    ids = set(_numbers(body.get("email_account_ids") or body.get("email_accounts_ids")))
    removed = len(ids & set(found.mailbox_ids))
    found.mailbox_ids = [one for one in found.mailbox_ids if one not in ids]
    return {"ok": True, "result": removed}


async def _export(call: Call) -> object:
    found = call.campaign()
    return Response(people.export(found), headers={"content-type": "text/csv"}) if found is not None else {}


def _id(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _rows(value: object) -> list[dict[str, object]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _numbers(value: object) -> list[int]:
    return [one for one in value if isinstance(one, int)] if isinstance(value, list) else []


_ONE = "/campaigns/{campaign}"
ROUTES: tuple[Route, ...] = (
    route("GET", "/campaigns", _list),
    route("POST", "/campaigns/create", _create),
    route("GET", _ONE, _get),
    route("DELETE", _ONE, _delete),
    route("POST", f"{_ONE}/status", _set_status),
    route("POST", f"{_ONE}/schedule", _set_schedule),
    route("POST", f"{_ONE}/settings", _set_settings),
    route("GET", f"{_ONE}/sequences", _get_sequences),
    route("POST", f"{_ONE}/sequences", _set_sequences),
    route("GET", f"{_ONE}/email-accounts", _list_mailboxes),
    route("POST", f"{_ONE}/email-accounts", _add_mailboxes),
    route("DELETE", f"{_ONE}/email-accounts", _remove_mailboxes),
    route("GET", f"{_ONE}/leads-export", _export),
)

"""Smartlead's API as capabilities: snapshots, pulls, webhook registration.

All or nothing: a list of which one page is missing would read as deletions, so whatever smells of one raises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import httpx

from libs import clock
from libs.errors import ContractViolated, ProviderRefused, ProviderUnavailable
from libs.providers.calls import Answer, CallPolicy, call
from libs.providers.capabilities import RemoteMessageKey
from libs.providers.fields import Fields
from libs.providers.sightings import (
    CampaignSighting,
    ConversationSighting,
    Direction,
    LeadSighting,
    MessageSighting,
    Reading,
    SequenceStepSighting,
    Source,
)
from libs.providers.smartlead import events, history, keys
from libs.providers.smartlead.campaigns import read_status

BASE_URL = "https://server.smartlead.ai/api/v1"
STATISTICS_PAGE = 1000  # the provider's cap
LISTING_TRIES = 3  # a running campaign grows while it is listed; thrice in a row is no chance any more
HISTORY_LAG = timedelta(minutes=10)  # histories follow the statistics within seconds; later, the reply is gone for good
# FIRST_EMAIL_SENT is left out: nobody knows whether it comes beside EMAIL_SENT or in its stead.
REGISTERED_TYPES = tuple(name for name in events.EVENT_TYPES if name != events.FIRST_EMAIL_SENT)
# The guard in front of the provider turns away the names of bare HTTP libraries.
USER_AGENT = "Outrider/0.1"


@dataclass(frozen=True, slots=True)
class _Lead:
    """A lead as the search by address tells it, and when the provider told so."""

    id: str
    fields: Fields
    seen_at: datetime | None


class SmartleadClient:
    """Implements Snapshots, Pulls and WebhookRegistration for one account (one API key).

    Every method raises RateLimited or ProviderUnavailable (later may work), ProviderRefused (it said no) or
    ContractViolated (it answered what its fact sheet does not know).
    """

    def __init__(
        self, api_key: str, base_url: str, http: httpx.AsyncClient, *, policy: CallPolicy = CallPolicy()
    ) -> None:
        self._api_key = api_key
        self._base_url = base_url.rstrip("/")
        self._http = http
        self._policy = policy

    async def list_campaign_ids(self) -> Sequence[str]:
        """Every campaign of the account; the provider does not page this list."""
        rows = _list_of_objects(await self._get("/campaigns"), "campaigns")
        found = [_required(row.identifier("id"), "campaigns[].id") for row in rows]
        if len(set(found)) != len(found):
            raise ContractViolated("campaigns: one id is listed twice")
        return found

    async def list_message_keys(self, campaign_external_id: str) -> Sequence[RemoteMessageKey]:
        """What the statistics say was sent, and the histories (replies, answers by hand) of all who replied."""
        found: dict[str, RemoteMessageKey] = {}
        replied: dict[str, datetime] = {}  # address -> the latest reply that the statistics know
        for row in await self._statistics(campaign_external_id):
            address = _required(row.address("lead_email"), "statistics.data[].lead_email")
            sent_at = row.moment("sent_time")
            if sent_at is None:  # a row is a sent e-mail; without a time it is one that is yet to go
                continue
            key = keys.sent(_required(row.token("stats_id"), "statistics.data[].stats_id"))
            found[key] = RemoteMessageKey(
                key=key,
                kind="sent",
                campaign_external_id=campaign_external_id,
                lead_key=keys.lead(address),
                occurred_at=sent_at,
            )
            reply_at = row.moment("reply_time")
            if reply_at is not None:
                replied[address] = max(reply_at, replied.get(address, reply_at))
        for address, latest in replied.items():
            lead = await self._lead(address)
            if lead is None:
                raise ProviderUnavailable(f"campaign {campaign_external_id}: a lead who replied cannot be found")
            messages, _ = await self._history(campaign_external_id, address, lead)
            for message in messages:
                is_reply = message.direction is Direction.INBOUND
                found.setdefault(
                    message.key,
                    RemoteMessageKey(
                        key=message.key,
                        kind="reply" if is_reply else "sent",
                        campaign_external_id=campaign_external_id,
                        lead_key=message.lead_key,
                        occurred_at=message.occurred_at or message.seen_at,
                    ),
                )
            listed = [message.seen_at for message in messages if message.direction is Direction.INBOUND]
            behind = not listed or max(listed) < latest - timedelta(seconds=1)
            if behind and clock.now() - latest < HISTORY_LAG:
                raise ProviderUnavailable(f"campaign {campaign_external_id}: the history lags behind the statistics")
        return list(found.values())

    async def read_campaign(self, campaign_external_id: str) -> Reading:
        """The campaign and its steps, as of the provider's clock at the time of the answer."""
        value, answer = await self._call("GET", f"/campaigns/{campaign_external_id}")
        if value is None or value == {}:  # how this provider says 404
            raise ProviderRefused(f"there is no campaign {campaign_external_id}")
        campaign = _object(value, "campaign")
        if campaign.identifier("id") != campaign_external_id:
            raise ContractViolated("campaign.id is not the one asked for")
        # The state is that of now, and `updated_at` need not move with the status: the answer's time is the version.
        seen_at = answer.answered_at or campaign.moment("updated_at", "created_at")
        if seen_at is None:
            raise ContractViolated("campaign.updated_at is missing")
        rows = _list_of_objects(await self._get(f"/campaigns/{campaign_external_id}/sequences"), "sequences")
        return Reading(
            event_type="pull.campaign",
            campaigns=(
                CampaignSighting(
                    external_id=campaign_external_id,
                    seen_at=seen_at,
                    name=campaign.filled("name"),
                    status=read_status(campaign),
                    client_external_id=(campaign.identifier("client_id") or "")
                    if campaign.states("client_id")
                    else None,
                ),
            ),
            steps=tuple(_step(row, campaign_external_id, seen_at) for row in rows),
        )

    async def read_messages(self, campaign_external_id: str, lead_keys: Sequence[str]) -> Reading:
        """The leads and their histories. A lead whom the provider does not know (any more) is left out."""
        leads: list[LeadSighting] = []
        conversations: list[ConversationSighting] = []
        messages: list[MessageSighting] = []
        for lead_key in dict.fromkeys(lead_keys):
            address = keys.address_of(lead_key)
            lead = await self._lead(address)
            if lead is None:
                continue
            found, answer = await self._history(campaign_external_id, address, lead)
            messages += found
            seen_at = lead.seen_at or answer.answered_at
            if seen_at is not None:
                leads.append(_lead_sighting(lead, address, seen_at))
                conversations.append(_conversation_sighting(lead, campaign_external_id, lead_key, seen_at))
        return Reading(
            event_type="pull.messages",
            leads=tuple(leads),
            conversations=tuple(conversations),
            messages=tuple(messages),
        )

    async def register_webhook(self, *, url: str, name: str) -> str:
        """For the whole account, so it also covers campaigns that are yet to be made. Not repeated on a timeout: the
        provider keeps two registrations of one URL, and the first cannot be listed."""
        rows = _list_of_objects(await self._get("/leads/fetch-categories"), "categories")
        categories = [_required(row.identifier("id"), "categories[].id") for row in rows]
        value, _ = await self._call(
            "POST",
            "/webhook/create",
            json={
                "name": name,
                "webhook_url": url,
                "association_type": "user",
                "event_type_map": dict.fromkeys(REGISTERED_TYPES, True),
                "category_id_map": dict.fromkeys(categories, True),  # category changes are posted for these only
                "force_create": False,
            },
        )
        return _required(_object(value, "webhook").identifier("id"), "webhook.id")

    async def _statistics(self, campaign: str) -> list[Fields]:
        for _ in range(LISTING_TRIES - 1):
            try:
                return await self._statistics_once(campaign)
            except _Moved:
                continue
        return await self._statistics_once(campaign)

    async def _statistics_once(self, campaign: str) -> list[Fields]:
        """Raises: _Moved when the pages do not make one list."""
        rows: list[Fields] = []
        seen: set[str] = set()
        expected: int | None = None
        while expected is None or len(rows) < expected:
            value = await self._get(
                f"/campaigns/{campaign}/statistics", {"offset": len(rows), "limit": STATISTICS_PAGE}
            )
            if value is None or value == {}:
                raise ProviderUnavailable(f"campaign {campaign}: an empty answer instead of statistics")
            page = _object(value, "statistics")
            total = int(_required(page.identifier("total_stats"), "statistics.total_stats"))
            offset = page.identifier("offset")
            if offset is not None and offset != str(len(rows)):
                raise _Moved(f"campaign {campaign}: another page of statistics than the one asked for")
            if not page.states("data"):
                raise ContractViolated("statistics.data is missing")
            data = page.rows("data")
            if expected not in (None, total) or (not data and len(rows) < total):
                raise _Moved(f"campaign {campaign}: the statistics changed while they were read")
            expected = total
            for row in data:
                stats_id = _required(row.token("stats_id"), "statistics.data[].stats_id")
                if stats_id in seen:
                    raise _Moved(f"campaign {campaign}: a row of the statistics is told twice")
                seen.add(stats_id)
            rows += data
        if len(rows) != expected:
            raise _Moved(f"campaign {campaign}: more statistics than their total says")
        return rows

    async def _lead(self, address: str) -> _Lead | None:
        value, answer = await self._call("GET", "/leads/", {"email": address})
        if value is None or value == {}:
            return None
        fields = _object(value, "lead")
        told = fields.address("email")
        if told is not None and told != address:
            raise ContractViolated("lead.email is not the one asked for")
        return _Lead(_required(fields.identifier("id"), "lead.id"), fields, answer.answered_at)

    async def _history(self, campaign: str, address: str, lead: _Lead) -> tuple[list[MessageSighting], Answer]:
        value, answer = await self._call("GET", f"/campaigns/{campaign}/leads/{lead.id}/message-history")
        if value is None or value == {}:
            raise ProviderUnavailable(f"campaign {campaign}: an empty answer instead of a history")
        told = _object(value, "history")
        if not told.states("history"):
            raise ContractViolated("history.history is missing")
        mailbox, lead_key = told.address("from"), keys.lead(address)
        messages = []
        for row in told.rows("history"):
            message = history.read_row(row, campaign=campaign, lead_key=lead_key, source=Source.PULL, seen_at=None)
            if message is None:
                raise ContractViolated("history.history[] has a row without type, time or id")
            messages.append(message)
        steps = {message.key: message.step_number for message in messages if message.step_number is not None}
        return [_completed(message, address, mailbox, steps) for message in messages], answer

    async def _get(self, path: str, params: Mapping[str, str | int] | None = None) -> object:
        value, _ = await self._call("GET", path, params)
        return value

    async def _call(
        self, method: str, path: str, params: Mapping[str, str | int] | None = None, json: object = None
    ) -> tuple[object, Answer]:
        return await call(
            self._http,
            method,
            self._base_url + path,
            idempotent=method == "GET",
            params={**(params or {}), "api_key": self._api_key},
            json=json,
            headers={"User-Agent": USER_AGENT, "Accept": "application/json"},
            secrets=(self._api_key,),
            explain=explanation,
            policy=self._policy,
        )


class _Moved(ProviderUnavailable):
    """Pages that were not cut from one list. Not told to callers apart: for them it is "later may work"."""


def explanation(body: object) -> str | None:
    """The provider's sentence in any of its four error shapes; a Joi body says its own under `message`."""
    if not isinstance(body, dict):
        return None
    error, message = body.get("error"), body.get("message")
    nested = error.get("message") if isinstance(error, dict) else None
    order = (message, error, nested) if "validation" in body else (error, message, nested)
    return next((sentence for sentence in order if isinstance(sentence, str) and sentence), None)


def _completed(
    message: MessageSighting, address: str, mailbox: str | None, steps: Mapping[str, int]
) -> MessageSighting:
    """With what only the rest of the history tells: a reply has no step, but the e-mail it answers does."""
    if message.direction is Direction.OUTBOUND:
        return replace(message, from_address=message.from_address or mailbox, to_address=message.to_address or address)
    step = message.step_number or steps.get(message.in_reply_to_key or "")
    return replace(
        message,
        to_address=message.to_address or mailbox,
        step_number=step,
        step_source=Source.PULL if step is not None else None,
    )


def _step(row: Fields, campaign: str, seen_at: datetime) -> SequenceStepSighting:
    number = row.step("seq_number")
    if number is None:
        raise ContractViolated("sequences[].seq_number is missing")
    delay = row.nested("seq_delay_details").identifier("delayInDays")
    subjects = [row.filled("subject")]
    subjects += [
        variant.filled("subject") for variant in row.rows("sequence_variants") if not variant.flag("is_deleted")
    ]
    return SequenceStepSighting(
        campaign_external_id=campaign,
        number=number,
        seen_at=seen_at,
        external_id=row.identifier("id"),
        subject=next(filter(None, subjects), ""),  # blank: the same thread as the step before
        delay_days=int(delay) if delay is not None else None,
    )


def _lead_sighting(lead: _Lead, address: str, seen_at: datetime) -> LeadSighting:
    fields = lead.fields
    return LeadSighting(
        key=keys.lead(address),
        seen_at=seen_at,
        external_id=lead.id,
        email=address,
        profile_url=fields.filled("linkedin_profile"),
        first_name=fields.filled("first_name"),
        last_name=fields.filled("last_name"),
        company_name=fields.filled("company_name"),
        phone=fields.filled("phone_number"),
        location=fields.filled("location"),
    )


def _conversation_sighting(lead: _Lead, campaign: str, lead_key: str, seen_at: datetime) -> ConversationSighting:
    maps = [row for row in lead.fields.rows("lead_campaign_data") if row.identifier("campaign_id") == campaign]
    return ConversationSighting(
        key=keys.conversation(campaign, lead_key),
        lead_key=lead_key,
        seen_at=seen_at,
        campaign_external_id=campaign,
        external_id=maps[0].identifier("campaign_lead_map_id") if maps else None,
    )


def _list_of_objects(value: object, name: str) -> Sequence[Fields]:
    if value is None:
        raise ProviderUnavailable(f"an empty answer instead of {name}")
    return Fields({name: value}).rows(name)


def _object(value: object, name: str) -> Fields:
    return Fields({name: value}).nested(name)


def _required(value: str | None, name: str) -> str:
    if value is None:
        raise ContractViolated(f"{name} is missing")
    return value

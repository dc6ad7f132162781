"""HeyReach's API as capabilities: reading a campaign back, webhook registration.

Nearly all its reads are POSTs; what may be repeated is said call by call. The inbox is not read, see HeyReachClient.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import httpx

from libs.errors import ContractViolated, ProviderRefused, ProviderUnavailable
from libs.observability.logs import get_logger
from libs.providers.calls import Answer, CallPolicy, call
from libs.providers.fields import Fields
from libs.providers.heyreach import events
from libs.providers.heyreach.campaigns import read_status
from libs.providers.sightings import CampaignSighting, Channel, Reading

BASE_URL = "https://api.heyreach.io/api/public"
PAGE = 100  # the provider's cap
MOST_PAGES = 1000  # totals are hints; this only ends a provider that repeats itself for ever
SHORTEST_NAME, LONGEST_NAME = 3, 25  # of a webhook; the provider refuses others
USER_AGENT = "Outrider/0.1"
# Without these the account would be told wrongly, so a refusal of one is a refusal of all. The others are welcome: some
# workspaces do not have them (the automatic tags are of May 2026), and they tell nothing that counts is built on.
NEEDED_TYPES = frozenset(
    {
        events.CONNECTION_REQUEST_SENT,
        events.CONNECTION_REQUEST_ACCEPTED,
        events.MESSAGE_SENT,
        events.INMAIL_SENT,
        events.EVERY_MESSAGE_REPLY_RECEIVED,
        events.LEAD_TAG_UPDATED,
        events.CAMPAIGN_COMPLETED,
    }
)
# The sentence of a key that is the organization's: it comes as 200 and plain text.
_WRONG_KIND_OF_KEY = b"not a workspace-level key"

log = get_logger()


@dataclass(frozen=True, slots=True)
class _Webhook:
    id: str
    event_type: str
    is_active: bool
    is_scoped: bool  # to some campaigns


class HeyReachClient:
    """Implements CampaignPulls and WebhookRegistration for one workspace (one API key).

    Neither Snapshots nor Pulls: no list of HeyReach's is the truth about messages. Its inbox names no campaign, no step and
    no message id, tells whole threads (also what people wrote by hand, also other campaigns'), lags by up to hours, and
    dates late arrivals back; a list of leads knows only their latest state. To compare with such a list, or to delete by
    it, would break what webhooks told right.

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

    async def read_campaign(self, campaign_external_id: str) -> Reading:
        """The campaign as of the provider's clock at the time of the answer. Of its sequence nothing: no message names a
        step."""
        try:
            value, answer = await self._call(
                "GET", "/campaign/GetById", params={"campaignId": campaign_external_id}, idempotent=True
            )
            if value is None:
                raise ProviderUnavailable(f"campaign {campaign_external_id}: an empty answer")
            campaign = _object(value, "campaign")
            if campaign.identifier("id") != campaign_external_id:
                raise ContractViolated("campaign.id is not the one asked for")
        except ProviderRefused:
            # 404 is also the answer for a draft, which only the list shows. Any other no is repeated there.
            campaign, answer = await self._campaign_in_list(campaign_external_id)
        # A status can be some seconds behind, so the next webhook may know better, and is newer.
        seen_at = answer.answered_at or campaign.moment("creationTime")
        if seen_at is None:
            raise ContractViolated("campaign.creationTime is missing")
        return Reading(
            event_type="pull.campaign",
            campaigns=(
                CampaignSighting(
                    external_id=campaign_external_id,
                    seen_at=seen_at,
                    channel=Channel.LINKEDIN,
                    name=campaign.filled("name"),
                    status=read_status(campaign),
                ),
            ),
        )

    async def register_webhook(self, *, url: str, name: str) -> str:
        """One webhook for each type, as a webhook has one; answers their ids, joined by commas.

        Safe to call again: what the provider lists for `url` is kept, and made whole if it was paused or bound to
        campaigns. A creation is never repeated on a guess, as the provider keeps as many of one kind as it is asked for,
        and posts each event to all of them: when an answer is lost, the list says whether it landed.
        """
        known = await self._webhooks(url)
        found: list[str] = []
        for event_type in events.EVENT_TYPES:
            webhook = known.get(event_type)
            try:
                made = webhook.id if webhook is not None else await self._create(url, _fit(name), event_type)
            except ProviderRefused as refusal:
                if event_type in NEEDED_TYPES:
                    raise
                log.warning("webhook_type_refused", event_type=event_type, reason=str(refusal))
                continue
            if webhook is not None and (webhook.is_scoped or not webhook.is_active):
                await self._call(
                    "PATCH",
                    "/webhooks/UpdateWebhook",
                    params={"webhookId": made},
                    json={"isActive": True, "campaignIds": []},
                    idempotent=True,
                )
            found.append(made)
        return ",".join(found)

    async def _create(self, url: str, name: str, event_type: str) -> str:
        body = {"webhookName": name, "webhookUrl": url, "eventType": event_type, "campaignIds": [], "isActive": True}
        lost: ProviderUnavailable | None = None
        try:
            value, _ = await self._call("POST", "/webhooks/CreateWebhook", json=body, idempotent=False)
            # Sources know the id alone, the whole object, or nothing of the answer.
            made = Fields(value).identifier("webhookId", "id") if isinstance(value, dict) else None
            if made is not None:
                return made
        except ProviderUnavailable as error:
            lost = error
        webhook = (await self._webhooks(url)).get(event_type)
        if webhook is None:
            raise lost or ProviderUnavailable(f"the new webhook for {event_type} is not listed")
        return webhook.id

    async def _webhooks(self, url: str) -> dict[str, _Webhook]:
        """Those that post to `url`, by type; of several the oldest."""
        found: dict[str, _Webhook] = {}
        async for row, _ in self._rows("/webhooks/GetAllWebhooks", "webhooks"):
            if row.text("webhookUrl") != url:
                continue
            webhook = _Webhook(
                id=_required(row.identifier("id", "webhookId"), "webhooks.items[].id"),
                event_type=events.canonical(row.text("eventType") or ""),
                is_active=row.flag("isActive") is not False,
                is_scoped=bool(row.raw.get("campaignIds")),
            )
            before = found.get(webhook.event_type)
            if before is None or int(webhook.id) < int(before.id):
                found[webhook.event_type] = webhook
        return found

    async def _campaign_in_list(self, campaign_external_id: str) -> tuple[Fields, Answer]:
        async for row, answer in self._rows("/campaign/GetAll", "campaigns"):
            if row.identifier("id") == campaign_external_id:
                return row, answer
        raise ProviderRefused(f"there is no campaign {campaign_external_id}")

    async def _rows(self, path: str, name: str) -> AsyncIterator[tuple[Fields, Answer]]:
        """Every row of a list by offset, with the answer it came in. A row may come twice while the list grows."""
        offset = 0
        for _ in range(MOST_PAGES):
            value, answer = await self._call("POST", path, json={"offset": offset, "limit": PAGE}, idempotent=True)
            if value is None:
                raise ProviderUnavailable(f"an empty answer instead of {name}")
            page = _object(value, name)
            if not page.states("items"):
                raise ContractViolated(f"{name}.items is missing")
            rows = page.rows("items")
            for row in rows:
                yield row, answer
            offset += len(rows)
            total = page.identifier("totalCount")
            # A total may be missing or 0 on odd days, so an empty page is the end in any case.
            if not rows or (total is not None and 0 < int(total) <= offset):
                return

    async def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json: object = None,
        idempotent: bool,
    ) -> tuple[object, Answer]:
        return await call(
            self._http,
            method,
            self._base_url + path,
            idempotent=idempotent,
            params=params,
            json=json,
            headers={"X-API-KEY": self._api_key, "User-Agent": USER_AGENT, "Accept": "application/json"},
            secrets=(self._api_key,),
            explain=explanation,
            refusal_in=_refusal,
            policy=self._policy,
        )


def explanation(body: object) -> str | None:
    """The provider's sentence: a business rule's `errorMessage`, the first of a validation's `errors`, or what a client
    or two look for besides."""
    if not isinstance(body, dict):
        return None
    errors = body.get("errors")
    lists = errors.values() if isinstance(errors, dict) else ()
    details = [sentence for found in lists if isinstance(found, list) for sentence in found]
    order = (body.get("errorMessage"), *details, *(body.get(name) for name in ("detail", "message", "error", "title")))
    return next((sentence for sentence in order if isinstance(sentence, str) and sentence), None)


def _refusal(body: bytes) -> str | None:
    if len(body) < 500 and _WRONG_KIND_OF_KEY in body:
        return "the key is an organization's; a workspace's is needed"
    return None


def _fit(name: str) -> str:
    return name.strip()[:LONGEST_NAME].strip().ljust(SHORTEST_NAME, ".")


def _object(value: object, name: str) -> Fields:
    return Fields({name: value}).nested(name)


def _required(value: str | None, name: str) -> str:
    if value is None:
        raise ContractViolated(f"{name} is missing")
    return value

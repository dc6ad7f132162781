"""The workspace's webhooks: one for each event type, and all that post to one address are one registration."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from libs.errors import ProviderRefused, ProviderUnavailable
from libs.observability.logs import get_logger
from libs.observability.reasons import reason_of
from libs.providers.calls import NotThere
from libs.providers.fields import Fields
from libs.providers.heyreach import events
from libs.providers.heyreach.transport import HeyReachApi
from libs.providers.records import Registration

SHORTEST_NAME, LONGEST_NAME = 3, 25  # of a webhook; the provider refuses others
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

log = get_logger()


@dataclass(frozen=True, slots=True)
class _Webhook:
    id: str
    url: str
    event_type: str
    name: str | None
    is_active: bool
    is_scoped: bool  # to some campaigns

    @property
    def is_whole(self) -> bool:
        return self.is_active and not self.is_scoped


class WebhookCalls(HeyReachApi):
    """WebhookRegistration, WebhookUpkeep and WebhookListing. An id of ours is the provider's ids, joined by commas."""

    async def register_webhook(self, *, url: str, name: str) -> str:
        """One webhook for each type, as a webhook has one; answers their ids, joined by commas.

        Safe to call again: what the provider lists for `url` is kept, and made whole if it was paused or bound to
        campaigns. A creation is never repeated on a guess, as the provider keeps as many of one kind as it is asked for,
        and posts each event to all of them: when an answer is lost, the list says whether it landed.
        """
        known = _first_of_each_type(await self._webhooks(), url)
        found: list[str] = []
        for event_type in events.EVENT_TYPES:
            webhook = known.get(event_type)
            try:
                made = webhook.id if webhook is not None else await self._create(url, _fit(name), event_type)
            except ProviderRefused as refusal:
                if event_type in NEEDED_TYPES:
                    raise
                log.warning("webhook_type_refused", event_type=event_type, reason=reason_of(refusal))
                continue
            if webhook is not None and not webhook.is_whole:
                whole = {"isActive": True, "campaignIds": []}
                await self._write("PATCH", "/webhooks/UpdateWebhook", params={"webhookId": made}, json=whole)
            found.append(made)
        return ",".join(found)

    async def check_webhook(self, webhook_id: str, *, url: str) -> Registration | None:
        ids = _ids(webhook_id)
        ours = [webhook for webhook in await self._webhooks() if webhook.id in ids]
        return _registration(ours, url, _faults(ours, ids, url)) if ours else None

    async def repair_webhook(self, webhook_id: str, *, url: str, name: str) -> str:
        """What is missing is made, what was paused or bound to campaigns is freed, and what posts elsewhere or twice is
        deleted, after the rest is there."""
        ids = _ids(webhook_id)
        before = await self._webhooks()
        ours = [webhook for webhook in before if webhook.id in ids]
        if ours and not _faults(ours, ids, url):
            return webhook_id
        made = await self.register_webhook(url=url, name=name)
        kept = _ids(made)
        for webhook in before:
            if webhook.id not in kept and (webhook.id in ids or webhook.url == url):
                await self._delete(webhook.id)
        return made

    async def delete_webhook(self, webhook_id: str) -> None:
        for one in sorted(_ids(webhook_id), key=int):
            await self._delete(one)

    async def list_webhooks(self) -> Sequence[Registration]:
        """Address by address."""
        by_url: dict[str, list[_Webhook]] = {}
        for webhook in await self._webhooks():
            by_url.setdefault(webhook.url, []).append(webhook)
        return [
            _registration(found, url, _faults(found, {webhook.id for webhook in found}, url))
            for url, found in by_url.items()
        ]

    async def _delete(self, one: str) -> None:
        try:
            await self._write("DELETE", "/webhooks/DeleteWebhook", params={"webhookId": one})
        except NotThere:
            return

    async def _create(self, url: str, name: str, event_type: str) -> str:
        body = {"webhookName": name, "webhookUrl": url, "eventType": event_type, "campaignIds": [], "isActive": True}
        lost: ProviderUnavailable | None = None
        try:
            value = await self._write("POST", "/webhooks/CreateWebhook", json=body)
            # Sources know the id alone, the whole object, or nothing of the answer.
            made = Fields(value).identifier("webhookId", "id") if isinstance(value, dict) else None
            if made is not None:
                return made
        except ProviderUnavailable as error:
            lost = error
        webhook = _first_of_each_type(await self._webhooks(), url).get(event_type)
        if webhook is None:
            raise lost or ProviderUnavailable(f"the new webhook for {event_type} is not listed")
        return webhook.id

    async def _webhooks(self) -> Sequence[_Webhook]:
        """All of the workspace, the oldest first."""
        rows = await self._whole("/webhooks/GetAllWebhooks", "webhooks")
        return [
            _Webhook(
                id=number,
                url=row.text("webhookUrl") or "",
                event_type=events.canonical(row.text("eventType") or ""),
                name=row.filled("webhookName"),
                is_active=row.flag("isActive") is not False,
                is_scoped=bool(row.raw.get("campaignIds")),
            )
            for number, row in sorted(rows.items(), key=lambda item: int(item[0]))
        ]


def _first_of_each_type(webhooks: Sequence[_Webhook], url: str) -> dict[str, _Webhook]:
    found: dict[str, _Webhook] = {}
    for webhook in webhooks:
        if webhook.url == url:
            found.setdefault(webhook.event_type, webhook)
    return found


def _faults(ours: Sequence[_Webhook], ids: Collection[str], url: str) -> list[str]:
    here = [webhook for webhook in ours if webhook.url == url]
    types = [webhook.event_type for webhook in here]
    by_type = {
        "it is paused for": {webhook.event_type for webhook in here if not webhook.is_active},
        "it tells of some campaigns only for": {webhook.event_type for webhook in here if webhook.is_scoped},
        "it tells twice of": {event_type for event_type in types if types.count(event_type) > 1},
        "it does not tell of": NEEDED_TYPES - set(types),
    }
    faults = ["it posts to another address"] if len(here) < len(ours) else []
    faults += [f"{what} {', '.join(sorted(named))}" for what, named in by_type.items() if named]
    # Types that are not needed too: they were registered once.
    return [*faults, "some of its webhooks are gone"] if set(ids) - {webhook.id for webhook in ours} else faults


def _registration(found: Sequence[_Webhook], url: str, faults: Sequence[str]) -> Registration:
    here = [webhook for webhook in found if webhook.url == url]
    return Registration(
        external_id=",".join(webhook.id for webhook in found),
        url=(here or found)[0].url,
        event_types=frozenset(webhook.event_type for webhook in here if webhook.is_active),
        name=found[0].name,
        is_active=any(webhook.is_active for webhook in found),
        faults=tuple(faults),
    )


def _ids(webhook_id: str) -> set[str]:
    """What is no id of the provider's names nothing there."""
    return {one for one in webhook_id.split(",") if one.isascii() and one.isdigit() and len(one) <= 18}


def _fit(name: str) -> str:
    return name.strip()[:LONGEST_NAME].strip().ljust(SHORTEST_NAME, ".")

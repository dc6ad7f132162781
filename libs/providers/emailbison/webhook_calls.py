"""Webhooks: being told of everything, and looking after the registration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from libs.errors import ContractViolated, ProviderUnavailable
from libs.providers.calls import NotThere
from libs.providers.emailbison import events
from libs.providers.emailbison.transport import EmailBisonApi, as_object, data_of, in_path, required
from libs.providers.fields import Fields
from libs.providers.records import Registration


class WebhookCalls(EmailBisonApi):
    """WebhookRegistration, WebhookUpkeep and WebhookListing."""

    async def register_webhook(self, *, url: str, name: str) -> str:
        """For every type that the instance offers. The provider keeps any number of registrations of one URL and posts
        to each, so the list is looked at first; and again, once, when the answer to the creation did not come."""
        wanted = await self._event_ids()
        body = {"name": name, "url": url, "events": wanted}
        known = await self._registration_of(url)
        if known is not None:
            webhook_id = required(known, "id", known.identifier("id"))
            if not set(wanted) <= _events_of(known):
                await self._call("PUT", f"/webhook-url/{webhook_id}", json=body, idempotent=True)  # replaces
            return webhook_id
        try:
            value, _ = await self._call("POST", "/webhook-url", json=body)
        except ProviderUnavailable:
            made = await self._registration_of(url)
            if made is None:  # no proof: it may still be on its way
                raise
        else:
            made = data_of(value, "webhook")
        return required(made, "id", made.identifier("id"))

    async def check_webhook(self, webhook_id: str, *, url: str) -> Registration | None:
        try:
            found = data_of(await self._get(f"/webhook-url/{in_path(webhook_id)}"), "webhook")
        except NotThere:
            return None
        if not found.raw:
            return None
        made = _registration(found)
        faults = []
        if made.url != url:
            faults.append("it posts to another address")
        missing = sorted(set(await self._event_ids()) - made.event_types)
        if missing:
            faults.append(f"it does not tell of {', '.join(missing)}")
        return replace(made, faults=tuple(faults))

    async def repair_webhook(self, webhook_id: str, *, url: str, name: str) -> str:
        """In its place where it is there, as a change replaces all of it; made anew where it is gone."""
        found = await self.check_webhook(webhook_id, url=url)
        if found is None:
            return await self.register_webhook(url=url, name=name)
        if found.faults:
            body = {"name": name, "url": url, "events": await self._event_ids()}
            await self._write("PUT", f"/webhook-url/{in_path(webhook_id)}", body)
        return webhook_id

    async def delete_webhook(self, webhook_id: str) -> None:
        try:
            await self._write("DELETE", f"/webhook-url/{in_path(webhook_id)}")
        except NotThere:
            return

    async def list_webhooks(self) -> Sequence[Registration]:
        return [_registration(row) for row in await self._webhooks()]

    async def _event_ids(self) -> list[str]:
        """What can be subscribed to here; instances differ by age, and one unknown name may refuse them all."""
        try:
            answer = as_object(await self._get("/webhook-events/event-types"), "types")
        except NotThere:
            return [events.subscription_id(event_type) for event_type in events.EVENT_TYPES]
        offered = [required(row, "id", row.filled("id")) for row in answer.rows("data")]
        if not offered:
            raise ContractViolated("types.data is empty")
        return offered

    async def _registration_of(self, url: str) -> Fields | None:
        """The oldest registration of the URL."""
        found = [row for row in await self._webhooks() if row.text("url") == url]
        return min(found, key=lambda row: int(row.identifier("id") or 0), default=None)

    async def _webhooks(self) -> Sequence[Fields]:
        answer = as_object(await self._get("/webhook-url"), "webhooks")
        if answer.nested("meta").raw:
            return await self._list("/webhook-url")
        return answer.rows("data")  # no pages were seen here


def _registration(found: Fields) -> Registration:
    return Registration(
        external_id=required(found, "id", found.identifier("id")),
        url=found.text("url") or "",
        event_types=frozenset(_events_of(found)),
        name=found.filled("name"),
    )


def _events_of(registration: Fields) -> set[str]:
    named = registration.raw.get("events")
    return {name.lower() for name in named if isinstance(name, str)} if isinstance(named, list) else set()

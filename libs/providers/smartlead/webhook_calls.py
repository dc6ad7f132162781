"""The account's webhook: made, looked after, taken away. The provider lists none of them, so its id must be kept."""

from __future__ import annotations

from libs.providers.calls import NotThere
from libs.providers.records import Registration
from libs.providers.smartlead import events
from libs.providers.smartlead.lead_calls import LeadCalls
from libs.providers.smartlead.transport import as_object, in_path, is_nothing, required

# FIRST_EMAIL_SENT is left out: nobody knows whether it comes beside EMAIL_SENT or in its stead.
REGISTERED_TYPES = tuple(name for name in events.EVENT_TYPES if name != events.FIRST_EMAIL_SENT)


class WebhookCalls(LeadCalls):
    """WebhookRegistration and WebhookUpkeep."""

    async def register_webhook(self, *, url: str, name: str) -> str:
        """For the whole account, so it also covers campaigns that are yet to be made. Not repeated on a timeout: the
        provider keeps two registrations of one URL, and the first cannot be listed."""
        categories = list(await self._category_names())
        made = await self._write(
            "POST",
            "/webhook/create",
            {
                "name": name,
                "webhook_url": url,
                "association_type": "user",
                "event_type_map": dict.fromkeys(REGISTERED_TYPES, True),
                "category_id_map": dict.fromkeys(categories, True),  # category changes are posted for these only
                "force_create": False,
            },
        )
        return required(made.identifier("id"), "webhook.id")

    async def check_webhook(self, webhook_id: str, *, url: str) -> Registration | None:
        try:
            value = await self._get(f"/webhook/{in_path(webhook_id)}")
        except NotThere:
            return None
        if is_nothing(value):
            return None
        found = as_object(value, "webhook").nested("data")
        if not found.raw:
            return None
        told = found.nested("event_type_map").raw
        types = frozenset(name for name, wanted in told.items() if wanted is True)
        faults = []
        address = found.text("webhook_url") or ""
        if address != url:
            faults.append("it posts to another address")
        missing = sorted(set(REGISTERED_TYPES) - types)
        if missing:
            faults.append(f"it does not tell of {', '.join(missing)}")
        return Registration(
            external_id=required(found.identifier("id"), "webhook.data.id"),
            url=address,
            event_types=types,
            name=found.filled("name"),
            faults=tuple(faults),
        )

    async def repair_webhook(self, webhook_id: str, *, url: str, name: str) -> str:
        """An account's webhook cannot be changed: a faulty one is replaced, the new one first. For a moment both may post,
        which costs nothing, as the door knows what it has heard; a gap would cost what happens in it."""
        found = await self.check_webhook(webhook_id, url=url)
        if found is not None and not found.faults:
            return webhook_id
        made = await self.register_webhook(url=url, name=name)
        if found is not None:
            await self.delete_webhook(webhook_id)
        return made

    async def delete_webhook(self, webhook_id: str) -> None:
        try:
            await self._write("DELETE", f"/webhook/delete/{in_path(webhook_id)}")
        except NotThere:
            return

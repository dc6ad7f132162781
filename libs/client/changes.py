"""What happens at providers: asked for, answered with an operation, and followed until it is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal

from libs.client.caller import Caller, Json

Channel = Literal["email", "linkedin"]

_POLL_SECONDS = 1.0


class OperationFailed(Exception):
    """The operation is over, or waits for a person, and was not done. `operation` is the API's document."""

    def __init__(self, operation: Json) -> None:
        what = "needs a decision" if operation["needs_decision"] else operation["state"]
        super().__init__(f"{operation['kind']} {what}: {operation['error_code']}: {operation['error']}")
        self.operation = operation


class Changes(Caller):
    """Every change answers an operation at once: `await client.wait_for(await client.start_campaign(…))` waits for its end.

    With an `idempotency_key` the same request, made again, is the same operation. Asking an account for what its provider
    cannot do raises ApiProblem `capability_unsupported`.
    """

    async def operation(self, operation_id: str) -> Json:
        return await self._get(f"/operations/{operation_id}")

    def operations(self, **filters: Any) -> AsyncIterator[Json]:
        """Newest first; `state`, `account_id`."""
        return self._walk("/operations", filters)

    async def cancel_operation(self, operation_id: str) -> Json:
        """Take back what was not sent yet."""
        return await self._send("POST", f"/operations/{operation_id}/cancel")

    async def resolve_operation(self, operation_id: str, *, done: bool, note: str) -> Json:
        """Say, as a person who has looked, what became of a call whose answer was lost."""
        body = {"outcome": "done" if done else "not_done", "note": note}
        return await self._post(f"/operations/{operation_id}/resolve", body)

    async def wait_for(
        self, operation: Json, *, within_seconds: float = 120.0, poll_seconds: float = _POLL_SECONDS
    ) -> Json:
        """The operation once it succeeded.

        Raises:
            OperationFailed: it failed, was cancelled, or waits for a person.
            TimeoutError: it is not over yet; it goes on, and may be waited for again.
        """
        async with asyncio.timeout(within_seconds):
            while True:
                found = await self.operation(operation["id"])
                if found["state"] == "succeeded":
                    return found
                if found["needs_decision"] or found["state"] in ("failed", "cancelled"):
                    raise OperationFailed(found)
                await asyncio.sleep(poll_seconds)

    # Campaigns

    async def create_campaign(
        self,
        channel: Channel,
        account_id: str,
        name: str,
        *,
        company_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> Json:
        """The operation's `result` has the `campaign_id`."""
        body = {"account_id": account_id, "name": name, "company_id": company_id}
        return await self._ask("POST", f"/{channel}/campaigns", body, idempotency_key)

    async def change_campaign(
        self, channel: Channel, campaign_id: str, *, idempotency_key: str | None = None, **changes: Any
    ) -> Json:
        """`name`, `schedule`, `new_leads_per_day`, `sender_external_ids` …: what is not named stays."""
        return await self._ask("PATCH", f"/{channel}/campaigns/{campaign_id}", changes, idempotency_key)

    async def replace_steps(
        self, campaign_id: str, steps: Sequence[Mapping[str, Any]], *, idempotency_key: str | None = None
    ) -> Json:
        """The whole sequence of an e-mail campaign, in order."""
        body = {"steps": [dict(step) for step in steps]}
        return await self._ask("PUT", f"/email/campaigns/{campaign_id}/sequence", body, idempotency_key)

    async def replace_sequence(
        self, campaign_id: str, first: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> Json:
        """The whole sequence of a LinkedIn campaign, from its first step on."""
        body = {"first": dict(first)}
        return await self._ask("PUT", f"/linkedin/campaigns/{campaign_id}/sequence", body, idempotency_key)

    async def start_campaign(self, channel: Channel, campaign_id: str, *, idempotency_key: str | None = None) -> Json:
        return await self._ask("POST", f"/{channel}/campaigns/{campaign_id}/start", None, idempotency_key)

    async def pause_campaign(self, channel: Channel, campaign_id: str, *, idempotency_key: str | None = None) -> Json:
        return await self._ask("POST", f"/{channel}/campaigns/{campaign_id}/pause", None, idempotency_key)

    async def resume_campaign(self, channel: Channel, campaign_id: str, *, idempotency_key: str | None = None) -> Json:
        return await self._ask("POST", f"/{channel}/campaigns/{campaign_id}/resume", None, idempotency_key)

    async def stop_campaign(self, channel: Channel, campaign_id: str, *, idempotency_key: str | None = None) -> Json:
        """For good."""
        return await self._ask("POST", f"/{channel}/campaigns/{campaign_id}/stop", None, idempotency_key)

    # Their leads

    async def add_leads(
        self,
        channel: Channel,
        campaign_id: str,
        leads: Sequence[Mapping[str, Any]],
        *,
        idempotency_key: str | None = None,
    ) -> Json:
        """1,000 at most; each by `email`, on LinkedIn by `profile_url`. `result` counts `added`, `known` and `refused`, and
        names who was `not_added` and why; who is `undecided` there is still looked for."""
        body = {"leads": [dict(lead) for lead in leads]}
        return await self._ask("POST", f"/{channel}/campaigns/{campaign_id}/leads", body, idempotency_key)

    async def pause_lead(
        self, channel: Channel, campaign_id: str, lead_id: str, *, idempotency_key: str | None = None
    ) -> Json:
        path = f"/{channel}/campaigns/{campaign_id}/leads/{lead_id}/pause"
        return await self._ask("POST", path, None, idempotency_key)

    async def resume_lead(
        self, channel: Channel, campaign_id: str, lead_id: str, *, idempotency_key: str | None = None
    ) -> Json:
        path = f"/{channel}/campaigns/{campaign_id}/leads/{lead_id}/resume"
        return await self._ask("POST", path, None, idempotency_key)

    async def stop_lead(
        self, channel: Channel, campaign_id: str, lead_id: str, *, idempotency_key: str | None = None
    ) -> Json:
        """For good; the lead stays listed in the campaign."""
        path = f"/{channel}/campaigns/{campaign_id}/leads/{lead_id}/stop"
        return await self._ask("POST", path, None, idempotency_key)

    async def remove_lead(
        self, channel: Channel, campaign_id: str, lead_id: str, *, idempotency_key: str | None = None
    ) -> Json:
        """Out of the campaign, at the provider with its history."""
        return await self._ask("DELETE", f"/{channel}/campaigns/{campaign_id}/leads/{lead_id}", None, idempotency_key)

    # What the provider says of them

    async def refresh_statistics(
        self, channel: Channel, campaign_id: str, *, idempotency_key: str | None = None
    ) -> Json:
        """Has the provider's own counters read; `OutriderClient.statistics` shows them then."""
        path = f"/{channel}/campaigns/{campaign_id}/statistics/refreshes"
        return await self._ask("POST", path, None, idempotency_key)

    async def refresh_sequence(self, channel: Channel, campaign_id: str, *, idempotency_key: str | None = None) -> Json:
        """Has the sequence read, with all its texts; `OutriderClient.sequence` shows it then."""
        path = f"/{channel}/campaigns/{campaign_id}/sequence/refreshes"
        return await self._ask("POST", path, None, idempotency_key)

    # Answers

    async def reply(self, conversation_id: str, text: str, *, idempotency_key: str | None = None, **more: Any) -> Json:
        """`html`, `to_message_id`, `cc`, `bcc`. Never sent twice by itself."""
        path = f"/inbox/conversations/{conversation_id}/replies"
        return await self._ask("POST", path, {"text": text, **more}, idempotency_key)

    async def _ask(self, method: str, path: str, body: Json | None, key: str | None) -> Json:
        more: Json = {} if body is None else {"json": body}
        if key is not None:
            more["headers"] = {"Idempotency-Key": key}
        return await self._send(method, path, **more)

"""The public API from Python. Answers are the API's own documents: fields that a newer server adds are simply there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self

from libs.client.caller import ApiProblem, Json
from libs.client.changes import Changes, Channel, OperationFailed

__all__ = ["ApiProblem", "Json", "OperationFailed", "OutriderClient"]


class OutriderClient(Changes):
    """One API key's view. `org` (`org_…`) is for platform keys, which act in an organization only by naming it.

    Lists are async iterators over all pages. Every method raises ApiProblem for what the API refuses and httpx's errors
    for what never got an answer. `http` is for tests (an in-process transport) and is then not closed here.
    """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # Who am I, and who are my tenants

    async def me(self) -> Json:
        return await self._get("/me")

    async def create_organization(self, name: str, *, time_zone: str = "UTC") -> Json:
        return await self._post("/organizations", {"name": name, "time_zone": time_zone})

    def organizations(self) -> AsyncIterator[Json]:
        return self._walk("/organizations")

    async def organization(self, organization_id: str) -> Json:
        return await self._get(f"/organizations/{organization_id}")

    async def suspend_organization(self, organization_id: str, *, reason: str) -> Json:
        return await self._post(f"/organizations/{organization_id}/suspend", {"reason": reason})

    async def resume_organization(self, organization_id: str, *, reason: str) -> Json:
        return await self._post(f"/organizations/{organization_id}/resume", {"reason": reason})

    async def erase_organization(self, organization_id: str, *, confirm: str, reason: str) -> Json:
        """Of a suspended one; `confirm` repeats its name or id. Nothing brings it back. `erasure` tells how far it is."""
        body = {"confirm": confirm, "reason": reason}
        return await self._send("DELETE", f"/organizations/{organization_id}", json=body)

    async def erasure(self, organization_id: str) -> Json:
        return await self._get(f"/organizations/{organization_id}/erasure")

    async def archive_company(self, company_id: str) -> Json:
        return await self._post(f"/companies/{company_id}/archive", {})

    async def create_company(self, name: str) -> Json:
        return await self._post("/companies", {"name": name})

    def companies(self) -> AsyncIterator[Json]:
        return self._walk("/companies")

    async def create_api_key(
        self,
        name: str,
        *,
        role: str,
        company_ids: Sequence[str] = (),
        scopes: Sequence[str] | None = None,
        expires_at: str | None = None,
    ) -> Json:
        """The answer's `key` is shown this once. `scopes`: of the role's permissions those that it is to have."""
        body = {"name": name, "role": role, "company_ids": list(company_ids), "expires_at": expires_at}
        if scopes is not None:
            body["scopes"] = list(scopes)
        return await self._post("/api-keys", body)

    def api_keys(self) -> AsyncIterator[Json]:
        return self._walk("/api-keys")

    async def rotate_api_key(self, key_id: str, *, overlap_seconds: int = 86_400) -> Json:
        """A second secret, shown in the answer's `key` this once; the one before ends after the overlap."""
        return await self._post(f"/api-keys/{key_id}/rotations", {"overlap_seconds": overlap_seconds})

    async def revoke_api_key(self, key_id: str) -> None:
        await self._send("DELETE", f"/api-keys/{key_id}")

    async def add_user(
        self, subject: str, *, email: str, name: str, role: str, company_ids: Sequence[str] = ()
    ) -> Json:
        """`subject` is what the identity provider calls the person."""
        body = {"subject": subject, "email": email, "name": name, "role": role, "company_ids": list(company_ids)}
        return await self._post("/users", body)

    def users(self) -> AsyncIterator[Json]:
        return self._walk("/users")

    async def user(self, user_id: str) -> Json:
        return await self._get(f"/users/{user_id}")

    async def change_user(self, user_id: str, **changes: Any) -> Json:
        """`role`, `company_ids`, `status`, `name`, `email`: what is not named stays."""
        return await self._send("PATCH", f"/users/{user_id}", json=changes)

    async def remove_user(self, user_id: str) -> None:
        await self._send("DELETE", f"/users/{user_id}")

    # Platform staff in an organization

    async def assume(self, organization_id: str, reason: str, *, minutes: int, write: bool = False) -> Json:
        """From now on requests that name this organization (a client with `org`) are let in, to read unless `write`."""
        body = {"organization_id": organization_id, "reason": reason, "minutes": minutes, "write": write}
        return await self._post("/assumptions", body)

    def assumptions(self) -> AsyncIterator[Json]:
        return self._walk("/assumptions")

    async def end_assumption(self, assumption_id: str) -> None:
        await self._send("DELETE", f"/assumptions/{assumption_id}")

    # Provider accounts and what they brought

    async def create_provider_account(self, **account: Any) -> Json:
        """`provider`, `name`, `credentials`, and what that provider takes besides."""
        return await self._post("/provider-accounts", account)

    def provider_accounts(self) -> AsyncIterator[Json]:
        return self._walk("/provider-accounts")

    async def provider_account(self, account_id: str) -> Json:
        return await self._get(f"/provider-accounts/{account_id}")

    def webhook_endpoints(self) -> AsyncIterator[Json]:
        return self._walk("/webhook-endpoints")

    async def webhook_endpoint(self, endpoint_id: str) -> Json:
        return await self._get(f"/webhook-endpoints/{endpoint_id}")

    async def change_webhook_endpoint(self, endpoint_id: str, *, revision: int, **changes: Any) -> Json:
        """`signature_mode`, `add_signing_secret`, `remove_signing_secrets`, `source_mode`, `allowed_sources`; `revision` is the
        one that was read, and what is not named stays."""
        path = f"/webhook-endpoints/{endpoint_id}"
        return await self._send("PATCH", path, json={"revision": revision, **changes})

    async def rotate_webhook_endpoint(self, endpoint_id: str, *, overlap_seconds: int = 604_800) -> Json:
        """A new token; those before it go on for the overlap once the provider knows it. 0 ends them now."""
        return await self._post(f"/webhook-endpoints/{endpoint_id}/rotations", {"overlap_seconds": overlap_seconds})

    async def release_withheld(self, endpoint_id: str) -> Json:
        """Judge anew what the endpoint withheld for want of a proof."""
        return await self._send("POST", f"/webhook-endpoints/{endpoint_id}/releases")

    def campaigns(
        self, channel: Channel = "email", *, company_id: str | None = None, all_companies: bool = False, **filters: Any
    ) -> AsyncIterator[Json]:
        """Admins say which companies: `company_id`, or `all_companies=True`."""
        return self._walk(f"/{channel}/campaigns", _scoped(filters, company_id, all_companies))

    async def campaign(self, channel: Channel, campaign_id: str) -> Json:
        return await self._get(f"/{channel}/campaigns/{campaign_id}")

    async def statistics(self, channel: Channel, campaign_id: str) -> Json:
        """The provider's own counters as it last told them, beside what our rows make of the same names."""
        return await self._get(f"/{channel}/campaigns/{campaign_id}/statistics")

    async def sequence(self, channel: Channel, campaign_id: str) -> Json:
        """The sequence as the provider last told it."""
        return await self._get(f"/{channel}/campaigns/{campaign_id}/sequence")

    def leads(
        self, *, company_id: str | None = None, all_companies: bool = False, **filters: Any
    ) -> AsyncIterator[Json]:
        return self._walk("/leads", _scoped(filters, company_id, all_companies))

    async def lead(self, lead_id: str) -> Json:
        return await self._get(f"/leads/{lead_id}")

    def conversations(
        self, *, company_id: str | None = None, all_companies: bool = False, **filters: Any
    ) -> AsyncIterator[Json]:
        return self._walk("/inbox/conversations", _scoped(filters, company_id, all_companies))

    async def conversation(self, conversation_id: str) -> Json:
        return await self._get(f"/inbox/conversations/{conversation_id}")

    def messages(self, conversation_id: str, **filters: Any) -> AsyncIterator[Json]:
        return self._walk(f"/inbox/conversations/{conversation_id}/messages", filters)

    # Figures

    def campaign_analytics(
        self, *, company_id: str | None = None, all_companies: bool = False, **filters: Any
    ) -> AsyncIterator[Json]:
        return self._walk("/analytics/campaigns", _scoped(filters, company_id, all_companies))

    def step_analytics(
        self, *, company_id: str | None = None, all_companies: bool = False, **filters: Any
    ) -> AsyncIterator[Json]:
        return self._walk("/analytics/sequence-steps", _scoped(filters, company_id, all_companies))

    async def ledger(self, **filters: Any) -> Json:
        return await self._get("/analytics/ledger", filters)

    # What failed, what came in, what differs

    def audit_log(self) -> AsyncIterator[Json]:
        """Who did what, and who was refused; newest first."""
        return self._walk("/audit-log")

    def dead_letters(self, **filters: Any) -> AsyncIterator[Json]:
        return self._walk("/dead-letters", filters)

    async def dead_letter(self, letter_id: str) -> Json:
        """With its bytes and every attempt."""
        return await self._get(f"/dead-letters/{letter_id}")

    async def edit_dead_letter(self, letter_id: str, *, sha256: str, reason: str, **content: Any) -> Json:
        """`data`, or `data_base64` of an event that carries bytes: its whole new content."""
        return await self._send(
            "POST", f"/dead-letters/{letter_id}/edits", json={"sha256": sha256, "reason": reason, **content}
        )

    def dead_letter_groups(self, service: str, **filters: Any) -> AsyncIterator[Json]:
        """What failed at one service, by cause; last seen first."""
        return self._walk("/dead-letter-groups", {"service": service, **filters})

    async def dead_letter_group(self, group_id: str) -> Json:
        return await self._get(f"/dead-letter-groups/{group_id}")

    async def change_dead_letter_group(self, group_id: str, *, revision: int, **changes: Any) -> Json:
        """`status`, `note`; `revision` is the one that was read."""
        return await self._send("PATCH", f"/dead-letter-groups/{group_id}", json={"revision": revision, **changes})

    async def plan_replay(self, service: str, **chosen: Any) -> Json:
        """Freeze which letters; nothing is done again before it is tried and applied."""
        return await self._post("/replays", {"service": service, **chosen})

    def replays(self, service: str, **filters: Any) -> AsyncIterator[Json]:
        return self._walk("/replays", {"service": service, **filters})

    async def replay(self, replay_id: str) -> Json:
        return await self._get(f"/replays/{replay_id}")

    async def try_replay(self, replay_id: str) -> Json:
        """Ask for its dry run; what that found is with the replay once `dry_run_state` is done."""
        return await self._send("POST", f"/replays/{replay_id}/dry-run")

    async def apply_replay(self, replay_id: str, *, plan_hash: str, reason: str) -> Json:
        return await self._post(f"/replays/{replay_id}/apply", {"hash": plan_hash, "reason": reason})

    async def move_replay(self, replay_id: str, how: Literal["pause", "resume", "abort"]) -> Json:
        return await self._send("POST", f"/replays/{replay_id}/{how}")

    def deliveries(self, **filters: Any) -> AsyncIterator[Json]:
        return self._walk("/deliveries", filters)

    async def delivery(self, delivery_id: str) -> Json:
        return await self._get(f"/deliveries/{delivery_id}")

    async def replay_deliveries(self, *, reason: str, **chosen: Any) -> Json:
        """Read deliveries again, 500 at most: `delivery_ids`, or `account_id`, `endpoint_id`, `received_from` …, `dry_run`."""
        return await self._post("/deliveries/replays", {"reason": reason, **chosen})

    async def release_deliveries(self, delivery_ids: Sequence[str]) -> Json:
        """Judge quarantined deliveries as if they had just come in; 100 at most."""
        return await self._post("/deliveries/releases", {"delivery_ids": list(delivery_ids)})

    async def exports(self) -> Json:
        """Which tables can be copied, with their columns, and what stays and why."""
        return await self._get("/exports")

    async def export_page(self, owner: str, table: str, *, after: str | None = None, limit: int = 1000) -> Json:
        """Rows of a table as they are stored, in the order of its key. A page may be shorter than `limit` and not be the last."""
        return await self._get(f"/exports/{owner}/{table}", {"after": after, "limit": limit})

    async def start_reconciliation(self, account_id: str, **options: Any) -> Json:
        return await self._post("/reconciliations", {"account_id": account_id, **options})

    def reconciliations(self, **filters: Any) -> AsyncIterator[Json]:
        return self._walk("/reconciliations", filters)

    async def reconciliation(self, run_id: str) -> Json:
        return await self._get(f"/reconciliations/{run_id}")

    def drifts(self, run_id: str, **filters: Any) -> AsyncIterator[Json]:
        return self._walk(f"/reconciliations/{run_id}/drifts", filters)

    async def create_schedule(self, account_id: str, *, interval_seconds: int, **options: Any) -> Json:
        body = {"account_id": account_id, "interval_seconds": interval_seconds, **options}
        return await self._post("/reconciliation-schedules", body)

    def schedules(self) -> AsyncIterator[Json]:
        return self._walk("/reconciliation-schedules")

    async def schedule(self, schedule_id: str) -> Json:
        return await self._get(f"/reconciliation-schedules/{schedule_id}")

    async def change_schedule(self, schedule_id: str, *, revision: int, **changes: Any) -> Json:
        """`revision` is the one that was read; what is not named stays."""
        path = f"/reconciliation-schedules/{schedule_id}"
        return await self._send("PATCH", path, json={"revision": revision, **changes})

    async def delete_schedule(self, schedule_id: str) -> None:
        await self._send("DELETE", f"/reconciliation-schedules/{schedule_id}")

    def slots(self, schedule_id: str) -> AsyncIterator[Json]:
        return self._walk(f"/reconciliation-schedules/{schedule_id}/slots")

    async def start_slot(self, schedule_id: str, slot: str) -> Json:
        """`slot` is its start, `2026-07-11T02:00:00Z`; all that a scheduler's key may ask for."""
        return await self._send("PUT", f"/reconciliation-schedules/{schedule_id}/slots/{slot}")


def _scoped(filters: Mapping[str, Any], company_id: str | None, all_companies: bool) -> Json:
    return {**filters, "company_id": company_id, "all_companies": all_companies or None}

"""A house in which time passes only when a test says so: for its budgets, its work, and the simulated provider alike."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from libs.database.engine import Database
from libs.ids import entity_id, public_id
from libs.messaging.work import Units
from libs.providers.calls import CallPolicy
from libs.providers.heyreach.simulator import Happened as OnLinkedIn
from libs.providers.mail_journal import Happened
from libs.providers.registry import PROVIDERS, Provider
from libs.providers.simulation import SlidingWindow
from services.provider_sync.effect_worker import EffectWorker
from services.provider_sync.handlers.operations import Accepted, Operations
from services.provider_sync.jobs import SyncWorker
from services.provider_sync.operation_schemas import LeadsIn, NewCampaignIn, ReplyIn
from tests.integration.services.provider_sync.effects_house import EffectsHouse
from tests.integration.services.provider_sync.house import Account
from tests.integration.services.provider_sync.stage import inbox_states

CALLS_PER_MINUTE = 30  # of all three, so that a few dozen calls take minutes
QUICK = CallPolicy(tries=3, first_wait_seconds=0.0001, longest_wait_seconds=0.0002, deadline_seconds=5)
ROUND_SECONDS = 20.0


class FaultsHouse(EffectsHouse):
    """Two replicas take turns. `clock` is the time of the simulated provider's call book and limit."""

    def __init__(self, database: Database, units: Units, provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(database, units, provider)
        self.policy = QUICK
        self.known = {provider: self._hurried(PROVIDERS[provider])}
        self._passed = 0.0
        self._account: Account | None = None
        self.api.book.clock = self.clock
        self.api.limit = SlidingWindow(CALLS_PER_MINUTE, 60.0, self.clock)
        self.operations = Operations(units, self.over_wire, self.known)
        self._replicas = [self._replica(Units(database, "provider-sync")) for _ in range(2)]
        # Whoever waits for the budget waits in this time.
        monkeypatch.setattr("services.provider_sync.spending.asyncio", SimpleNamespace(sleep=self._wait))

    def _hurried(self, provider: Provider) -> Provider:
        """With a small budget, and clients that wait almost nothing between two tries of one call."""

        def make_client(*arguments: Any) -> object:
            client: Any = provider.make_client(*arguments)
            client._policy = self.policy
            return client

        return replace(provider, calls_per_minute=CALLS_PER_MINUTE, make_client=make_client)

    def _replica(self, units: Units) -> tuple[SyncWorker, EffectWorker]:
        jobs = SyncWorker(
            units, self.over_wire, self.sealer, providers=self.known, jobs_at_once=1, poll_seconds=0.01,
            public_webhook_url="https://hooks.example.com/",
        )  # fmt: skip
        return jobs, EffectWorker(
            units, self.over_wire, self.sealer, providers=self.known, at_once=1, poll_seconds=0.01
        )

    @property
    def channel(self) -> str:
        return PROVIDERS[self.provider].channel.value

    @property
    def key(self) -> str:
        return str(self.simulator.api_key)

    # Time

    def clock(self) -> float:
        return time.monotonic() + self._passed

    async def pass_time(self, seconds: float, *, leases: bool = True) -> None:
        """Everything that waits here waits so much less; the provider's clock goes on as far."""
        assert self._account is not None
        moved = [("sync_jobs", "due_at"), ("effects", "due_at"), ("account_budgets", "counted_at")]
        moved += [("account_budgets", "paused_until"), ("account_budgets", "probing_until")]
        if leases:  # of those that nobody holds any more: in this house nobody works while time passes so
            moved += [("sync_jobs", "lease_until"), ("effects", "lease_until"), ("effects", "deadline")]
        async with self.database.tenant_transaction(self._account.org_id) as session:
            for table, column in moved:
                await session.execute(
                    f"UPDATE {table} SET {column} = {column} - $2 * interval '1 second' WHERE org_id = $1",
                    self._account.org_id, seconds,
                )  # fmt: skip
        self._passed += seconds
        self.simulator.advance(timedelta(seconds=seconds))

    async def _wait(self, seconds: float) -> None:
        await self.pass_time(seconds, leases=False)

    async def play(self, seconds: float, *, until_done: bool = False) -> float:
        """Let the replicas work in turns while so much time passes; answers how much did. `until_done`: no longer than
        there is work."""
        passed, number = 0.0, 0
        while passed < seconds:
            jobs, effects = self._replicas[number % 2]
            await jobs.run_due()
            await effects.run_due()
            if until_done and not await self.unfinished():
                return passed
            await self.pass_time(ROUND_SECONDS)
            passed, number = passed + ROUND_SECONDS, number + 1
        return passed

    async def unfinished(self) -> list[str]:
        """The work that nobody has ended yet, and that no person is asked about; looks at the webhook never end."""
        account = self._account
        assert account is not None
        left = [f"job {row['kind']} {row['state']}: {row['error']}" for row in await self.jobs(account)
                if row["state"] in ("due", "running") and row["kind"] != "verify_webhook"]  # fmt: skip
        return left + [f"{row['kind']} {row['state']}: {row['error']}" for row in await self.rows(account, "operations")
                       if row["state"] in ("pending", "running", "unknown") and not row["needs_decision"]]  # fmt: skip

    # What is asked for

    def take(self, account: Account) -> None:
        """It is this account's time that passes."""
        self._account = account

    async def ready(self, account: Account, webhooks: int = 60) -> None:
        """The account has its webhook, and some were heard: campaigns, leads and conversations are known."""
        self.take(account)
        plan = self.simulator.deliveries(webhooks, duplicates=0.0, shuffle=False)
        self.posts = [post.body for post in plan.to_send()]
        await self.deliver(account, self.posts[: webhooks // 2])
        self.posts = self.posts[webhooks // 2 :]
        await self.make_ready(account)
        await self.play(900, until_done=True)
        assert await self.unfinished() == []
        self.registered = self.registrations()
        self.campaigns = set(self.simulator.campaign_ids)
        self.members = {str(one.lead.key) for one in self.enrolments()}
        self.by_hand = self.sent_by_hand()

    def registrations(self) -> list[tuple[str, str]]:
        """(url, event type or scope) of each registration at the provider."""
        made = self.simulator.account.registrations
        return sorted((one.url, str(getattr(one, "event_type", ""))) for one in made)

    def enrolments(self) -> list[Any]:
        found = self.simulator.account.campaigns[0].enrolments
        return list(found.values()) if isinstance(found, dict) else list(found)

    def status_of(self, number: int) -> str:
        campaign = self.simulator.account.campaigns[number]
        known = campaign.status_at(self.simulator.now) if hasattr(campaign, "status_at") else campaign.status
        return str(known).upper()

    def sent_by_hand(self) -> int:
        kinds = (Happened.SENT_BY_HAND, OnLinkedIn.SENT_BY_HAND)
        return sum(note.what in kinds for note in self.simulator.journal.notes)

    async def wish(self, account: Account, *kinds: str) -> dict[str, Accepted]:
        """Ask for a change of each kind."""
        asking, ops, channel = self.asking(account), self.operations, self.channel
        asked: dict[str, Accepted] = {}
        for kind in kinds:
            match kind:
                case "create_campaign":
                    body = NewCampaignIn(account_id=public_id("acc", account.id), name="Autumn")
                    asked[kind] = await ops.create_campaign(asking, channel, body)
                case "add_leads":
                    leads = [self.new_lead(number) for number in range(5)]
                    wanted = LeadsIn.model_validate({"leads": leads})
                    asked[kind] = await ops.add_leads(asking, channel, self.campaign(account), wanted)
                case "pause_campaign":
                    asked[kind] = await ops.control_campaign(asking, channel, self.campaign(account, 1), kind)
                case "reply":
                    conversation = public_id("cnv", await self.answered(account))
                    asked[kind] = await ops.reply(asking, conversation, ReplyIn(text="Thursday at ten it is."))
        return asked

    def new_lead(self, number: int) -> dict[str, str]:
        if self.channel == "email":
            return {"email": f"new{number}@quay.example.com", "first_name": "New"}
        url = f"https://www.linkedin.com/in/new-{number}-example"
        return {"profile_url": url, "first_name": "New", "last_name": "Example"}

    async def answered(self, account: Account) -> UUID:
        """A conversation in which the lead wrote."""
        async with self.database.tenant_transaction(account.org_id) as session:
            found: UUID | None = await session.fetchval(
                "SELECT c.id FROM conversations c JOIN messages m ON m.conversation_id = c.id "
                "WHERE c.lead_id IS NOT NULL AND c.campaign_id IS NOT NULL AND m.direction = 'inbound' ORDER BY c.id LIMIT 1"
            )
        assert found is not None
        return found

    def hurry(self, *, deadline_seconds: float) -> None:
        self.policy = replace(QUICK, deadline_seconds=deadline_seconds)

    # What must hold

    def within_budget(self) -> None:
        """Counted by the provider: its own limit was never met."""
        assert self.api.book.most_in(60, self.key) <= CALLS_PER_MINUTE

    def nothing_twice(self) -> None:
        """At the provider: what was asked for once is there once at the most."""
        assert self.registrations() == self.registered
        assert sum(one.name == "Autumn" for one in self.simulator.account.campaigns) <= 1
        added = [str(one.lead.key) for one in self.enrolments() if str(one.lead.key) not in self.members]
        assert len(added) == len(set(added))
        assert self.sent_by_hand() - self.by_hand <= 1

    async def all_done(self, account: Account, asked: dict[str, Accepted]) -> None:
        """Every wish came true, without anybody's help; a reply nobody can vouch for waits for a person."""
        assert await self.unfinished() == []
        self.nothing_twice()
        for kind, accepted in asked.items():
            row = await self.row(account, accepted)
            if kind == "reply" and row["needs_decision"]:
                continue
            assert row["state"] == "succeeded", (kind, row["state"], row["error"])
            assert self.is_true(kind), kind

    def is_true(self, kind: str) -> bool:
        match kind:
            case "create_campaign":
                return bool(sum(one.name == "Autumn" for one in self.simulator.account.campaigns) == 1)
            case "add_leads":
                return len(self.enrolments()) == len(self.members) + 5
            case "pause_campaign":
                return self.status_of(1) == "PAUSED"
        return self.sent_by_hand() == self.by_hand + 1

    async def webhooks_go_on(self, account: Account) -> None:
        """What is heard is applied at once, whatever becomes of calls."""
        calls = len(self.api.book.calls)
        heard = await self.deliver(account, self.posts)
        states = await inbox_states(self.database, "provider-sync.webhooks")
        assert {states[one.id] for one in heard} == {"done"}
        assert len(self.api.book.calls) == calls

    async def undecided(self, account: Account) -> list[str]:
        """What a person is asked about."""
        return [row["kind"] for row in await self.rows(account, "operations") if row["needs_decision"]]

    async def failed_jobs(self, account: Account) -> list[Any]:
        return [row for row in await self.jobs(account) if row["state"] == "failed"]

    @contextmanager
    def revoked_after(self, calls: int) -> Iterator[None]:
        """The key opens nothing any more once so many calls were answered."""
        answer, count = self.api.route, 0

        async def route(request: Any, path: str, key: str) -> Any:
            nonlocal count
            count += 1
            if count > calls:
                self.api.revoked.add(self.key)
                return self.api.key_refused(key)
            return await answer(request, path, key)

        self.api.route = route
        try:
            yield
        finally:
            self.api.route = answer

    def campaign_id(self, account: Account, number: int = 0) -> UUID:
        return entity_id(account.id, "campaign", str(self.simulator.account.campaigns[number].id))

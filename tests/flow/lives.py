"""The whole house with a simulated provider, as a client of the API sees it: what it answers is held against the simulator.

The house's clock is the simulator's, which goes on only when a test says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, ClassVar

import asyncpg
import httpx
import pytest

from libs import clock
from libs.client.client import ApiProblem, OutriderClient
from libs.database.names import SERVICES
from libs.ids import AccountId, entity_id, parse_public_id, public_id
from libs.providers.emailbison.campaigns import STATUSES as EMAILBISON_STATUSES
from libs.providers.emailbison.simulator import EmailBisonSimulator, emailbison_app
from libs.providers.heyreach.campaigns import STATUSES as HEYREACH_STATUSES
from libs.providers.heyreach.simulator import HeyReachSimulator, heyreach_app
from libs.providers.smartlead.campaigns import STATUSES as SMARTLEAD_STATUSES
from libs.providers.smartlead.simulator import SmartleadSimulator, smartlead_app
from services.cli.demo.books import is_drained
from services.cli.demo.providers import EMAIL, LINKEDIN
from tests.fixtures.database import MigratedDatabase
from tests.flow.running import running
from tests.security.stack import GATEWAY_URL, Stack, opened

PATIENCE_SECONDS = 90.0
_QUICK_SECONDS = 0.05  # each look costs some: to look more often makes it slower
_MESSAGES = ("sent", "sent_by_hand", "replied", "untracked_reply")


class Played:
    """One provider's simulator, and what is true of a campaign in it."""

    provider: ClassVar[str]
    channel: ClassVar[Any] = "email"
    path: ClassVar[str] = ""
    figures: ClassVar[Mapping[str, tuple[tuple[str, str], ...]]] = EMAIL

    def __init__(self) -> None:
        self.simulator: Any = self.make(clock.now() - timedelta(days=40))

    def make(self, now: Any) -> Any:
        raise NotImplementedError

    def app(self) -> Any:
        raise NotImplementedError

    def campaign(self, external_id: str) -> Any:
        return self.simulator.account.campaign(external_id)

    def status(self, campaign: Any) -> str:
        raise NotImplementedError

    def enrolments(self, campaign: Any) -> list[Any]:
        return list(campaign.enrolments)

    def enrolment(self, campaign: Any, name: str) -> Any:
        return next(one for one in self.enrolments(campaign) if one.lead.first_name == name)

    def steps(self, campaign: Any) -> list[tuple[int, str, int]]:
        """(number, subject, days after the step before) as they were asked for."""
        raise NotImplementedError


class Smartlead(Played):
    provider, path = "smartlead", "/api/v1"

    def make(self, now: Any) -> Any:
        return SmartleadSimulator(seed=3, now=now, clients_of_campaigns=(None,))

    def app(self) -> Any:
        return smartlead_app(self.simulator)

    def status(self, campaign: Any) -> str:
        return SMARTLEAD_STATUSES[campaign.status_at(self.simulator.now)].value

    def steps(self, campaign: Any) -> list[tuple[int, str, int]]:
        return [(step.number, step.subject, step.delay_days) for step in campaign.steps]

    @property
    def senders(self) -> list[str]:
        return [str(mailbox.id) for mailbox in self.simulator.account.mailboxes]

    def mails(self, enrolment: Any) -> list[Any]:
        return list(enrolment.sent)

    def unsubscribes(self, campaign: Any, enrolment: Any) -> None:
        self.simulator.live.unsubscribes(campaign, enrolment, enrolment.sent[-1])


class EmailBison(Played):
    provider = "emailbison"

    def make(self, now: Any) -> Any:
        return EmailBisonSimulator(seed=3, now=now, campaigns=1)

    def app(self) -> Any:
        return emailbison_app(self.simulator)

    def status(self, campaign: Any) -> str:
        return EMAILBISON_STATUSES[campaign.status].value

    def steps(self, campaign: Any) -> list[tuple[int, str, int]]:
        """It counts the days after each step, and the last one's mean nothing."""
        waits = [0, *(step.wait_in_days for step in campaign.steps)]
        return [(step.number, step.subject, wait) for step, wait in zip(campaign.steps, waits, strict=False)]

    @property
    def senders(self) -> list[str]:
        return [str(mailbox.id) for mailbox in self.simulator.account.mailboxes]

    def mails(self, enrolment: Any) -> list[Any]:
        return list(enrolment.sent)

    def unsubscribes(self, campaign: Any, enrolment: Any) -> None:
        self.simulator.live.unsubscribes(enrolment.lead)


class HeyReach(Played):
    provider, channel, path, figures = "heyreach", "linkedin", "/api/public", LINKEDIN

    def make(self, now: Any) -> Any:
        return HeyReachSimulator(seed=3, now=now, campaigns=1, drafts=1)

    def app(self) -> Any:
        return heyreach_app(self.simulator)

    def status(self, campaign: Any) -> str:
        return HEYREACH_STATUSES[campaign.status_at(self.simulator.now)].value

    def enrolments(self, campaign: Any) -> list[Any]:
        return list(campaign.enrolments.values())


PROVIDERS: dict[str, type[Played]] = {one.provider: one for one in (Smartlead, EmailBison, HeyReach)}


@dataclass
class Life:
    """An organization with one company and one account, and its key."""

    played: Any
    stack: Stack
    admin: asyncpg.Connection
    client: OutriderClient
    key: str
    account_id: str
    company_id: str

    @property
    def simulator(self) -> Any:
        return self.played.simulator

    @property
    def channel(self) -> Any:
        return self.played.channel

    async def done(self, operation: Any) -> Any:
        """The operation's result. At the provider a moment passes with each."""
        found = await self.client.wait_for(operation, within_seconds=PATIENCE_SECONDS, poll_seconds=_QUICK_SECONDS)
        self.simulator.advance(timedelta(seconds=2))
        return found["result"]

    async def refused(self, asked: Any) -> str:
        """Why the account's provider cannot do it."""
        with pytest.raises(ApiProblem) as caught:
            await asked
        assert (caught.value.status, caught.value.code) == (422, "capability_unsupported")
        return str(caught.value)

    async def pass_time(self, **by: float) -> None:
        """At the provider; what it tells meanwhile is posted and taken."""
        self.simulator.advance(timedelta(**by))
        await self.simulator.poster.send_due()
        answers = self.simulator.poster.journal.answers
        assert set(answers) <= {"200"}, answers

    async def is_at_rest(self) -> bool:
        """All that was posted is accounted for, and nothing is on its way; what waits for its time is done now."""
        await self.admin.execute(
            "UPDATE provider_sync.sync_jobs SET due_at = now() WHERE state = 'due' AND kind = 'read_back'"
        )
        open_jobs = (
            "SELECT count(*) FROM provider_sync.sync_jobs WHERE state IN ('due', 'running') AND kind = 'read_back'"
        )
        waiting = [open_jobs, *(f"SELECT count(*) FROM {service}.outbox" for service in SERVICES)]
        if any([await self.admin.fetchval(one) for one in waiting]):
            return False
        ledger = await self.client.ledger(settle_seconds=0)
        return is_drained(ledger, sum(self.simulator.poster.journal.acknowledged.values()))

    async def rests(self) -> None:
        await until(self.is_at_rest)

    async def campaign(self, campaign_id: str) -> Any:
        return await self.client.campaign(self.channel, campaign_id)

    async def status(self, campaign_id: str) -> str:
        return str((await self.campaign(campaign_id))["status"])

    async def leads(self, campaign_id: str) -> dict[str, Any]:
        """By first name."""
        found = self.client.leads(company_id=self.company_id, campaign_id=campaign_id)
        return {lead["first_name"]: lead async for lead in found}

    async def state_of(self, campaign_id: str, name: str) -> str | None:
        lead = (await self.leads(campaign_id))[name]
        (enrolment,) = [one for one in lead["campaigns"] if one["campaign_id"] == campaign_id]
        return None if enrolment["state"] is None else str(enrolment["state"])

    async def conversation_with(self, campaign_id: str, name: str) -> Any:
        lead = (await self.leads(campaign_id))[name]
        found = self.client.conversations(company_id=self.company_id, campaign_id=campaign_id)
        (one,) = [row async for row in found if row["lead_id"] == lead["id"]]
        return one

    async def holds_true(self, campaign_id: str) -> None:
        """The house is at rest, and what it answers of this campaign is what the simulator knows."""
        await self.rests()
        assert await self.differences(campaign_id) == {}

    async def counted_there(self, campaign_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The provider's own figures, asked for now, and ours under the same names, as far as both have them."""
        await self.done(await self.client.refresh_statistics(self.channel, campaign_id))
        told = await self.client.statistics(self.channel, campaign_id)
        totals, counted = told["totals"], told["counted"]
        both = [name for name, value in totals.items() if value is not None and counted[name] is not None]
        return {name: totals[name] for name in both}, {name: counted[name] for name in both}

    async def differences(self, campaign_id: str) -> dict[str, Any]:
        shown = await self.campaign(campaign_id)
        real = self.played.campaign(shown["external_id"])
        pairs = {
            "campaign": ((shown["name"], shown["status"]), (real.name, self.played.status(real))),
            "leads": (
                {name for name, lead in (await self.leads(campaign_id)).items() if _is_in(lead, campaign_id)},
                {one.lead.first_name for one in self.played.enrolments(real)},
            ),
            "messages": (await self._messages(campaign_id), self._real_messages(shown["external_id"])),
            **await self._figures(campaign_id, shown["external_id"]),
        }
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

    async def _messages(self, campaign_id: str) -> set[str]:
        found = set()
        async for conversation in self.client.conversations(company_id=self.company_id, campaign_id=campaign_id):
            found |= {message["id"] async for message in self.client.messages(conversation["id"])}
        return found

    def _real_messages(self, external_id: str) -> set[str]:
        """All that were written to or by the campaign's leads, also by hand: LinkedIn's name no campaign then."""
        account = AccountId(parse_public_id("acc", self.account_id))
        leads = {one.lead.key for one in self.played.enrolments(self.played.campaign(external_id))}
        keys = {
            note.message_key
            for note in self.simulator.journal.notes
            if note.what in _MESSAGES
            and (note.campaign == external_id or (not note.campaign and note.lead_key in leads))
        }
        return {public_id("msg", entity_id(account, "message", str(key))) for key in keys}

    async def _figures(self, campaign_id: str, external_id: str) -> dict[str, tuple[Any, Any]]:
        book, figures = self.simulator.journal.expected(), self.played.figures
        ours = [
            row async for row in self.client.campaign_analytics(company_id=self.company_id, campaign_id=campaign_id)
        ]
        happened = asdict(book.by_campaign[external_id]) if external_id in book.by_campaign else {}
        pairs = {"figures": (_counted(ours[0], figures), {name: happened.get(name, 0) for name in figures})}
        by_step = {name: figure for name, figure in figures.items() if name != "unsubscribed"}  # need not name a mail
        async for row in self.client.step_analytics(company_id=self.company_id, campaign_id=campaign_id):
            of_step = book.by_step.get((external_id, row["number"]))
            real = asdict(of_step) if of_step is not None else {}
            pairs[f"step {row['number']}"] = (_counted(row, by_step), {name: real.get(name, 0) for name in by_step})
        return pairs


def _is_in(lead: Any, campaign_id: str) -> bool:
    return any(one["campaign_id"] == campaign_id and one["state"] != "removed" for one in lead["campaigns"])


def _counted(row: Any, figures: Mapping[str, tuple[tuple[str, str], ...]]) -> dict[str, int]:
    return {name: sum(row["metrics"][metric][kind] for metric, kind in metrics) for name, metrics in figures.items()}


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():  # noqa: ASYNC110 - rows in a database ring no bell
            await asyncio.sleep(2 * _QUICK_SECONDS)


@asynccontextmanager
async def a_life(
    played: Played, migrated: MigratedDatabase, amqp_url: str | None, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Life]:
    """In one process, or with each service on the broker at `amqp_url`."""
    admin = await asyncpg.connect(migrated.admin_url)
    monkeypatch.setattr(clock, "_now", lambda: played.simulator.now)
    try:
        async with opened(migrated) as stack, _http(stack) as http:
            for job in stack.services["provider_sync"].jobs:
                monkeypatch.setattr(getattr(job.run, "__self__", None), "_poll_seconds", _QUICK_SECONDS)
            async with running(stack, amqp_url):
                yield await _opened_account(played, stack, admin, http)
    finally:
        await admin.close()


def _http(stack: Stack) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(stack.apps["gateway"]), timeout=PATIENCE_SECONDS)


async def _opened_account(played: Any, stack: Stack, admin: asyncpg.Connection, http: httpx.AsyncClient) -> Life:
    """From an empty house to an account whose provider posts to it."""
    platform = OutriderClient(GATEWAY_URL, stack.platform_key, http=http)
    org = (await platform.create_organization("Northwind Outreach"))["id"]
    outside = OutriderClient(GATEWAY_URL, stack.platform_key, org, http)
    key = (await outside.create_api_key("admin", role="org_admin"))["key"]
    client = OutriderClient(GATEWAY_URL, key, http=http)
    company = (await client.create_company("Harbour Bakery"))["id"]
    simulator, base_url = played.simulator, stack.network.serve(played.app()) + played.path

    async def post(url: str, body: bytes) -> int:
        return (await stack.post(url, body)).status_code

    simulator.poster.send = post
    account: Any = None

    async def is_open() -> bool:  # the company reaches provider_sync as an event
        nonlocal account
        try:
            account = await client.create_provider_account(
                provider=played.provider, name="Main", company_id=company, base_url=base_url,
                credentials={"api_key": simulator.api_key},
            )  # fmt: skip
        except ApiProblem as problem:
            if problem.status != 422:
                raise
            return False
        return True

    async def is_registered() -> bool:
        shown = await client.provider_account(account["id"])
        return bool(shown["webhook_endpoint"]["status"] == "registered")

    await until(is_open)
    await until(is_registered)
    return Life(played, stack, admin, client, key, account["id"], company)

"""One agency's life, told through the house; and its twin, who is called the same, owns the same and does the same."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from libs.ids import new_id
from libs.providers.emailbison.simulator import EmailBisonSimulator, emailbison_app
from libs.providers.emailbison.simulator import play as bison
from libs.providers.heyreach.simulator import HeyReachSimulator, heyreach_app
from libs.providers.heyreach.simulator import play as linkedin
from libs.providers.simulation import PlannedPost, PostKind
from libs.providers.smartlead.simulator import SmartleadSimulator, smartlead_app
from libs.providers.smartlead.simulator import play as mail
from services.gateway.handlers import tenants
from services.provider_sync.handlers import accounts
from services.reconciliation.handlers import requests
from tests.security.stack import Stack, settle_ahead
from tests.security.twins.eyes import Eyes

TWIN_SAYS = "zwillingswort"  # in what only the twin's leads answer
NAME, COMPANIES = "Northlight Outreach", ("North Pier", "Quayside Tools")
POSTS = 40
_FIRST = 0x0190A1B2C3D47E8F9A0B1C2D3E4F5A00


@contextmanager
def ids_are(module: Any, numbers: Iterator[int]) -> Iterator[None]:
    """The first new id that this module takes is no random one: both organizations have the same, which the org alone
    keeps apart; and what is sorted by an id that is derived from it, is sorted alike in every run."""
    fixed = [UUID(int=_FIRST + next(numbers))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "new_id", lambda: fixed.pop() if fixed else new_id())
        yield


@dataclass
class Agency:
    """`eyes` are None for the twin, at whom nobody looks. `says` is in every reply that its leads give. `opens`: whether
    its own administrator opens its accounts, or it has none and they are opened for it."""

    stack: Stack
    admin: asyncpg.Connection
    now: datetime
    says: str
    eyes: Eyes | None = None
    org: str = ""
    companies: list[str] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    accounts: list[str] = field(default_factory=list)
    simulators: list[Any] = field(default_factory=list)
    posts: list[tuple[int, PlannedPost]] = field(default_factory=list)
    odd: list[tuple[int, PlannedPost]] = field(default_factory=list)
    opens: bool = True
    numbers: Iterator[int] = field(default_factory=itertools.count)

    async def settle(self) -> None:
        """What this agency began is done within its own step."""
        async with self.eyes.step() if self.eyes is not None else nullcontext():
            await settle_ahead(self.stack, self.admin)

    async def ask(self, method: str, path: str, key: str = "admin", **more: Any) -> httpx.Response:
        asked = self.stack.ask(method, path, self.keys[key], **more)
        if self.eyes is None:
            response = await asked
        else:
            response = await self.eyes.look(f"{key} {method} {path}", asked)
        return response

    async def given(self, path: str, body: dict[str, Any], module: Any = None) -> Any:
        """What is made for this agency by whoever may: staff, then the organization's founder."""
        async with AsyncExitStack() as stack:
            if self.eyes is not None:
                await stack.enter_async_context(self.eyes.step())
            if module is not None:
                stack.enter_context(ids_are(module, self.numbers))
            maker = self.keys.get("founder", self.stack.platform_key)
            made = await self.stack.ask("POST", path, maker, org=self.org or None, json=body)
        assert made.status_code == 201, made.text
        return made.json()

    # What happens

    async def found(self) -> None:
        """An organization with two companies, and keys."""
        self.org = (await self.given("/v1/organizations", {"name": NAME}))["id"]
        await self.issue("founder", "org_admin", [])
        for name in COMPANIES:
            self.companies.append((await self.given("/v1/companies", {"name": name}, tenants))["id"])
        await self.issue("admin", "org_admin", [])
        await self.issue("viewer", "company_viewer", self.companies[:1])

    async def join(self, house: Agency) -> None:
        """A company of an organization that is there, and keys that are limited to it."""
        self.org, self.opens, self.keys["founder"] = house.org, False, house.keys["founder"]
        self.companies.append((await self.given("/v1/companies", {"name": COMPANIES[0]}, tenants))["id"])
        await self.issue("admin", "company_manager", self.companies)
        await self.issue("viewer", "company_viewer", self.companies)

    async def issue(self, name: str, role: str, companies: list[str]) -> None:
        made = await self.given("/v1/api-keys", {"name": name, "role": role, "company_ids": companies})
        self.keys[name] = made["key"]

    async def people(self) -> None:
        """Persons, companies and keys that the administrator adds; and some that are refused."""
        person = {"subject": "idp|ada", "email": "ada@example.com", "name": "Ada Example", "role": "company_viewer"}
        person["company_ids"] = self.companies[:1]  # type: ignore[assignment]
        for _ in range(2):  # the second is one too many
            await self.ask("POST", "/v1/users", json=person, headers={"Idempotency-Key": "add-ada-0001"})
        await self.ask(
            "POST", "/v1/companies", json={"name": COMPANIES[0]}, headers={"Idempotency-Key": "company-0001"}
        )
        await self.ask("POST", "/v1/api-keys", json={"name": "x", "role": "super_admin"})
        await self.ask("POST", "/v1/api-keys", json={"name": "Robot", "role": "company_viewer", "company_ids": []})

    async def open_accounts(self) -> None:
        """At all three providers; what the providers call them is the same for the twin."""
        network = self.stack.network
        self.simulators = [
            SmartleadSimulator(api_key="mail-key", seed=7, now=self.now, clients_of_campaigns=(None, 111, 222)),
            EmailBisonSimulator(api_key="7|bison-key", seed=7, now=self.now),
            HeyReachSimulator(api_key="linkedin-key", seed=7, now=self.now),
        ]
        urls = [
            network.serve(smartlead_app(self.simulators[0])) + "/api/v1",
            network.serve(emailbison_app(self.simulators[1])),
            network.serve(heyreach_app(self.simulators[2])) + "/api/public",
        ]
        clients = dict(zip(("111", "222"), self.companies, strict=False)) if len(self.companies) > 1 else {}
        for place, (provider, url) in enumerate(zip(("smartlead", "emailbison", "heyreach"), urls, strict=True)):
            body = {
                "provider": provider, "name": f"Our {provider}", "company_id": self.companies[0],
                "base_url": url, "credentials": {"api_key": self.simulators[place].api_key},
            } | ({"client_companies": clients} if provider == "smartlead" and clients else {})  # fmt: skip
            if not self.opens:
                made = await self.given("/v1/provider-accounts", body, accounts)
            else:
                with ids_are(accounts, self.numbers):
                    made = (await self.ask("POST", "/v1/provider-accounts", json=body)).json()
            self.accounts.append(made["id"])
        await self.ask("POST", "/v1/provider-accounts", json={"provider": "smartlead", "name": "Our smartlead"})
        await self.settle()
        self.plan()

    def plan(self) -> None:
        """What the providers will post: all kinds of it, in turn."""
        with pytest.MonkeyPatch.context() as patch:
            for play in (mail, bison, linkedin):
                patch.setattr(play, "_REPLIES", tuple(f"{reply} {self.says}" for reply in play._REPLIES))
                patch.setattr(play, "REPLIED_SHARE", 0.4)
            odd = {"garbage": 1, "poison": 1, "unknown": 1}
            plans = [
                self.simulators[0].deliveries(POSTS, withhold=3, **odd).to_send(),
                self.simulators[1].deliveries(POSTS, withhold=2, **odd).to_send(),
                self.simulators[2].deliveries(POSTS, **odd).to_send(),
            ]
        in_turn = itertools.zip_longest(*plans)
        planned = [(place, post) for turn in in_turn for place, post in enumerate(turn) if post is not None]
        usual = (PostKind.NORMAL, PostKind.DUPLICATE)
        self.posts = [one for one in planned if one[1].kind in usual]
        self.odd = [one for one in planned if one[1].kind not in usual]

    async def post(self, count: int) -> None:
        """The next posts of its providers, to the door; they wait there to be handled together with the twin's."""
        await self._post(self.posts[:count])
        del self.posts[:count]

    async def post_odd(self) -> None:
        """What is refused when it is read. By itself: a batch that fails is divided, and where depends on all that is in it."""
        await self._post(self.odd)
        await self.settle()

    async def _post(self, posts: Sequence[tuple[int, PlannedPost]]) -> None:
        for place, post in posts:
            url = str(_registered(self.simulators[place]))
            asked = self.stack.post(url, post.body)
            answer = await (asked if self.eyes is None else self.eyes.look("provider POST", asked))
            assert answer.status_code == 200, answer.text

    async def compare(self) -> None:
        """Reconciliations and schedules, and what is refused of them."""
        for account in (*self.accounts, self.accounts[0]):
            with ids_are(requests, self.numbers):
                await self.ask("POST", "/v1/reconciliations", json={"account_id": account})
        for _ in range(2):
            wanted = {"account_id": self.accounts[0], "interval_seconds": 3600, "anchor": "2031-01-01T00:00:00Z"}
            await self.ask("POST", "/v1/reconciliation-schedules", json=wanted)
        await self.settle()

    async def act(self) -> None:
        """What is to be done at providers: campaigns are paused, somebody is answered; and what cannot be."""
        for path, acts in (
            ("/v1/email/campaigns", ("pause", "start")),
            ("/v1/linkedin/campaigns", ("pause",)),
        ):
            everything = "?all_companies=true" if self.opens else ""
            found = (await self.ask("GET", path + everything)).json()["data"]
            for campaign in found[:2]:
                for act in acts:
                    wish = {"Idempotency-Key": f"{act}-{campaign['external_id']}"}
                    await self.ask("POST", f"{path}/{campaign['id']}/{act}", headers=wish)
        everything = "?all_companies=true&channel=email" if self.opens else "?channel=email"
        talks = (await self.ask("GET", f"/v1/inbox/conversations{everything}")).json()["data"]
        for talk in talks[:2]:
            wish = {"Idempotency-Key": f"reply-{talk['lead_email']}"}
            await self.ask(
                "POST", f"/v1/inbox/conversations/{talk['id']}/replies", json={"text": "Gladly"}, headers=wish
            )
        await self.settle()

    async def live(self) -> AsyncGenerator[None, None]:
        """What the twin does while the other looks: one thing at a time, for ever; not all of it is settled at once."""
        while True:
            await self.post(1)
            yield
            await self.ask("GET", "/v1/leads?all_companies=true")
            yield
            await self.ask("POST", "/v1/reconciliations", json={"account_id": self.accounts[1]})
            yield
            await self.ask("GET", f"/v1/leads/led_{new_id().hex}")
            yield
            await self.settle()
            yield


def _registered(simulator: Any) -> Any:
    return simulator.account.registrations[0].url
